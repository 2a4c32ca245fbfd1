package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"curfew/sessions/guard"
)

// TestDeployNginxChoices takes every choice in the files: several replicas, one
// of them stale and one at a Unix socket, groups, and a part for everybody.
func TestDeployNginxChoices(t *testing.T) {
	needs(t, "nginx")
	g := newGuarded(t, "https")
	adrift, socket := g.adrift(), g.atSocket()
	g.nginx(allChosen, "127.0.0.1:4180", adrift, "10.0.0.12:4180", g.way.Addr().String(), "/run/curfew/public.sock", socket)

	// Nobody notices that one replica is stale: not at curfew's own pages, and not
	// at the application's.
	for range 6 {
		if resp, _ := g.send(g.request(http.MethodGet, "/auth/session", nil, nil, nil)); resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("curfew's own page: answered %d", resp.StatusCode)
		}
	}
	ada, noor := g.signedIn("ada"), g.signedIn("noor")
	for range 20 {
		g.signedIn("grace")
		if resp, _ := g.send(g.request(http.MethodGet, "/", ada, nil, nil)); resp.StatusCode != http.StatusOK {
			t.Fatalf("with a session: answered %d", resp.StatusCode)
		}
		resp, _ := g.send(g.request(http.MethodGet, "/", nil, http.Header{"Sec-Fetch-Mode": {"navigate"}}, nil))
		if resp.StatusCode != http.StatusFound {
			t.Fatalf("a page load without one: answered %d", resp.StatusCode)
		}
	}

	for _, c := range []struct {
		who    *http.Cookie
		path   string
		status int
		reason []string
	}{
		{ada, "/admin/x?groups=nobody", 200, nil},
		{noor, "/admin/x?groups=", 403, []string{"group"}},
		{nil, "/admin/x", 401, []string{"no_session"}},
		{noor, "/", 200, nil},
		{nil, "/open/x", 200, nil},
	} {
		resp, _ := g.send(g.request(http.MethodGet, c.path, c.who, nil, nil))
		if got := resp.Header.Values(guard.HeaderReason); resp.StatusCode != c.status || !slices.Equal(got, c.reason) {
			t.Errorf("%s: answered %d %q, want %d %q", c.path, resp.StatusCode, got, c.status, c.reason)
		}
	}
	g.refusesInAPage("/admin/x?y=1", noor, func() {})
	planted := http.Header{}
	for _, name := range identity() {
		planted[name] = []string{"planted"}
	}
	if _, body := g.send(g.request(http.MethodGet, "/open/x", nil, planted, nil)); strings.Contains(body, "planted") {
		t.Errorf("where nobody is asked about, something that was planted arrived: %s", body)
	}
}

// TestDeployCaddyChoices has two replicas, one of them stale and one at a Unix
// socket. Caddy hands the stale one's answer on, and passes it over for a second.
func TestDeployCaddyChoices(t *testing.T) {
	needs(t, "caddy")
	g := newGuarded(t, "http")
	adrift, socket := g.adrift(), g.atSocket()
	g.caddy(allChosen, "127.0.0.1:4180", adrift+" unix/"+socket, "/auth/forward?\n", "/auth/forward?groups=staff\n")
	signedIn := func(name string) (cookie *http.Cookie) {
		eventually(t, name+" is signed in", func() bool {
			_, cookie = g.tryToEnter(g.browser(), name, "/auth/login?rd=/auth/session")
			return cookie != nil
		})
		return cookie
	}
	grace, noor := signedIn("grace"), signedIn("noor")
	unsure := 0
	for range 20 {
		resp, _ := g.send(g.request(http.MethodGet, "/", grace, nil, nil))
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusServiceUnavailable:
			unsure++
		default:
			t.Fatalf("answered %d", resp.StatusCode)
		}
	}
	if unsure > 5 {
		t.Errorf("20 requests were answered 503 %d times", unsure)
	}
	eventually(t, "one who is in no group is refused", func() bool {
		resp, _ := g.send(g.request(http.MethodGet, "/?groups=staff", noor, nil, nil))
		if resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusForbidden {
			t.Fatalf("answered %d", resp.StatusCode)
		}
		return resp.StatusCode == http.StatusForbidden && resp.Header.Get(guard.HeaderReason) == "group"
	})
	g.refusesInAPage("/x?y=1", noor, func() {
		// Caddy passes the stale one over for a second from then on.
		eventually(t, "the stale one is found to be so", func() bool {
			resp, _ := g.send(g.request(http.MethodGet, "/", noor, nil, nil))
			return resp.StatusCode == http.StatusServiceUnavailable
		})
	})
}

// refusesInAPage wants who is not in the group to be told so, in their language and
// ours. Something may have to be done before each question.
func (g *guarded) refusesInAPage(path string, who *http.Cookie, before func()) {
	g.t.Helper()
	for language, says := range map[string]string{"en": "none of the groups", "de-AT": "keiner der Gruppen"} {
		before()
		resp, body := g.send(g.request(http.MethodGet, path, who, http.Header{
			"Sec-Fetch-Mode": {"navigate"}, "Accept": {"text/html"}, "Accept-Language": {language},
		}, nil))
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, says) || resp.Header.Get("Content-Security-Policy") == "" ||
			!slices.Equal(resp.Header.Values(guard.HeaderReason), []string{"group"}) || !slices.Equal(resp.Header.Values("Cache-Control"), []string{"no-store"}) {
			g.t.Errorf("%s: answered %d %v\n%s", language, resp.StatusCode, resp.Header, body)
		}
	}
}

// adrift is the address of a further replica, which has no log and so knows
// nothing.
func (g *guarded) adrift() string {
	g.t.Helper()
	r := g.start("adrift", "CURFEW_NATS_URL=nats://"+freeAddress(g.t))
	return strings.TrimPrefix(r.public, "http://")
}

// atSocket is the path of a further replica's Unix socket.
func (g *guarded) atSocket() string {
	g.t.Helper()
	path := filepath.Join(proxyFolder(g.t), "s")
	g.start("socket", "CURFEW_LISTEN=unix:"+path).ready()
	if err := os.Chmod(path, 0o777); err != nil {
		g.t.Fatal(err)
	}
	return path
}
