package optest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Paths below the issuer.
const (
	pathDiscovery  = "/.well-known/openid-configuration"
	pathKeys       = "/jwks"
	pathAuthorize  = "/authorize"
	pathSignIn     = "/sign-in"
	pathToken      = "/token"
	pathUserinfo   = "/userinfo"
	pathEndSession = "/end-session"
	pathConfirm    = "/end-session/confirm"
	pathSignOut    = "/sign-out"
	pathStyle      = "/style.css"
	pathIcon       = "/icon.svg"
)

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, handler http.HandlerFunc) {
		mux.Handle(method+" "+p.base+path, limitBody(handler))
	}
	// A form that acts for the signed-in user is taken from this provider's
	// own pages only. The protocol's endpoints are meant to be reached from
	// other origins and have their own defences.
	sameOrigin := http.NewCrossOriginProtection()
	own := func(handler http.HandlerFunc) http.HandlerFunc {
		return sameOrigin.Handler(handler).ServeHTTP
	}
	handle("GET", pathDiscovery, p.serveDiscovery)
	handle("GET", pathKeys, p.serveKeys)
	handle("GET", pathAuthorize, p.serveAuthorize)
	handle("POST", pathAuthorize, p.serveAuthorize)
	handle("GET", pathSignIn, p.serveSignInPage)
	handle("POST", pathSignIn, own(p.serveSignIn))
	handle("POST", pathToken, p.serveToken)
	handle("GET", pathUserinfo, p.serveUserinfo)
	handle("POST", pathUserinfo, p.serveUserinfo)
	handle("GET", pathEndSession, p.serveEndSession)
	handle("POST", pathEndSession, p.serveEndSession)
	handle("POST", pathConfirm, own(p.serveConfirm))
	handle("POST", pathSignOut, own(p.serveSignOut))
	handle("GET", "/{$}", p.serveHome)
	handle("GET", pathStyle, serveAsset)
	handle("GET", pathIcon, serveAsset)
	return mux
}

// maxBody is far more than any form here needs.
const maxBody = 64 << 10

func limitBody(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next(w, r)
	})
}

// url is the absolute address of a path below the issuer.
func (p *Provider) url(path string) string { return strings.TrimSuffix(p.Issuer, "/") + path }

func (p *Provider) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	methods := make([]string, 0, len(p.Clients))
	for _, client := range p.Clients {
		methods = append(methods, client.authMethod())
	}
	slices.Sort(methods)
	p.answerJSON(w, http.StatusOK, p.alter(Discovery, map[string]any{
		"issuer":                                         p.Issuer,
		"authorization_endpoint":                         p.url(pathAuthorize),
		"token_endpoint":                                 p.url(pathToken),
		"userinfo_endpoint":                              p.url(pathUserinfo),
		"jwks_uri":                                       p.url(pathKeys),
		"end_session_endpoint":                           p.url(pathEndSession),
		"scopes_supported":                               []string{"openid", "profile", "email", "groups", scopeOffline},
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{grantCode, grantRefresh},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          p.algs(),
		"token_endpoint_auth_methods_supported":          slices.Compact(methods),
		"code_challenge_methods_supported":               []string{"S256"},
		"prompt_values_supported":                        []string{"none", "login", "consent", "select_account"},
		"claims_supported":                               []string{"sub", "sid", "auth_time", "preferred_username", "name", "email", "email_verified", "groups"},
		"authorization_response_iss_parameter_supported": true,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"backchannel_logout_supported":                   true,
		"backchannel_logout_session_supported":           true,
	}))
}

func (p *Provider) serveKeys(w http.ResponseWriter, _ *http.Request) {
	p.answerJSON(w, http.StatusOK, p.keys.public())
}

func (p *Provider) answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		p.Logger.Warn("answer not sent", "error", err)
	}
}

// oauthError is a refusal as RFC 6749 (sections 4.1.2.1 and 5.2) words it.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}
