package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// actor is the small provider, which says what a shape has and where it has it.
type actor struct {
	*optest.Provider
	shape *shape
	home  *house

	// tokens is held by whoever asks for tokens, of which kind grant says.
	tokens sync.Mutex
	grant  string

	mu sync.Mutex
	// brief is how many seconds access tokens last; zero, as the shape has it.
	brief int
	// refusal, if set, is the answer to refresh tokens.
	refusal *refusal
	// ending, if set, runs while a browser waits at the end-session endpoint.
	ending func()
}

// newActor runs one replica in front of a provider of a shape, with its log at an
// address, or embedded if that is empty.
func newActor(t *testing.T, s *shape, log string) *actor {
	t.Helper()
	h := &house{site: newSite(t, log)}
	a := &actor{shape: s, home: h}
	users := optest.DemoUsers()
	for i, user := range users {
		if person, known := s.People[user.Username]; known {
			users[i].Sub = person.Sub
		}
	}
	a.Provider = &optest.Provider{
		Now: time.Now, Issuer: s.Issuer, Users: users, Alter: a.alter,
		Alg: alg(s.IDToken.Header), LogoutAlg: "RS256",
		Clients: []optest.Client{{
			ID: testClientID, Secret: testClientSecret,
			RedirectURIs:   []string{h.front.URL + "/auth/callback"},
			PostLogoutURIs: []string{h.front.URL + "/auth/signed-out"},
			BackchannelURI: h.front.URL + "/auth/backchannel-logout",
		}},
	}
	realop.Serve(t, a.Provider, a.stage)
	h.op = smallProvider{a.Provider}
	h.env = append(h.env, "OIDC_ENDPOINT="+a.Issuer)
	for name, value := range s.Settings {
		h.env = append(h.env, name+"="+value)
	}
	h.start("one").ready()
	return a
}

func alg(header map[string]any) string {
	name, _ := header["alg"].(string)
	return name
}

// stage puts the provider's endpoints where the shape has them.
func (a *actor) stage(next http.Handler) http.Handler {
	base := strings.TrimSuffix(a.shape.Issuer, "/")
	ours := map[string]string{}
	for endpoint, path := range map[string]string{
		"authorization_endpoint": "/authorize", "token_endpoint": "/token", "userinfo_endpoint": "/userinfo",
		"jwks_uri": "/jwks", "end_session_endpoint": "/end-session",
	} {
		if at := a.shape.path(endpoint); at != "" {
			ours[at] = base + path
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, known := ours[r.URL.Path]; known {
			r.URL.Path = at
		}
		switch strings.TrimPrefix(r.URL.Path, base) {
		case "/token":
			a.tokens.Lock()
			defer a.tokens.Unlock()
			a.grant = r.FormValue("grant_type")
			if a.refuses(w) {
				return
			}
		case "/end-session":
			if ending := a.takeEnding(); ending != nil {
				ending()
			}
		case "/authorize", "/sign-in":
			if a.shape.Discovery["authorization_response_iss_parameter_supported"] != true {
				w = &withoutIssuer{w}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// withoutIssuer answers as a provider that does not know RFC 9207.
type withoutIssuer struct{ http.ResponseWriter }

// WriteHeader takes iss out of where the browser is sent.
func (w *withoutIssuer) WriteHeader(status int) {
	if to, err := url.Parse(w.Header().Get("Location")); err == nil && to.Query().Has("iss") {
		answer := to.Query()
		answer.Del("iss")
		to.RawQuery = answer.Encode()
		w.Header().Set("Location", to.String())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (a *actor) refuses(w http.ResponseWriter) bool {
	a.mu.Lock()
	refusal := a.refusal
	a.mu.Unlock()
	if refusal == nil || a.grant != "refresh_token" {
		return false
	}
	if refusal.Type != "" {
		w.Header().Set("Content-Type", refusal.Type)
	}
	w.WriteHeader(refusal.Status)
	fmt.Fprint(w, refusal.Body)
	return true
}

func (a *actor) takeEnding() func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	ending := a.ending
	a.ending = nil
	return ending
}

func (a *actor) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// values are what a shape's names stand for, about a person of some sub.
func (a *actor) values(sub string) map[string]any {
	values := map[string]any{
		"origin": strings.TrimSuffix(a.Issuer, a.shape.Issuer), "issuer": a.Issuer, "client": testClientID, "sub": sub,
	}
	for _, user := range a.Users {
		if user.Sub == sub {
			values["username"], values["email"], values["name"], values["groups"] = user.Username, user.Email, user.Name, user.Groups
			if sid := a.shape.People[user.Username].Sid; sid != "" {
				values["sid"] = sid
			}
		}
	}
	return values
}

// alter is the provider's: each part becomes the shape's.
func (a *actor) alter(part optest.Part, members map[string]any) {
	sub, _ := members["sub"].(string)
	switch part {
	case optest.Discovery:
		become(members, a.shape.Discovery, a.values(""))
	case optest.IDHeader:
		clear(members)
		maps.Copy(members, headerLike(a.shape.IDToken.Header))
	case optest.IDToken:
		become(members, a.shape.IDToken.Claims, a.values(sub))
	case optest.Userinfo:
		become(members, a.shape.Userinfo, a.values(sub))
	case optest.TokenAnswer:
		a.answer(members)
	}
}

// headerLike is a header with a shape's members. The key id, where it has one, is
// the small provider's own, which is there unless it is nil.
func headerLike(shape map[string]any) map[string]any {
	header := map[string]any{"typ": nil, "kid": nil}
	maps.Copy(header, shape)
	if header["kid"] != nil {
		delete(header, "kid")
	}
	return header
}

// answer makes a token answer what the shape has, which differs for a refresh.
func (a *actor) answer(members map[string]any) {
	if a.grant == "refresh_token" {
		become(members, a.shape.Refreshed, a.values(""))
		return
	}
	become(members, a.shape.Answer, a.values(""))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.brief > 0 {
		members["expires_in"] = a.brief
	}
}

// logoutToken is what the shape has, signed, about a person.
func (a *actor) logoutToken(t *testing.T, l logoutShape, username string) string {
	t.Helper()
	claims := map[string]any{"iss": nil, "aud": nil, "iat": nil, "exp": nil, "jti": nil, "events": nil}
	maps.Copy(claims, fill(l.Claims, a.values(a.shape.People[username].Sub)))
	token, err := a.MintLogoutToken(optest.Mint{Client: testClientID, Claims: claims, Header: headerLike(l.Header)})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// post brings a logout token to the public listener as the shape has it.
func (a *actor) post(l logoutShape, token string) (status int, fence, body string) {
	form := url.Values{"logout_token": {token}}
	for name, value := range l.Fields {
		form.Set(name, value)
	}
	resp, err := http.Post(a.home.front.URL+"/auth/backchannel-logout", l.Type, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err.Error()
	}
	return resp.StatusCode, resp.Header.Get("Curfew-Fence"), string(text)
}
