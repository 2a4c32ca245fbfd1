package main

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// browsed is a guarded application that a browser looks at, behind a real proxy.
type browsed struct {
	*guarded
	*chromium
	op *optest.Provider
	// away has the provider's token endpoint answer nothing, and lying has it sign
	// ID tokens for another login.
	away, lying atomic.Bool
	// asked counts the logins that the provider was asked for.
	asked atomic.Int32
}

// newBrowsed starts three replicas and all else but the proxy.
func newBrowsed(t *testing.T, c *chromium, scheme string) *browsed {
	t.Helper()
	b := emptyBrowsed(t, c, scheme)
	b.op = b.provider("/auth/callback")
	b.open(b.op.Issuer, "CURFEW_PUBLIC_URL="+b.url)
	b.house.op = smallProvider{b.op}
	b.way = newRelay(t, b.replicas)
	return b
}

// newChoosing has one replica, at which people choose between the provider and
// another, which is returned beside it.
func newChoosing(t *testing.T, c *chromium, scheme string) (b *browsed, guests *optest.Provider) {
	t.Helper()
	b = emptyBrowsed(t, c, scheme)
	b.op, guests = b.provider("/auth/callback/staff"), b.provider("/auth/callback/guests")
	file := filepath.Join(t.TempDir(), "curfew.yaml")
	content := "providers:\n"
	for name, op := range map[string]*optest.Provider{"staff": b.op, "guests": guests} {
		content += fmt.Sprintf("  - {name: %s, title: The %s, oidc_endpoint: %q, oidc_client_id: %s, oidc_client_secret: %s}\n",
			name, name, op.Issuer, testClientID, testClientSecret)
	}
	b.write(file, content)
	env := append(b.env, "OIDC_CLIENT_ID=", "OIDC_CLIENT_SECRET=", "CURFEW_PUBLIC_URL="+b.url, "CURFEW_DATA="+t.TempDir())
	p := startProcess(t, env, "curfew", "serve", "--config", file)
	var serving struct{ Listen, Admin string }
	line := p.waitLine("it was serving", func(line string) bool { return strings.Contains(line, `"msg":"serving"`) })
	if err := json.Unmarshal([]byte(line), &serving); err != nil {
		t.Fatal(err)
	}
	r := &replica{process: p, name: "one", public: "http://" + serving.Listen, admin: "http://" + serving.Admin}
	r.ready()
	b.replicas = []*replica{r}
	b.way = newRelay(t, b.replicas)
	return b, guests
}

func emptyBrowsed(t *testing.T, c *chromium, scheme string) *browsed {
	t.Helper()
	address, nats := startNATS(t, t.TempDir(), "-1")
	held := holdAddress(t)
	b := &browsed{chromium: c, guarded: &guarded{
		url: scheme + "://" + held.Addr().String(), held: held, nats: nats,
		app: httptest.NewServer(http.HandlerFunc(showApplication)), tls: httptest.NewTLSServer(nil),
	}}
	t.Cleanup(b.app.Close)
	t.Cleanup(b.tls.Close)
	b.house = &house{site: newSite(t, address)}
	return b
}

// provider is one that returns people to an address.
func (b *browsed) provider(callback string) *optest.Provider {
	op := &optest.Provider{Now: time.Now, Alter: b.alter, Clients: []optest.Client{{
		ID: testClientID, Secret: testClientSecret, Name: "Harbour Library",
		RedirectURIs:   []string{b.url + callback},
		PostLogoutURIs: []string{b.url + "/auth/signed-out"},
		BackchannelURI: b.front.URL + "/auth/backchannel-logout",
	}}}
	realop.Serve(b.t, op, b.standBefore)
	return op
}

func (b *browsed) alter(part optest.Part, members map[string]any) {
	if part == optest.IDToken && b.lying.Load() {
		members["nonce"] = "another login's"
	}
}

// standBefore counts what the provider is asked, and has it fail.
func (b *browsed) standBefore(provider http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/authorize":
			b.asked.Add(1)
		case "/token":
			if b.away.Load() {
				panic(http.ErrAbortHandler)
			}
		}
		provider.ServeHTTP(w, r)
	})
}

var application = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Harbour Library</title><link rel="icon" href="data:,">
<script type="module" src="/static/curfew.js"></script></head>
<body><h1>Harbour Library</h1>
<p>You are <b id="user">{{.Header.Get "Remote-User"}}</b>, and this is <b id="page">{{.RequestURI}}</b>.</p>
</body></html>
`))

// showApplication shows a page that says who is there and which page it is, with
// the script of docs/open-tabs.md and the policy that the page asks for.
func showApplication(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/static/curfew.js" {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, documentedScript())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:")
	_ = application.Execute(w, r)
}

// signs fills in the provider's form, which must be there.
func (b *browsed) signs(p *tab, name string) {
	p.t.Helper()
	p.arrivesAt(b.op.Issuer)
	p.fill("#username", name)
	p.fill("#password", "demo")
	p.click(`form[data-step="sign-in"] button`)
}

// enters signs somebody in on the way to a page, and sees them arrive there.
func (b *browsed) enters(p *tab, name, page string) {
	p.t.Helper()
	p.open(b.url + page)
	b.signs(p, name)
	b.isAt(p, name, page)
}

// isAt wants somebody to be at a page of the application's.
func (b *browsed) isAt(p *tab, name, page string) {
	p.t.Helper()
	p.arrives(b.url + page)
	if got := p.text("#page"); got != page {
		p.t.Errorf("the application was asked for %s, want %s", got, page)
	}
	if got := p.text("#user"); got != name {
		p.t.Errorf("the application was told of %q, want %q", got, name)
	}
}
