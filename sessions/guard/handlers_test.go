package guard

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"curfew/sessions"
)

func TestForward(t *testing.T) {
	h := newHouse(t)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
	const page = "https://app.example.com/docs/1?x=y&z=1"
	asked := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "app.example.com", "X-Forwarded-Uri", "/docs/1?x=y&z=1"}
	login := "https://app.example.com/auth/login?rd=https%3A%2F%2Fapp.example.com%2Fdocs%2F1%3Fx%3Dy%26z%3D1"
	for _, c := range []struct {
		name, cookie string
		header       []string
		status       int
		location     string
	}{
		{"let in", cookie, []string{"Sec-Fetch-Mode", "navigate"}, 200, ""},
		{"page load", "", []string{"Sec-Fetch-Mode", "navigate"}, 302, login},
		{"page load of an old browser", "", []string{"Accept", "text/html,*/*"}, 302, login},
		{"page load with a weight", "", []string{"Accept", "application/xml;q=0.9, Text/HTML ; q=0.8"}, 302, login},
		{"page unwanted", "", []string{"Accept", "text/html;q=0, */*"}, 401, ""},
		{"page unwanted, at length", "", []string{"Accept", "text/html; level=1; Q=0.000"}, 401, ""},
		{"another type", "", []string{"Accept", "text/htmlx"}, 401, ""},
		{"another type's end", "", []string{"Accept", "x-text/html"}, 401, ""},
		{"a parameter", "", []string{"Accept", "text/plain;as=text/html"}, 401, ""},
		{"no type", "", []string{"Accept", "text/html;q"}, 401, ""},
		{"script", "", []string{"Sec-Fetch-Mode", "cors", "Accept", "text/html"}, 401, ""},
		{"script of an old browser", "", []string{"Accept", "text/html", "X-Requested-With", "XMLHttpRequest"}, 401, ""},
		{"API client", "", []string{"Accept", "application/json"}, 401, ""},
		{"form", "", []string{"Sec-Fetch-Mode", "navigate", "X-Forwarded-Method", "POST"}, 401, ""},
		{"head", "", []string{"Sec-Fetch-Mode", "navigate", "X-Forwarded-Method", "HEAD"}, 302, login},
	} {
		w := h.ask(h.Forward, "/auth/forward", c.cookie, append(c.header, asked...)...)
		if got := w.Header().Get("Location"); w.Code != c.status || got != c.location {
			t.Errorf("%s: got %d to %q, want %d to %q", c.name, w.Code, got, c.status, c.location)
		}
	}
	w := h.ask(h.Forward, "/auth/forward", "", "Sec-Fetch-Mode", "navigate")
	if got := w.Header().Get("Location"); got != "https://app.example.com/auth/login" {
		t.Errorf("without a page, sent to %q", got)
	}
	w = h.ask(h.Forward, "/auth/forward", "", "Sec-Fetch-Mode", "navigate", "X-Original-Url", page)
	if got := w.Header().Get("Location"); got != login {
		t.Errorf("with X-Original-URL, sent to %q", got)
	}
	w = h.ask(h.Forward, "/auth/forward", "", "Sec-Fetch-Mode", "navigate", "X-Original-Url", page+strings.Repeat("1", sessions.MaxTarget))
	if got, want := w.Header().Get("Location"), "https://app.example.com/auth/login?rd=https%3A%2F%2Fapp.example.com%2Fdocs%2F1"; got != want {
		t.Errorf("with a page too long to return to, sent to %.200q, want %q", got, want)
	}
}

// People are told why they may not pass; a program has its status.
func TestForwardTellsPeople(t *testing.T) {
	h := newHouse(t)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada", Groups: []string{"staff"}}))
	for _, c := range []struct {
		name, cookie, query string
		stale               bool
		status              int
		says                string
	}{
		{"another group", cookie, "?groups=admins", false, 403, CodeGroup},
		{"stale", cookie, "", true, 503, CodeUnsure},
		{"stale and nobody", "", "", true, 503, CodeUnsure},
		{"let in", cookie, "?groups=staff", false, 200, ""},
	} {
		h.lease.stale.Store(c.stale)
		person := h.ask(h.Forward, "/auth/forward"+c.query, c.cookie, "Sec-Fetch-Mode", "navigate")
		program := h.ask(h.Forward, "/auth/forward"+c.query, c.cookie, "Sec-Fetch-Mode", "cors")
		if person.Code != c.status || person.Body.String() != c.says || program.Code != c.status || program.Body.Len() != 0 {
			t.Errorf("%s: a person got %d %q, a program %d %q", c.name, person.Code, person.Body, program.Code, program.Body)
		}
		for _, name := range []string{HeaderReason, "Retry-After", "Cache-Control", "X-Auth-Request-User"} {
			if got, want := person.Header().Get(name), program.Header().Get(name); got != want {
				t.Errorf("%s: a person got %s %q, a program %q", c.name, name, got, want)
			}
		}
	}
	if w := h.ask(h.Forbidden, "/auth/forbidden", ""); w.Code != http.StatusForbidden || w.Body.String() != CodeGroup {
		t.Errorf("the page alone: %d %q", w.Code, w.Body)
	}
}

func TestSessionSaysWhoItIs(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada", Email: "ada@example.com"})
	w := h.ask(h.Session, "/auth/session", h.encode(ticket))
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"session": ticket.Session.String(), "issuer": issuer, "sub": "u1", "sid": "s1", "username": "ada",
		"email": "ada@example.com", "started": "2026-11-23T12:00:00Z", "expires": "2026-11-23T13:00:00Z",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	if groups, ok := got["groups"].([]any); !ok || len(groups) != 0 {
		t.Errorf("groups are %v, want an empty list", got["groups"])
	}
	h.want(h.ask(h.Session, "/auth/session", ""), http.StatusUnauthorized, "no_session")
}
