package rp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"curfew/sessions/rp"
)

func TestIssuer(t *testing.T) {
	tests := []struct{ configured, announced, hint string }{
		{"https://op.example.com", "https://op.example.com", ""},
		{"https://op.example.com/", "https://op.example.com/", ""},
		{"https://op.example.com", "https://op.example.com/", "slash is missing"},
		{"https://op.example.com/", "https://op.example.com", "slash too many"},
		{"https://op.example.com", "https://OP.example.com", "want"},
		{"https://op.example.com", "http://op.example.com", "want"},
		{"https://op.example.com", "", "want"},
	}
	for _, test := range tests {
		w := newWorld(t)
		w.a.Provider.Issuer = test.configured
		w.op.discovery = map[string]any{"issuer": test.announced}
		err := w.a.Provider.Discover(t.Context())
		metadata, known := w.a.Provider.Metadata()
		if test.hint == "" {
			if err != nil || !known || metadata.Issuer != test.announced || metadata.TokenEndpoint != "https://op.example.com/token" {
				t.Errorf("%+v: %v, %+v", test, err, metadata)
			}
			continue
		}
		wrong, ok := errors.AsType[*rp.IssuerError](err)
		if !ok || known || wrong.Configured != test.configured || wrong.Announced != test.announced {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, fmt.Sprintf("%q", test.configured)) || !strings.Contains(text, fmt.Sprintf("%q", test.announced)) ||
			test.hint != "want" && !strings.Contains(text, test.hint) || test.hint == "want" && strings.Contains(text, "slash") {
			t.Errorf("%+v: the error reads %q", test, text)
		}
	}
}

func TestDiscoverRefuses(t *testing.T) {
	tests := map[string]map[string]any{
		"authorization_endpoint": {"authorization_endpoint": nil},
		"token_endpoint":         {"token_endpoint": "/token"},
		"jwks_uri":               {"jwks_uri": "file:///etc/passwd"},
		"without the TLS":        {"token_endpoint": "http://op.example.com/token"},
		"userinfo_endpoint":      {"userinfo_endpoint": "javascript:x"},
		"end_session_endpoint":   {"end_session_endpoint": "http://op.example.com/end"},
		"cannot unmarshal":       {"token_endpoint": 7},
		"larger than 1 MiB":      {"x": strings.Repeat("x", 1<<20)},
	}
	for want, over := range tests {
		w := newWorld(t)
		w.op.discovery = over
		err := w.a.Provider.Discover(t.Context())
		_, known := w.a.Provider.Metadata()
		_, issuer := errors.AsType[*rp.IssuerError](err)
		if err == nil || !strings.Contains(err.Error(), want) || known || issuer {
			t.Errorf("%v: the error is %v, want one about %s", over, err, want)
		}
	}
}

func TestDiscoverWithoutADocument(t *testing.T) {
	for _, handler := range []http.HandlerFunc{
		http.NotFound,
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		func(_ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			at := "http://" + r.Host
			fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`, at, at, at, at)
		},
	} {
		server := httptest.NewServer(handler)
		defer server.Close()
		p := &rp.Provider{Issuer: server.URL, Now: time.Now}
		err := p.Discover(t.Context())
		if _, known := p.Metadata(); err == nil || known {
			t.Errorf("the document is taken: %v", err)
		}
	}
	p := &rp.Provider{Issuer: "https://op.example.com/%zz", Now: time.Now}
	if err := p.Discover(t.Context()); err == nil {
		t.Error("an issuer that is no URL is asked")
	}
}

func TestSigningAlgorithms(t *testing.T) {
	for want, listed := range map[string][]string{
		"[RS256]":       nil,
		"[ES256 EdDSA]": {"none", "NONE", "HS256", "hs512", "ES256", "EdDSA"},
	} {
		if got := fmt.Sprint(rp.Metadata{IDTokenAlgorithms: listed}.SigningAlgorithms()); got != want {
			t.Errorf("of %v %s are taken, want %s", listed, got, want)
		}
	}
}

// TestRun keeps trying while there is no document, and then looks for a newer
// one without losing the one it has.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.a.Provider
		w.op.down = true
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()

		pass(10 * time.Minute)
		if n := strings.Count(w.logs.String(), "no discovery document"); n < 10 || n > 20 {
			t.Errorf("%d tries in ten minutes, want some", n)
		}
		w.op.change(func() { w.op.down = false })
		pass(2 * time.Minute)
		if _, known := p.Metadata(); !known {
			t.Fatal("there is no document, though the OP is back")
		}
		w.op.change(func() { w.op.down = true })
		pass(2 * time.Hour)
		if _, known := p.Metadata(); !known {
			t.Error("the document was lost")
		}
		w.op.change(func() {
			w.op.down = false
			w.op.discovery = map[string]any{"end_session_endpoint": "https://op.example.com/new"}
		})
		pass(2 * time.Hour)
		if metadata, _ := p.Metadata(); metadata.EndSessionEndpoint != "https://op.example.com/new" {
			t.Errorf("the document is old: %+v", metadata)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returns %v", err)
		}
	})
}

// pass lets time pass, and all that is due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestSlowDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		p := &rp.Provider{Issuer: "https://op.example.com", HTTP: &http.Client{Transport: hang}, Now: time.Now}
		begun := time.Now()
		if err := p.Discover(t.Context()); err == nil || time.Since(begun) > 15*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestSkew(t *testing.T) {
	dated := roundTrip(func(r *http.Request) (*http.Response, error) {
		answer, err := newOP(t).RoundTrip(r)
		if err == nil {
			answer.Header.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		}
		return answer, err
	})
	p := &rp.Provider{Issuer: "https://op.example.com", HTTP: &http.Client{Transport: dated}, Now: time.Now}
	if err := p.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if metadata, _ := p.Metadata(); metadata.Skew < 59*time.Minute || metadata.Skew > 61*time.Minute {
		t.Errorf("the OP's clock is %s ahead, want an hour", metadata.Skew)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestValidate(t *testing.T) {
	tests := []struct {
		alter func(*rp.Party, *rp.Client)
		want  []string // empty: nothing is wrong
	}{
		{func(*rp.Party, *rp.Client) {}, nil},
		{func(_ *rp.Party, c *rp.Client) { c.Secret = "" }, nil},
		{func(_ *rp.Party, c *rp.Client) { c.ID = "" }, []string{"client id"}},
		{func(_ *rp.Party, c *rp.Client) { c.Auth, c.Secret = "client_secret_post", "" }, []string{"client secret"}},
		{func(_ *rp.Party, c *rp.Client) { c.Auth = "private_key_jwt" }, []string{"private_key_jwt"}},
		{func(_ *rp.Party, c *rp.Client) { c.Algorithms = []string{"RS256", "nOnE"} }, []string{"none"}},
		{func(_ *rp.Party, c *rp.Client) { c.ClaimSource = "x" }, []string{"claim source"}},
		{func(_ *rp.Party, c *rp.Client) { c.Scopes = []string{"email"} }, []string{"openid"}},
		{func(p *rp.Party, _ *rp.Client) { p.Lifetime = 0 }, []string{"lifetime"}},
		{func(_ *rp.Party, c *rp.Client) {
			c.AuthParams = url.Values{"nonce": nil, "request_uri": {"x"}, "prompt": {"login"}}
		}, []string{"nonce", "request_uri"}},
		{func(p *rp.Party, _ *rp.Client) { *p = rp.Party{} }, []string{"no provider", "lifetime"}},
		{func(_ *rp.Party, c *rp.Client) { *c = rp.Client{Provider: c.Provider} }, []string{"client id", "openid"}},
		{func(p *rp.Party, c *rp.Client) { p.Clients = append(p.Clients, c) }, []string{"the name", "one issuer"}},
	}
	for i, test := range tests {
		a := newWorld(t).a
		p := a.Party
		test.alter(p, a.Client)
		err := p.Validate()
		if len(test.want) == 0 && err != nil {
			t.Errorf("%d: %v", i, err)
		}
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d: the error is %v, want one about %s", i, err, want)
			}
		}
	}
}

func TestCodes(t *testing.T) {
	want := map[rp.Code]int{
		"return_refused": 400, "return_too_long": 400, "provider_unknown": 400, "state_missing": 400, "login_expired": 400, "callback_invalid": 400,
		"frontchannel_invalid": 400, "form_invalid": 400, "too_many": 429, "session_needed": 401,
		"access_denied": 403, "cross_site": 403, "provider_error": 502, "provider_unreachable": 502,
		"token_invalid": 502, "userinfo_mismatch": 502, "log_unavailable": 503,
	}
	got := make(map[rp.Code]int)
	for _, code := range rp.Codes() {
		got[code] = code.Status()
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the codes are %v, want %v", got, want)
	}
}
