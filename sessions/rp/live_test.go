package rp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
	"curfew/sessions/rp"
	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// formPages ask about the logout with a form that a browser finds.
type formPages struct{ pages }

func (formPages) ConfirmLogout(w http.ResponseWriter, _ *http.Request, username, action string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<p id="username">%s</p><form method="post" action="%s" data-step="sign-out"></form>`, username, action)
}

// site is a replica on a port of its own, with an application beside it.
type site struct {
	*replica
	url  string
	logs *bytes.Buffer
}

func newSite(t *testing.T) *site {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := sessions.NewTargets(u, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, op: newOP(t), log: memlog.New(time.Now), logs: new(bytes.Buffer)}
	s := &site{replica: w.replica("a"), url: server.URL, logs: w.logs}
	s.PublicURL, s.Targets, s.CookieName, s.Secure, s.Pages = u, targets, "curfew", false, formPages{}
	s.Scopes = []string{"openid", "profile", "email", "groups", "offline_access"}
	s.RedirectURI, s.PostLogoutRedirectURI = s.url+"/auth/callback", s.url+"/auth/signed-out"
	mux.HandleFunc("GET /auth/login", s.Login)
	mux.HandleFunc("GET /auth/callback", s.Callback)
	mux.HandleFunc("/auth/logout", s.Logout)
	mux.HandleFunc("GET /auth/signed-out", s.SignedOut)
	mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "docs ", r.URL.RawQuery) })

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.follow(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return s
}

// at makes the site a client of an OP.
func (s *site) at(t *testing.T, issuer string) {
	t.Helper()
	s.Provider = &rp.Provider{Issuer: issuer, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	if err := s.Provider.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	metadata, _ := s.Provider.Metadata()
	s.Keys = oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), s.Provider.HTTP), metadata.JWKSURI)
}

func read(t *testing.T, response *http.Response, err error) (at, body string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.Request.URL.String(), string(text)
}

// inAndOut signs ada in and out with a browser, at a real OP.
func (s *site) inAndOut(t *testing.T) {
	t.Helper()
	browser, user := realop.NewBrowser(t), realop.User{Username: "ada", Password: "demo"}
	response, err := browser.SignIn(t.Context(), s.url+"/auth/login?rd=%2Fdocs%3Fa%3Db%26c", user)
	if at, body := read(t, response, err); body != "docs a=b&c" {
		t.Fatalf("the browser is at %s: %.200s\n%s", at, body, s.logs)
	}
	var private sessions.Private
	for _, record := range s.Log.(*memlog.Log).Records() {
		if started, ok := record.Fact.(events.Started); ok {
			if private, err = sessions.OpenPrivate(ring{}, started.Session, started.Sealed); err != nil {
				t.Fatal(err)
			}
		}
	}
	if who := private.User; who.Username != "ada" || who.Email != "ada@example.com" || strings.Join(who.Groups, " ") != "admins staff" {
		t.Errorf("the user is %+v", who)
	}
	response, err = browser.Get(t.Context(), s.url+"/auth/logout")
	if at, body := read(t, response, err); !strings.Contains(body, ">ada<") {
		t.Errorf("%s says %s", at, body)
	}
	response, err = browser.SignOut(t.Context(), s.url+"/auth/logout")
	at, body := read(t, response, err)
	if back, _, _ := strings.Cut(at, "?"); back != s.url+"/auth/signed-out" || body != "signed out /auth/login" {
		t.Errorf("the browser is at %s: %.200s", at, body)
	}
	if _, verdict := s.Registry.Get(private.Session, time.Now()); verdict != sessions.Ended {
		t.Errorf("verdict %v, want ended", verdict)
	}
}

func TestSmallOP(t *testing.T) {
	tests := []struct{ alg, auth, claims, path string }{
		{"ES256", "client_secret_basic", "id_token", ""},
		{"EdDSA", "client_secret_post", "userinfo", "/realm/"},
		{"RS256", "none", "id_token", "/realm"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			s := newSite(t)
			provider := &optest.Provider{Issuer: test.path, Now: time.Now, Alg: test.alg, Clients: []optest.Client{{
				ID: "client", Secret: "s3c+r/e:t=%& of some length", AuthMethod: test.auth,
				RedirectURIs: []string{s.url + "/auth/callback"}, PostLogoutURIs: []string{s.url + "/auth/signed-out"},
			}}}
			realop.Serve(t, provider, nil)
			s.Secret, s.ClaimSource = provider.Clients[0].Secret, test.claims
			if test.auth != "client_secret_basic" {
				s.Auth = test.auth
			}
			s.at(t, provider.Issuer)
			s.inAndOut(t)
		})
	}
}

// TestCertifiedOP is the same with npm's oidc-provider, where it is installed.
func TestCertifiedOP(t *testing.T) {
	s := newSite(t)
	op := realop.Start(t, realop.Options{UserinfoOnly: true, Clients: []realop.Client{{
		ID: "client", Secret: "s3c+r/e:t=%& of some length", Alg: "ES256",
		RedirectURIs: []string{s.url + "/auth/callback"}, PostLogoutURIs: []string{s.url + "/auth/signed-out"},
	}}})
	s.Secret, s.ClaimSource = "s3c+r/e:t=%& of some length", rp.FromUserinfo
	s.at(t, op.Issuer)
	s.inAndOut(t)
}
