package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// twoProviders is a house whose people sign in at staff's or at guests' provider,
// which know the same people by the same ids.
type twoProviders struct {
	*appHouse
	at map[string]*optest.Provider
}

func newTwoProviders(t *testing.T) *twoProviders {
	t.Helper()
	h := &twoProviders{newEmptyAppHouse(t), make(map[string]*optest.Provider)}
	file := "providers:\n"
	for _, name := range []string{"staff", "guests"} {
		op := &optest.Provider{Now: time.Now, Clients: []optest.Client{{
			ID: testClientID, Secret: testClientSecret,
			RedirectURIs:   []string{h.front.URL + "/auth/callback/" + name},
			PostLogoutURIs: []string{h.front.URL + "/auth/signed-out"},
			BackchannelURI: h.front.URL + "/auth/backchannel-logout",
		}}}
		realop.Serve(t, op, nil)
		h.at[name] = op
		file += fmt.Sprintf("  - {name: %s, title: Our %s, oidc_endpoint: %q, oidc_client_id: %s, oidc_client_secret: %s}\n",
			name, name, op.Issuer, testClientID, testClientSecret)
	}
	path := filepath.Join(t.TempDir(), "curfew.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	env := with(append(h.env, "OIDC_ENDPOINT", "", "OIDC_CLIENT_ID", "", "OIDC_CLIENT_SECRET", "")...)
	c, err := loadConfig(sources{file: path, env: func(name string) (string, bool) { value, set := env[name]; return value, set }})
	if err != nil {
		t.Fatal(err)
	}
	h.run(c)
	return h
}

// signInAt signs in by the link that the chooser has for a provider.
func (h *twoProviders) signInAt(name, username string) (cookie string) {
	h.t.Helper()
	b := realop.NewBrowser(h.t)
	resp, err := b.Get(h.t.Context(), h.front.URL+"/auth/login?rd=/after%3Fa%3Db")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	link := "/auth/login?provider=" + name + "&amp;rd=" + url.QueryEscape(h.front.URL+"/after?a=b")
	if !strings.Contains(string(body), `href="`+link+`"`) || !strings.Contains(string(body), "Our "+name) {
		h.t.Fatalf("the page has no %s:\n%s", link, body)
	}
	resp, err = b.SignIn(h.t.Context(), h.front.URL+strings.ReplaceAll(link, "&amp;", "&"), realop.User{Username: username, Password: "demo"})
	if err != nil {
		h.t.Fatal(err)
	}
	if got := resp.Request.URL.RequestURI(); resp.StatusCode != http.StatusOK || got != "/after?a=b" {
		h.t.Fatalf("the sign-in ended at %s with %d", got, resp.StatusCode)
	}
	return h.cookie(b)
}

// The same person at two providers is two people: what one provider ends, and
// what an operator ends of one, leaves the other's alone.
func TestTwoProviders(t *testing.T) {
	h := newTwoProviders(t)
	staff, guest := h.signInAt("staff", "ada"), h.signInAt("guests", "ada")
	r := h.replicas[0]
	sub, _ := r.session(staff)["sub"].(string)
	if other := r.session(guest)["sub"]; sub == "" || other != sub {
		t.Fatalf("the subs are %q and %q, want one", sub, other)
	}
	if page := h.sessions("?sub=" + url.QueryEscape(sub)); len(page.Sessions) != 2 || page.Sessions[0].Issuer == page.Sessions[1].Issuer {
		t.Errorf("listed are %+v", page.Sessions)
	}
	wantComplete(t)(h.at["staff"].LogoutUser(t.Context(), sub))
	if got, kept := r.check(staff).StatusCode, r.check(guest).StatusCode; got != http.StatusUnauthorized || kept != http.StatusOK {
		t.Errorf("after staff's logout the guard answers %d and %d, want 401 and 200", got, kept)
	}

	staff = h.signInAt("staff", "ada")
	h.call("POST", "/v1/logouts", `{"sub":"`+sub+`"}`).wantProblem(t, "no issuer", http.StatusBadRequest, "there are several providers")
	h.call("POST", "/v1/logouts", `{"all":true}`).wantProblem(t, "all and no issuer", http.StatusBadRequest, h.at["guests"].Issuer)
	h.call("POST", "/v1/logouts", `{"all":true,"issuer":"https://other.example.com"}`).wantProblem(t, "another's", http.StatusBadRequest, "want")
	if a := h.call("POST", "/v1/logouts", `{"sub":"`+sub+`","issuer":"`+h.at["guests"].Issuer+`"}`); a.StatusCode != http.StatusOK {
		t.Errorf("the operator is answered %d %s", a.StatusCode, a.body)
	}
	if kept, got := r.check(staff).StatusCode, r.check(guest).StatusCode; got != http.StatusUnauthorized || kept != http.StatusOK {
		t.Errorf("after the operator's logout the guard answers %d and %d, want 200 and 401", kept, got)
	}
}

// A browser that the provider frames ends the session by its sid, and nothing else.
func TestFrontchannelLogoutOfOneProvider(t *testing.T) {
	h := newTwoProviders(t)
	staff, guest := h.signInAt("staff", "ada"), h.signInAt("guests", "grace")
	r := h.replicas[0]
	sid, _ := r.session(staff)["sid"].(string)
	ask := func(query url.Values) answered {
		t.Helper()
		resp, err := http.Get(h.front.URL + "/auth/frontchannel-logout?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answered{resp, body}
	}
	if a := ask(url.Values{"sid": {sid}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("without iss, of two: %d", a.StatusCode)
	}
	if a := ask(url.Values{"sid": {sid}, "iss": {h.at["guests"].Issuer}}); a.StatusCode != http.StatusOK || r.check(staff).StatusCode != http.StatusOK {
		t.Errorf("at the other provider: %d, and the guard answers %d", a.StatusCode, r.check(staff).StatusCode)
	}
	a := ask(url.Values{"sid": {sid}, "iss": {h.at["staff"].Issuer}})
	if a.StatusCode != http.StatusOK || a.Header.Get("Curfew-Fence") != "complete" {
		t.Errorf("answered %d %v", a.StatusCode, a.Header)
	}
	if got, kept := r.check(staff).StatusCode, r.check(guest).StatusCode; got != http.StatusUnauthorized || kept != http.StatusOK {
		t.Errorf("the guard answers %d and %d, want 401 and 200", got, kept)
	}
}
