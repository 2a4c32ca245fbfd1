package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"curfew/sessions/rp/optest/realop"
)

// Envoy puts the path it asks about below /check and keeps the method: none of
// them may be answered by anything but the guard.
func TestCheckTakesItsPathToTheLetter(t *testing.T) {
	h := newSmallHouse(t, nil)
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"", "/", "/a", "//a", "/a//b", "/a/../b", "/../session", "/https://x/", "/a%2F..%2Fb", "/login", "/a?x=y"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"} {
			for value, status := range map[string]int{cookie: http.StatusOK, "": http.StatusUnauthorized} {
				req, err := http.NewRequestWithContext(t.Context(), method, h.replicas[0].public, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.URL.Opaque = "/auth/check" + path
				req.AddCookie(&http.Cookie{Name: "curfew", Value: value})
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != status || resp.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s /auth/check%s: got %d, want %d", method, path, resp.StatusCode, status)
				}
			}
		}
	}
	if resp := h.replicas[0].check(cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("the session did not outlive it: %d", resp.StatusCode)
	}
}

// What stands in the log and cannot be read stops a replica, which must say
// where and why: nobody can take it out of the log again.
func TestUnreadableMessageIsNamed(t *testing.T) {
	h := newSmallHouse(t, nil, "CURFEW_MAX_STALENESS=1s")
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	h.wantEverywhere(cookie, http.StatusOK, "")
	conn, err := nats.Connect(h.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Publish("curfew.session.x.started", []byte("junk{")); err != nil {
		t.Fatal(err)
	}
	for _, r := range h.replicas {
		eventually(t, r.name+" says why it is not ready", func() bool {
			resp, err := http.Get(r.admin + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "curfew.session.x.started")
		})
	}
	h.wantEverywhere(cookie, http.StatusServiceUnavailable, "stale")

	// The way out that docs/threats.md names: an event of a kind that may be
	// skipped, on the same subject.
	err = conn.PublishMsg(&nats.Msg{
		Subject: "curfew.session.x.started",
		Header: nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {"mend-1"}, "ce-type": {"curfew.removed.v1"},
			"ce-source": {"/operator"}, "ce-time": {"2026-11-23T12:00:00Z"},
		},
		Data: []byte("{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range h.replicas {
		r.ready()
	}
	h.wantEverywhere(cookie, http.StatusOK, "")
}
