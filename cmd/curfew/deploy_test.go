package main

import (
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"curfew/sessions/guard"
)

func TestDeployNginx(t *testing.T) {
	needs(t, "nginx")
	g := newGuarded(t, "https")
	g.nginx(asShipped, "127.0.0.1:4180", g.way.Addr().String())
	g.keepsItsPromises(t)
	g.refusesWhenStale(t)
	g.wantUnsureOfNobody(t)
}

func TestDeployCaddy(t *testing.T) {
	needs(t, "caddy")
	g := newGuarded(t, "http")
	g.caddy(asShipped, "127.0.0.1:4180", g.way.Addr().String())
	g.keepsItsPromises(t)
	g.refusesWhenStale(t)
}

// TestDeployEnvoy runs where there is an Envoy. Debian has none, so a missing one
// is no fault anywhere; TestDeployEnvoyStructure always runs.
func TestDeployEnvoy(t *testing.T) {
	if _, err := exec.LookPath("envoy"); err != nil {
		t.Skip("NOT TESTED: envoy is not installed")
	}
	g := newGuarded(t, "https")
	g.envoy()
	g.keepsItsPromises(t)
	g.refusesWhenStale(t)
	g.wantUnsureOfNobody(t)
}

// keepsItsPromises tries all that a proxy must do while the guard is fresh.
func (g *guarded) keepsItsPromises(t *testing.T) {
	t.Helper()
	for _, promise := range []struct {
		name string
		try  func(*guarded, *testing.T)
	}{
		{"returns to the exact page", (*guarded).returnsToThePage},
		{"sends page loads to the login and programs a 401", (*guarded).tellsPagesFromPrograms},
		{"lets nobody say who they are", (*guarded).stripsHeaders},
		{"believes no client about where it comes from", (*guarded).believesNoForwarded},
		{"hands on requests whole", (*guarded).handsOnWhole},
		{"leaves the application's answers alone", (*guarded).leavesAnswers},
		{"upgrades", (*guarded).upgrades},
		{"keeps connections to the guard", (*guarded).keepsConnections},
		{"refuses after a logout", (*guarded).refusesAfterLogout},
	} {
		t.Run(promise.name, func(t *testing.T) {
			whole := g.t
			g.t = t
			defer func() { g.t = whole }()
			promise.try(g, t)
		})
	}
}

func (g *guarded) returnsToThePage(t *testing.T) {
	for _, page := range []string{
		"/report/a%20b%2Fc?x=1&next=%2Felse&rd=https%3A%2F%2Fevil.example%2F&groups=nobody&q=a%26b+c%23d",
		"/auth-not-ours/?a=b?c=d&e",
	} {
		resp, cookie := g.enter(g.browser(), "ada", page)
		if got := resp.Request.URL.String(); got != g.url+page {
			t.Errorf("arrived at %s, want %s", got, g.url+page)
		}
		_, body := g.send(g.request(http.MethodGet, page, cookie, nil, nil))
		if got := g.seen(body).URI; got != page {
			t.Errorf("the application saw %s, want %s", got, page)
		}
	}
	// What a client says of the page is not believed, neither on the way to the
	// login nor there.
	for name, value := range map[string]string{"X-Original-Url": g.url + "/planted", "X-Forwarded-Uri": "/planted"} {
		for start, want := range map[string]string{"/real": "/real", "/auth/login": "/"} {
			b := g.browser()
			b.Client.Transport = planting{b.Client.Transport, name, value}
			if resp, _ := g.enter(b, "ada", start); resp.Request.URL.String() != g.url+want {
				t.Errorf("with %s, %s leads to %s", name, start, resp.Request.URL)
			}
		}
	}
}

// planting sends a header with every request.
type planting struct {
	http.RoundTripper
	name, value string
}

// RoundTrip adds it.
func (p planting) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(p.name, p.value)
	return p.RoundTripper.RoundTrip(r)
}

func (g *guarded) tellsPagesFromPrograms(t *testing.T) {
	html := []string{"text/html,application/xhtml+xml,*/*;q=0.8"}
	for _, c := range []struct {
		name, method string
		header       http.Header
		status       int
	}{
		{"a page load", "GET", http.Header{"Accept": html, "Sec-Fetch-Mode": {"navigate"}}, 302},
		{"one that takes anything", "GET", http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": {"navigate"}}, 302},
		{"one of an older browser", "GET", http.Header{"Accept": html}, 302},
		{"a look at a page", "HEAD", http.Header{"Accept": html}, 302},
		{"a program", "GET", nil, 401},
		{"a program that takes anything", "GET", http.Header{"Accept": {"*/*"}}, 401},
		{"one that wants JSON", "GET", http.Header{"Accept": {"application/json"}}, 401},
		{"fetch", "GET", http.Header{"Accept": html, "Sec-Fetch-Mode": {"cors"}}, 401},
		{"fetch of our own", "GET", http.Header{"Accept": html, "Sec-Fetch-Mode": {"same-origin"}}, 401},
		{"an older script", "GET", http.Header{"Accept": html, "X-Requested-With": {"XMLHttpRequest"}}, 401},
		{"a form", "POST", http.Header{"Accept": html, "Sec-Fetch-Mode": {"navigate"}}, 401},
		{"an older browser's form", "POST", http.Header{"Accept": html}, 401},
		{"a change", "PUT", http.Header{"Accept": html}, 401},
		{"a deletion", "DELETE", nil, 401},
	} {
		resp, _ := g.send(g.request(c.method, "/api?rd=/x", nil, c.header, nil))
		if resp.StatusCode != c.status {
			t.Errorf("%s: answered %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if redirected := resp.Header.Get("Location") != ""; redirected != (c.status == http.StatusFound) {
			t.Errorf("%s: the location is %q", c.name, resp.Header.Get("Location"))
		}
		if got := resp.Header.Values(guard.HeaderReason); !slices.Equal(got, []string{"no_session"}) {
			t.Errorf("%s: the reason is %q", c.name, got)
		}
		if got := resp.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
			t.Errorf("%s: Cache-Control is %q", c.name, got)
		}
	}
}

func (g *guarded) handsOnWhole(t *testing.T) {
	cookie := g.signedIn("ada")
	want := strings.Repeat("0123456789", 50_000)
	for _, body := range []struct {
		name string
		*strings.Reader
		length int64
	}{
		{"of known length", strings.NewReader(want), int64(len(want))},
		{"in chunks", strings.NewReader(want), -1},
	} {
		req := g.request(http.MethodPost, "/upload?a=%2F", cookie, http.Header{"X-Requested-With": {"x"}}, body)
		req.ContentLength = body.length
		_, answer := g.send(req)
		got := g.seen(answer)
		if got.Method != http.MethodPost || got.URI != "/upload?a=%2F" || got.Body != want || got.Host != g.host() {
			t.Errorf("%s: the application saw %s %s of %s with %d bytes", body.name, got.Method, got.URI, got.Host, len(got.Body))
		}
	}
}

// believesNoForwarded: what a client says of itself is replaced. A proxy may keep
// the addresses it was told, with the client's own behind them.
func (g *guarded) believesNoForwarded(t *testing.T) {
	claimed := http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"gopher"}, "X-Forwarded-Host": {"evil.example"}}
	_, body := g.send(g.request(http.MethodGet, "/", g.signedIn("ada"), claimed, nil))
	got := g.seen(body).Header
	from := strings.Split(strings.Join(got.Values("X-Forwarded-For"), ","), ",")
	if last := from[len(from)-1]; last == "203.0.113.9" {
		t.Errorf("X-Forwarded-For is %q", from)
	}
	scheme, host, _ := strings.Cut(g.url, "://")
	if proto := got.Values("X-Forwarded-Proto"); !slices.Equal(proto, []string{scheme}) {
		t.Errorf("X-Forwarded-Proto is %q", proto)
	}
	if named := got.Values("X-Forwarded-Host"); !slices.Equal(named, []string{host}) {
		t.Errorf("X-Forwarded-Host is %q", named)
	}
}

func (g *guarded) leavesAnswers(t *testing.T) {
	cookie := g.signedIn("ada")
	for path, status := range map[string]int{"/status/401": 401, "/status/403": 403, "/status/500": 500} {
		resp, body := g.send(g.request(http.MethodGet, path, cookie, http.Header{"Accept": {"text/html"}}, nil))
		if resp.StatusCode != status || g.seen(body).URI != path || resp.Header.Get("Retry-After") != "" {
			t.Errorf("%s: answered %d with %v", path, resp.StatusCode, resp.Header)
		}
	}
}

func (g *guarded) upgrades(t *testing.T) {
	if status, line := g.upgrade(g.signedIn("ada")); status != http.StatusSwitchingProtocols || line != "echo hello\n" {
		t.Errorf("with a session: %d %q", status, line)
	}
	if status, _ := g.upgrade(nil); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d, want 401", status)
	}
}

func (g *guarded) keepsConnections(t *testing.T) {
	cookie := g.signedIn("ada")
	before := g.way.opened.Load()
	for range 50 {
		if resp, _ := g.send(g.request(http.MethodGet, "/", cookie, nil, nil)); resp.StatusCode != http.StatusOK {
			t.Fatalf("answered %d", resp.StatusCode)
		}
	}
	if opened := g.way.opened.Load() - before; opened > 3 {
		t.Errorf("50 requests opened %d connections to the guard", opened)
	}
}

func (g *guarded) refusesAfterLogout(t *testing.T) {
	html := http.Header{"Accept": {"text/html"}}
	for i := range g.replicas {
		cookie := g.signedIn("grace")
		g.through.Store(int32(i))
		g.op.endSession(t, g.told(cookie, "sid"))
		resp, _ := g.send(g.request(http.MethodGet, "/", cookie, nil, nil))
		if got := resp.Header.Get(guard.HeaderReason); resp.StatusCode != http.StatusUnauthorized || got != "ended" {
			t.Errorf("told %s: answered %d %q, want 401 ended", g.replicas[i].name, resp.StatusCode, got)
		}
		if resp, _ := g.send(g.request(http.MethodGet, "/", cookie, html, nil)); resp.StatusCode != http.StatusFound {
			t.Errorf("told %s: a page load is answered %d, want 302", g.replicas[i].name, resp.StatusCode)
		}
		if status, _ := g.upgrade(cookie); status != http.StatusUnauthorized {
			t.Errorf("told %s: a websocket is answered %d, want 401", g.replicas[i].name, status)
		}
	}
}

// refusesWhenStale stops the log until no replica can prove anything.
func (g *guarded) refusesWhenStale(t *testing.T) {
	t.Helper()
	cookie := g.signedIn("noor")
	g.nats.kill()
	eventually(t, "the leases have run out", func() bool {
		resp, _ := g.send(g.request(http.MethodGet, "/", cookie, nil, nil))
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("meanwhile answered %d", resp.StatusCode)
		}
		return !slices.ContainsFunc(g.replicas, func(r *replica) bool { return r.check("").StatusCode != http.StatusServiceUnavailable })
	})
	g.wantUnsure(t)
}

// wantUnsureOfNobody wants a 503 where no replica is left to say it.
func (g *guarded) wantUnsureOfNobody(t *testing.T) {
	t.Helper()
	for _, r := range g.replicas {
		r.kill()
	}
	g.wantUnsure(t)
}

// wantUnsure wants a 503 of every kind of request, with a session or without.
func (g *guarded) wantUnsure(t *testing.T) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, header := range []http.Header{nil, {"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}}} {
			resp, _ := g.send(g.request(method, "/", nil, header, nil))
			if got := resp.Header.Values("Retry-After"); resp.StatusCode != http.StatusServiceUnavailable || !slices.Equal(got, []string{"1"}) {
				t.Errorf("%s: answered %d, Retry-After %q; want 503 and 1", method, resp.StatusCode, got)
			}
			if got := resp.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
				t.Errorf("%s: Cache-Control is %q", method, got)
			}
		}
	}
}
