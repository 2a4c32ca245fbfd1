package guard

import (
	"net/http"
	"slices"
	"testing"

	"curfew/events"
	"curfew/sessions"
)

// TestGroupThatCleaningWouldChange counts for nothing: it would be another
// group's name, which the user may not be in.
func TestGroupThatCleaningWouldChange(t *testing.T) {
	for _, group := range []string{
		"", "\n", "ad\x00mins", "admins\r\n", " admins", "admins\t", "admins\u00a0", "adm\x7fins", "ad\u0085mins",
		"adm\xffins", "admins\ufffd", "\u202eadmins", "adm\u2066ins", "admins\u200f", "admins,", "x,admins", ",",
	} {
		h := newHouse(t)
		cookie := h.encode(h.signIn(sessions.Identity{Username: "ada", Groups: []string{"staff", group}}))
		w := h.ask(h.Check, "/auth/check", cookie)
		if got := w.Header().Get("Remote-Groups"); got != "staff" {
			t.Errorf("%q: groups are %q, want staff alone", group, got)
		}
		h.want(h.ask(h.Check, "/auth/check?groups=admins", cookie), http.StatusForbidden, "group")
		h.want(h.ask(h.Check, "/auth/check?groups=", cookie), http.StatusForbidden, "group")
	}
}

func TestGroupsInOtherScriptsStay(t *testing.T) {
	h := newHouse(t)
	want := []string{"Prüfer", "المدراء", "管理者", "a b", "x\u200dy"}
	h.ask(h.Check, "/auth/check", h.encode(h.signIn(sessions.Identity{Username: "ada", Groups: want})))
	for _, held := range h.faces.held {
		if !slices.Equal(held.groups, want) {
			t.Errorf("groups are %q, want %q", held.groups, want)
		}
	}
}

// TestBidiControlsAreStripped: they can have a name shown as another's.
func TestBidiControlsAreStripped(t *testing.T) {
	h := newHouse(t)
	w := h.ask(h.Check, "/auth/check", h.encode(h.signIn(sessions.Identity{
		Username: "ada", Name: "A\u202ed\u2066a\u200e \u061cL\u2069\u200f", Email: "\u202aada@example.com",
	})))
	if got := w.Header().Get("Remote-Name"); got != "Ada L" {
		t.Errorf("name %q", got)
	}
	if got := w.Header().Get("Remote-Email"); got != "ada@example.com" {
		t.Errorf("email %q", got)
	}
}

// TestNobodyWithoutAName: an application may take an empty name for anybody's.
func TestNobodyWithoutAName(t *testing.T) {
	for _, username := range []string{"", " ", "\x00", "\u202e", "\xff"} {
		h := newHouse(t)
		cookie := h.encode(h.signIn(sessions.Identity{Username: username, Groups: []string{"staff"}}))
		h.want(h.ask(h.Check, "/auth/check", cookie), http.StatusServiceUnavailable, "stale")
		h.want(h.ask(h.Session, "/auth/session", cookie), http.StatusServiceUnavailable, "stale")
	}
}

// TestLogoutWhileASessionIsOpened: to open what is sealed takes a while, and a
// lease that is renewed meanwhile says nothing about what was seen before.
func TestLogoutWhileASessionIsOpened(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada"})
	h.rows.opening = func() {
		h.apply(events.Ended{Session: ticket.Session, Issuer: issuer, Sub: "u1", Reason: events.SignedOut, At: h.now})
	}
	h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusUnauthorized, "ended")
}

// TestRefreshWhileASessionIsOpened: the user that was opened belongs to what was
// sealed before, and is not kept for what came after.
func TestRefreshWhileASessionIsOpened(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada", Groups: []string{"old"}})
	h.rows.opening = func() {
		h.rows.opening = nil
		h.apply(events.Refreshed{Session: ticket.Session, At: h.now, Sealed: "y"})
		private := h.rows.held[ticket.Session]
		private.User.Groups = []string{"new"}
		h.rows.held[ticket.Session] = private
	}
	h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusOK, "")
	if got := h.ask(h.Check, "/auth/check", h.encode(ticket)).Header().Get("Remote-Groups"); got != "new" {
		t.Errorf("groups after the refresh are %q", got)
	}
}
