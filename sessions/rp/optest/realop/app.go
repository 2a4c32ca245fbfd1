package realop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// App is an application that users sign in to, made of other people's code so
// that it judges a provider independently of curfew's. It keeps no sessions: it
// records what providers send it.
type App struct {
	// URL is where it listens.
	URL string
	// Logouts gets each logout token posted to it, 16 before posts wait.
	Logouts chan string
	// Answer answers posts of logout tokens; nil answers 200. It is set before
	// anybody signs in.
	Answer http.HandlerFunc

	callbacks chan url.Values
}

// NewApp starts an application, until the test ends.
func NewApp(t testing.TB) *App {
	t.Helper()
	app := &App{Logouts: make(chan string, 16), callbacks: make(chan url.Values, 16)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		app.callbacks <- r.URL.Query()
		io.WriteString(w, "arrived")
	})
	mux.HandleFunc("POST /backchannel-logout", func(w http.ResponseWriter, r *http.Request) {
		app.Logouts <- r.PostFormValue("logout_token")
		if app.Answer != nil {
			app.Answer(w, r)
		}
	})
	mux.HandleFunc("GET /signed-out", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "bye") })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	app.URL = server.URL
	return app
}

// RedirectURI is where a browser comes back to with a code.
func (a *App) RedirectURI() string { return a.URL + "/callback" }

// BackchannelURI takes logout tokens.
func (a *App) BackchannelURI() string { return a.URL + "/backchannel-logout" }

// PostLogoutURI is where a browser is sent after signing out.
func (a *App) PostLogoutURI() string { return a.URL + "/signed-out" }

// Registered is the application as one provider knows it.
type Registered struct {
	app      *App
	provider *oidc.Provider
	oauth    oauth2.Config
	issuer   string
}

// At reads a provider's metadata and returns the application as registered
// there. An empty secret makes it a public client.
func (a *App) At(ctx context.Context, issuer, clientID, secret string) (*Registered, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("realop: app: %w", err)
	}
	return &Registered{app: a, provider: provider, issuer: issuer, oauth: oauth2.Config{
		ClientID: clientID, ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: a.RedirectURI(),
		Scopes: []string{"openid", "profile", "email", "groups", oidc.ScopeOfflineAccess},
	}}, nil
}

// Login is a finished login.
type Login struct {
	Tokens *oauth2.Token
	// ID is the ID token, verified; Raw is its text.
	ID     *oidc.IDToken
	Raw    string
	Claims map[string]any
	// Callback is the query the browser brought back.
	Callback url.Values
}

// Provider is the metadata the application read.
func (r *Registered) Provider() *oidc.Provider { return r.provider }

// OAuth is the configuration the application uses, for tests that go their own
// way.
func (r *Registered) OAuth() *oauth2.Config { return &r.oauth }

// Authorize sends the browser through the provider and returns the query that
// it brings back to the application, code or error.
func (r *Registered) Authorize(ctx context.Context, browser *Browser, user User, options ...oauth2.AuthCodeOption) (url.Values, error) {
	page, err := browser.SignIn(ctx, r.oauth.AuthCodeURL("state of the login", options...), user)
	if err != nil {
		return nil, err
	}
	select {
	case query := <-r.app.callbacks:
		if query.Get("state") != "state of the login" {
			return nil, fmt.Errorf("realop: app: state is %q", query.Get("state"))
		}
		return query, nil
	default:
		body, _ := io.ReadAll(page.Body)
		return nil, fmt.Errorf("realop: app: the browser did not come back but is at %s: %s\n%s", page.Request.URL.Path, page.Status, body)
	}
}

// SignIn takes a user through a whole login with PKCE and nonce, and verifies
// what comes of it: the issuer in the answer, the ID token, its nonce and its
// at_hash. More options are put into the authorization request.
func (r *Registered) SignIn(ctx context.Context, browser *Browser, user User, options ...oauth2.AuthCodeOption) (*Login, error) {
	verifier := oauth2.GenerateVerifier()
	options = append(options, oauth2.S256ChallengeOption(verifier), oidc.Nonce("nonce of the login"))
	query, err := r.Authorize(ctx, browser, user, options...)
	if err != nil {
		return nil, err
	}
	if query.Get("code") == "" || query.Get("iss") != r.issuer {
		return nil, fmt.Errorf("realop: app: the provider answered %v", query)
	}
	tokens, err := r.oauth.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, fmt.Errorf("realop: app: %w", err)
	}
	login := &Login{Tokens: tokens, Callback: query}
	if err := r.verify(ctx, login); err != nil {
		return nil, fmt.Errorf("realop: app: ID token: %w", err)
	}
	if login.ID.Nonce != "nonce of the login" {
		return nil, fmt.Errorf("realop: app: nonce is %q", login.ID.Nonce)
	}
	return login, nil
}

func (r *Registered) verify(ctx context.Context, login *Login) error {
	login.Raw, _ = login.Tokens.Extra("id_token").(string)
	verifier, err := r.verifier(ctx)
	if err != nil {
		return err
	}
	login.ID, err = verifier.Verify(ctx, login.Raw)
	if err != nil {
		return err
	}
	if login.ID.AccessTokenHash != "" {
		if err := login.ID.VerifyAccessToken(login.Tokens.AccessToken); err != nil {
			return err
		}
	}
	return login.ID.Claims(&login.Claims)
}

// Refresh trades a refresh token for new tokens.
func (r *Registered) Refresh(ctx context.Context, refreshToken string) (*Login, error) {
	tokens, err := r.oauth.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return nil, fmt.Errorf("realop: app: refresh: %w", err)
	}
	login := &Login{Tokens: tokens}
	if err := r.verify(ctx, login); err != nil {
		return nil, fmt.Errorf("realop: app: refreshed ID token: %w", err)
	}
	return login, nil
}

// EndSessionURL is the address of RP-initiated logout at the provider.
func (r *Registered) EndSessionURL(parameters url.Values) (string, error) {
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := r.provider.Claims(&metadata); err != nil {
		return "", fmt.Errorf("realop: app: metadata: %w", err)
	}
	return metadata.EndSession + "?" + parameters.Encode(), nil
}

// verifier fetches the provider's keys anew. The library's own key set may hand
// out, to one who asks right behind another, what it has fetched for that one.
func (r *Registered) verifier(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	var metadata struct {
		Keys string   `json:"jwks_uri"`
		Algs []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := r.provider.Claims(&metadata); err != nil {
		return nil, fmt.Errorf("realop: app: metadata: %w", err)
	}
	keys := oidc.NewRemoteKeySet(ctx, metadata.Keys)
	return oidc.NewVerifier(r.issuer, keys, &oidc.Config{ClientID: r.oauth.ClientID, SupportedSigningAlgs: metadata.Algs}), nil
}

// ReadLogout verifies a logout token and returns its header and claims.
func (r *Registered) ReadLogout(ctx context.Context, token string) (header, claims map[string]any, err error) {
	verifier, err := r.verifier(ctx)
	if err != nil {
		return nil, nil, err
	}
	verified, err := verifier.VerifyLogout(ctx, token)
	if err != nil {
		return nil, nil, fmt.Errorf("realop: app: logout token: %w", err)
	}
	if err := verified.Claims(&claims); err != nil {
		return nil, nil, fmt.Errorf("realop: app: logout token: %w", err)
	}
	header, err = Header(token)
	return header, claims, err
}

// Header reads the header of a token, unverified.
func Header(token string) (header map[string]any, err error) {
	first, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return nil, fmt.Errorf("realop: token header: %w", err)
	}
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, fmt.Errorf("realop: token header: %w", err)
	}
	return header, nil
}
