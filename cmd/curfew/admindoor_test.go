package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhoMayUseTheAdminAPI(t *testing.T) {
	const token = "operator-token"
	loopback := door{}
	socket := newDoor(config{adminListen: "unix:/run/curfew/admin"})
	locked := newDoor(config{adminListen: "127.0.0.1:4181", adminToken: token})
	wide := newDoor(config{adminListen: "0.0.0.0:4181", adminToken: token})
	for _, c := range []struct {
		name   string
		door   door
		host   string
		header []string
		status int // zero: let in
	}{
		{"curl", loopback, "127.0.0.1:4181", nil, 0},
		{"curl by name", loopback, "localhost:4181", nil, 0},
		{"curl by name in capitals", loopback, "LocalHost:4181", nil, 0},
		{"curl over IPv6", loopback, "[::1]:4181", nil, 0},
		{"without a port", loopback, "[::1]", nil, 0},
		{"a name pointed here", loopback, "evil.example.com:4181", nil, 403},
		{"a name that begins well", loopback, "localhost.example.com", nil, 403},
		{"a name that ends well", loopback, "127.0.0.1.example.com", nil, 403},
		{"another address", loopback, "192.0.2.1:4181", nil, 403},
		{"all addresses", loopback, "0.0.0.0:4181", nil, 403},
		{"no host", loopback, "", nil, 403},
		{"a page of its own", loopback, "localhost:4181", []string{"Origin", "http://localhost:4181", "Sec-Fetch-Site", "same-origin"}, 0},
		{"typed in", loopback, "localhost:4181", []string{"Sec-Fetch-Site", "none"}, 0},
		{"another site's page", loopback, "127.0.0.1:4181", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a page of another port", loopback, "127.0.0.1:4181", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a word to come", loopback, "127.0.0.1:4181", []string{"Sec-Fetch-Site", "x"}, 403},
		{"another origin", loopback, "127.0.0.1:4181", []string{"Origin", "https://evil.example.com"}, 403},
		{"another port", loopback, "127.0.0.1:4181", []string{"Origin", "http://127.0.0.1:8080"}, 403},
		{"an opaque origin", loopback, "127.0.0.1:4181", []string{"Origin", "null"}, 403},
		{"a broken origin", loopback, "127.0.0.1:4181", []string{"Origin", "://"}, 403},
		{"a page of a name pointed here", loopback, "evil.example.com", []string{"Origin", "http://evil.example.com", "Sec-Fetch-Site", "same-origin"}, 403},
		{"over the socket", socket, "x", nil, 0},
		{"a page over the socket", socket, "x", []string{"Origin", "http://y"}, 403},
		{"an opaque page over the socket", socket, "", []string{"Origin", "null"}, 403},
		{"no token", locked, "127.0.0.1", nil, 401},
		{"the token", locked, "127.0.0.1", []string{"Authorization", "Bearer " + token}, 0},
		{"the token in another case", locked, "127.0.0.1", []string{"Authorization", "Bearer " + strings.ToUpper(token)}, 401},
		{"the scheme in another case", locked, "127.0.0.1", []string{"Authorization", "bearer " + token}, 0},
		{"half the token", locked, "127.0.0.1", []string{"Authorization", "Bearer " + token[:5]}, 401},
		{"more than the token", locked, "127.0.0.1", []string{"Authorization", "Bearer " + token + "x"}, 401},
		{"an empty token", locked, "127.0.0.1", []string{"Authorization", "Bearer "}, 401},
		{"no scheme", locked, "127.0.0.1", []string{"Authorization", token}, 401},
		{"another scheme", locked, "127.0.0.1", []string{"Authorization", "Basic " + token}, 401},
		{"the token from a page", locked, "127.0.0.1", []string{"Authorization", "Bearer " + token, "Origin", "https://evil.example.com"}, 403},
		{"the token by another name", locked, "evil.example.com", []string{"Authorization", "Bearer " + token}, 403},
		{"from afar", wide, "curfew-0.curfew:4181", []string{"Authorization", "Bearer " + token}, 0},
		{"from afar without", wide, "curfew-0.curfew:4181", nil, 401},
		{"open to all", newDoor(config{adminListen: "0.0.0.0:4181"}), "curfew", nil, 403},
	} {
		r := httptest.NewRequest(http.MethodDelete, "http://127.0.0.1/v1/sessions", nil)
		r.Host = c.host
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		w := httptest.NewRecorder()
		err, status := c.door.check(w, r), 0
		if err != nil {
			status = problemOf(err).Status
		}
		if status != c.status {
			t.Errorf("%s: %d (%v), want %d", c.name, status, err, c.status)
		}
		if asks := w.Header().Get("WWW-Authenticate") != ""; asks != (c.status == http.StatusUnauthorized) {
			t.Errorf("%s: WWW-Authenticate is %q", c.name, w.Header().Get("WWW-Authenticate"))
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the problem holds the token: %v", c.name, err)
		}
	}
}

func TestTheDoorIsBeforeEverythingUnderV1(t *testing.T) {
	h := newAppHouse(t, "CURFEW_ADMIN_TOKEN", "operator-token")
	for _, path := range []string{"/v1/sessions", "/v1/sessions/x", "/v1/logouts", "/v1/replicas", "/v1/events", "/v1/", "/v1/nothing"} {
		for _, method := range []string{"GET", "POST", "DELETE", "PUT"} {
			answer := h.call(method, path, "")
			answer.wantProblem(t, method+" "+path, http.StatusUnauthorized, "CURFEW_ADMIN_TOKEN")
			if answer.Header.Get("WWW-Authenticate") == "" || answer.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: header %v", method, path, answer.Header)
			}
			h.call(method, path, "", "Authorization", "Bearer operator-token", "Host", "evil.example.com").
				wantProblem(t, method+" "+path, http.StatusForbidden, "host")
		}
	}
	if got := h.call("GET", "/v1/sessions", "", "Authorization", "Bearer operator-token").StatusCode; got != http.StatusOK {
		t.Errorf("with the token: %d", got)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if got := h.call("GET", path, "", "Host", "prometheus.example.com").StatusCode; got != http.StatusOK {
			t.Errorf("%s: %d without a token, want 200", path, got)
		}
	}
	if strings.Contains(h.said.String(), "operator-token") {
		t.Error("the log holds the token")
	}
}
