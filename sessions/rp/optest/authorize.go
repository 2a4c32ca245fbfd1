package optest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	scopeOffline = "offline_access"
	codeLife     = time.Minute
)

// authRequest is an authentication request (OpenID Connect Core section
// 3.1.2.1) that may be answered: its client and redirect URI are good.
type authRequest struct {
	params      url.Values
	client      *Client
	redirectURI string
	prompt      []string
	maxAge      time.Duration // negative if none is asked
}

// parseAuth checks who asks and where the answer goes. An error is for the
// person in front of the browser: nothing may be sent to that client.
func (p *Provider) parseAuth(params url.Values) (*authRequest, string) {
	for name, values := range params {
		if len(values) > 1 {
			return nil, "The parameter " + name + " is there more than once."
		}
	}
	client := p.client(params.Get("client_id"))
	if client == nil {
		return nil, "The application that sent you here is not known."
	}
	if !slices.Contains(client.RedirectURIs, params.Get("redirect_uri")) {
		return nil, "The application asks for an answer at an address that is not registered for it."
	}
	return &authRequest{
		params: params, client: client, redirectURI: params.Get("redirect_uri"),
		prompt: strings.Fields(params.Get("prompt")), maxAge: -1,
	}, ""
}

// check finds what is wrong with the rest of the request.
func (a *authRequest) check() *oauthError {
	invalid := func(description string) *oauthError { return &oauthError{"invalid_request", description} }
	get := a.params.Get
	switch {
	case get("request") != "":
		return &oauthError{"request_not_supported", "request objects are not taken"}
	case get("request_uri") != "":
		return &oauthError{"request_uri_not_supported", "request objects are not taken"}
	case get("response_type") != "code":
		return &oauthError{"unsupported_response_type", "response_type must be code"}
	case get("response_mode") != "" && get("response_mode") != "query":
		return invalid("response_mode must be query")
	case !hasScope(get("scope"), "openid"):
		return &oauthError{"invalid_scope", "scope must include openid"}
	case get("code_challenge_method") != "S256" || len(get("code_challenge")) != 43:
		return invalid("PKCE with S256 is required")
	case slices.Contains(a.prompt, "none") && len(a.prompt) > 1:
		return invalid("prompt none goes with no other")
	}
	if text := get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return invalid("max_age must be a number of seconds")
		}
		a.maxAge = time.Duration(seconds) * time.Second
	}
	return nil
}

// needsForm reports whether the user must give a password for this request.
func (a *authRequest) needsForm(s session, signedIn bool, now time.Time) bool {
	return !signedIn ||
		slices.Contains(a.prompt, "login") || slices.Contains(a.prompt, "select_account") ||
		a.maxAge >= 0 && now.Sub(s.authTime) > a.maxAge
}

func (p *Provider) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refusePage(w, "The request is not readable.")
		return
	}
	auth, flaw := p.parseAuth(r.Form)
	if flaw != "" {
		p.refusePage(w, flaw)
		return
	}
	if err := auth.check(); err != nil {
		p.redirectError(w, r, auth, err)
		return
	}
	s, signedIn := p.session(r)
	switch {
	case !auth.needsForm(s, signedIn, p.Now()):
		p.redirectCode(w, r, auth, s)
	case slices.Contains(auth.prompt, "none"):
		p.redirectError(w, r, auth, &oauthError{"login_required", "nobody is signed in"})
	default:
		p.signInPage(w, http.StatusOK, r.Form, auth.client, signInPage{Username: r.Form.Get("login_hint")})
	}
}

// redirectCode sends the browser back with a code.
func (p *Provider) redirectCode(w http.ResponseWriter, r *http.Request, auth *authRequest, s session) {
	code, alive := p.state.addCode(&grant{
		client: auth.client.ID, sub: s.sub, sid: s.sid, authTime: s.authTime,
		scope: auth.params.Get("scope"), nonce: auth.params.Get("nonce"),
		redirectURI: auth.redirectURI, challenge: auth.params.Get("code_challenge"),
		codeUntil: p.Now().Add(codeLife),
	})
	if !alive {
		p.redirectError(w, r, auth, &oauthError{"access_denied", "the session has just ended"})
		return
	}
	p.redirectAnswer(w, r, auth, url.Values{"code": {code}})
}

func (p *Provider) redirectError(w http.ResponseWriter, r *http.Request, auth *authRequest, err *oauthError) {
	p.redirectAnswer(w, r, auth, url.Values{"error": {err.Code}, "error_description": {err.Description}})
}

// redirectAnswer answers at the client's redirect URI, with the state it sent
// and the issuer (RFC 9207).
func (p *Provider) redirectAnswer(w http.ResponseWriter, r *http.Request, auth *authRequest, answer url.Values) {
	if state := auth.params.Get("state"); state != "" {
		answer.Set("state", state)
	}
	answer.Set("iss", p.Issuer)
	redirect(w, r, auth.redirectURI, answer)
}

// redirect sends the browser on to target with more parameters, keeping those
// that target has.
func redirect(w http.ResponseWriter, r *http.Request, target string, more url.Values) {
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	if len(more) > 0 {
		target += separator + more.Encode()
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// cookieName is the cookie that holds a session's secret at the provider. Browsers
// send a host's cookies to all of its ports.
func (p *Provider) cookieName() string {
	if at, err := url.Parse(p.Issuer); err == nil && at.Port() != "" {
		return "op_session_" + at.Port()
	}
	return "op_session"
}

// session is the one that the browser is signed in with.
func (p *Provider) session(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(p.cookieName())
	if err != nil || cookie.Value == "" {
		return session{}, false
	}
	return p.state.bySecret(cookie.Value)
}

func (p *Provider) setCookie(w http.ResponseWriter, value string) {
	cookie := &http.Cookie{
		Name: p.cookieName(), Value: value, Path: p.base + "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(p.Issuer, "https:"),
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

func hasScope(scope, wanted string) bool { return slices.Contains(strings.Fields(scope), wanted) }

// newToken makes a value that cannot be guessed: 128 bits or more.
func newToken() string { return rand.Text() }
