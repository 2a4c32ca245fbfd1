package main

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// Behind each proxy, as its files are shipped, a stream begins at once and says
// within a second what has happened.
func TestOpenTabsBehindNginx(t *testing.T) {
	needs(t, "nginx")
	g := newGuarded(t, "https")
	g.nginx(asShipped, "127.0.0.1:4180", g.way.Addr().String())
	g.tellsOpenTabs(t)
}

func TestOpenTabsBehindCaddy(t *testing.T) {
	needs(t, "caddy")
	g := newGuarded(t, "http")
	g.caddy(asShipped, "127.0.0.1:4180", g.way.Addr().String())
	g.tellsOpenTabs(t)
}

// TestOpenTabsBehindEnvoyStructure: a limit to the whole answer would cut streams.
func TestOpenTabsBehindEnvoyStructure(t *testing.T) {
	var document any
	readYAML(t, "envoy/envoy.yaml", &document)
	manager := at(t, document, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")
	route := at(t, manager, "route_config", "virtual_hosts", 0, "routes", 0, "route")
	if cluster, whole := at(t, route, "cluster"), at(t, route, "timeout"); cluster != "curfew" || whole != "0s" {
		t.Errorf("the route to %s has the limit %s", cluster, whole)
	}
	silence, err := time.ParseDuration(fmt.Sprint(at(t, route, "idle_timeout")))
	if err != nil || silence < 2*25*time.Second {
		t.Errorf("silence is cut after %s (%v)", silence, err)
	}
}

func (g *guarded) tellsOpenTabs(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: g.transport()} // without a time limit of its own
	for i, r := range g.replicas {
		promptly(t, soon, func() time.Duration {
			cookie := g.signedIn("ada")
			tabs := []*pageStream{streamAt(t, client, g.url, cookie), streamAt(t, client, g.url, cookie), streamAt(t, client, g.url, cookie)}
			for _, tab := range tabs {
				if got := tab.resp.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) || tab.resp.Header.Get("Set-Cookie") != "" {
					t.Errorf("the stream's header is %v", tab.resp.Header)
				}
			}
			sid := g.told(cookie, "sid")
			g.through.Store(int32(i))
			began := time.Now()
			g.op.endSession(t, sid)
			return allHear(tabs, "ended", "backchannel").Sub(began)
		})
		t.Logf("told %s", r.name)
	}
	cookie := g.signedIn("ada")
	tab := streamAt(t, client, g.url, cookie)
	for _, foreign := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}} {
		if resp, _ := g.send(g.request(http.MethodGet, "/auth/session/events", cookie, foreign, nil)); resp.StatusCode != http.StatusForbidden {
			t.Errorf("another origin's page, with %v, is answered %d", foreign, resp.StatusCode)
		}
	}
	for _, r := range g.replicas {
		r.stop()
	}
	tab.hears("unsure", "stopping")
}
