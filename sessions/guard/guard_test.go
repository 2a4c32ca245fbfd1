package guard

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func TestCheckShowsWhoItIs(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{
		Username: "ada", PreferredUsername: "ada.l", Email: "ada@example.com", Name: "Ada L", Groups: []string{"staff", "Admins"},
	})
	w := h.ask(h.Check, "/auth/check", h.encode(ticket))
	h.want(w, http.StatusOK, "")
	want := map[string]string{
		"X-Auth-Request-User":               "ada",
		"Remote-User":                       "ada",
		"X-Auth-Request-Sub":                "u1",
		"X-Auth-Request-Email":              "ada@example.com",
		"X-Auth-Request-Preferred-Username": "ada.l",
		"X-Auth-Request-Groups":             "staff,Admins",
		"Remote-Name":                       "Ada L",
		"Remote-Email":                      "ada@example.com",
		"Remote-Groups":                     "staff,Admins",
		"X-Curfew-Session":                  ticket.Session.String(),
	}
	for name, value := range want {
		if got := w.Header().Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

func TestCheckSendsEveryHeaderEvenEmpty(t *testing.T) {
	h := newHouse(t)
	w := h.ask(h.Check, "/auth/check", h.encode(h.signIn(sessions.Identity{Username: "ada"})))
	for _, name := range headers {
		if got := w.Header().Values(name); len(got) != 1 {
			t.Errorf("%s was sent %d times, want once", name, len(got))
		}
	}
}

func TestCheckCleansValues(t *testing.T) {
	h := newHouse(t)
	w := h.ask(h.Check, "/auth/check", h.encode(h.signIn(sessions.Identity{
		Username: " ad\r\nX-Evil: 1\x00a\x7f\u0085 ",
		Name:     "Zo\xff\u00eb",
		Groups:   []string{"ok", "two,admins", "", "\n", "of staff"},
	})))
	if got := w.Header().Get("Remote-User"); got != "adX-Evil: 1a" {
		t.Errorf("user %q", got)
	}
	if got := w.Header().Get("Remote-Name"); got != "Zo\u00eb" {
		t.Errorf("name %q", got)
	}
	if got := w.Header().Get("Remote-Groups"); got != "ok,of staff" {
		t.Errorf("groups %q: a comma must not make two groups of one", got)
	}
}

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	good := h.signIn(sessions.Identity{Username: "ada"})
	ended := h.signIn(sessions.Identity{Username: "ada"})
	h.apply(events.Ended{Session: ended.Session, Issuer: issuer, Sub: "u1", Reason: events.SignedOut, At: h.now})
	idle := h.signIn(sessions.Identity{Username: "ada"})
	h.apply(events.Ended{Session: idle.Session, Issuer: issuer, Sub: "u1", Reason: events.Idle, At: h.now})
	wrongSecret := good
	wrongSecret.Secret = sessions.NewSecret()
	otherLog := good
	otherLog.Session, otherLog.Mark = events.NewSessionID(), events.Mark{Log: events.LogID{9}, At: 99}

	for _, c := range []struct {
		name, cookie, reason string
		later                time.Duration
	}{
		{"no cookie", "", "no_session", 0},
		{"not a cookie of ours", "abc", "no_session", 0},
		{"quoted", `"` + h.encode(good) + `"`, "no_session", 0},
		{"wrong secret", h.encode(wrongSecret), "no_session", 0},
		{"session of a lost log", h.encode(otherLog), "no_session", 0},
		{"ended", h.encode(ended), "ended", 0},
		{"ended, past its end", h.encode(ended), "no_session", time.Hour},
		{"idle", h.encode(idle), "idle", 0},
		{"expired", h.encode(good), "expired", time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func(now time.Time) { h.now = now }(h.now)
			h.now = h.now.Add(c.later)
			w := h.ask(h.Check, "/auth/check", c.cookie)
			h.want(w, http.StatusUnauthorized, c.reason)
			for _, name := range headers {
				if w.Header().Get(name) != "" {
					t.Errorf("%s was sent with a refusal", name)
				}
			}
		})
	}
}

func TestEveryTamperedCookieIsNoSession(t *testing.T) {
	h := newHouse(t)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
	for i := range cookie {
		for _, c := range "A1_" {
			changed := cookie[:i] + string(c) + cookie[i+1:]
			if changed != cookie {
				h.want(h.ask(h.Check, "/auth/check", changed), http.StatusUnauthorized, "no_session")
			}
		}
	}
}

func TestCoveredSessionIsEnded(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada"})
	h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusOK, "")
	h.apply(events.LogoutReceived{Issuer: issuer, Sid: "s1", JTI: "j", Reason: events.Backchannel, Replica: "a"})
	h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusUnauthorized, "ended")
	h.want(h.ask(h.Check, "/auth/check", h.encode(h.signIn(sessions.Identity{Username: "ada"}))), http.StatusOK, "")
}

func TestGroups(t *testing.T) {
	h := newHouse(t)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada", Groups: []string{"staff", "a b", "admins"}}))
	for query, status := range map[string]int{
		"":                          200,
		"groups=staff":              200,
		"groups=guests,admins":      200,
		"groups=guests,+admins":     200,
		"groups=a+b":                200,
		"other=1":                   200,
		"groups=Staff":              403,
		"groups=guests":             403,
		"groups=":                   403,
		"groups=,":                  403,
		"groups":                    403,
		"groups=staff&groups=boss":  403,
		"groups=boss&groups=staff":  403,
		"groups=staff;x":            403,
		"groups=%zz":                403,
		"groups=staff&groups=a%20b": 200,
	} {
		reason := ""
		if status == 403 {
			reason = "group"
		}
		w := h.ask(h.Check, "/auth/check?"+strings.ReplaceAll(query, " ", "+"), cookie)
		if w.Code != status || w.Header().Get(HeaderReason) != reason {
			t.Errorf("%q: got %d %q, want %d", query, w.Code, w.Header().Get(HeaderReason), status)
		}
	}
	h.want(h.ask(h.Check, "/auth/check?groups=staff", ""), http.StatusUnauthorized, "no_session")
}

func TestStaleLetsNobodyIn(t *testing.T) {
	h := newHouse(t)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
	h.lease.stale.Store(true)
	for _, c := range []string{cookie, "", "abc"} {
		w := h.ask(h.Check, "/auth/check", c)
		h.want(w, http.StatusServiceUnavailable, "stale")
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After is %q", got)
		}
	}
	h.want(h.ask(h.Forward, "/auth/forward", "", "Sec-Fetch-Mode", "navigate"), http.StatusServiceUnavailable, "stale")
	if w := h.ask(h.Session, "/auth/session", cookie); w.Code != http.StatusServiceUnavailable {
		t.Errorf("/session answered %d", w.Code)
	}
}

// A process that is stopped in the middle of an answer and goes on a minute
// later must find out before it says yes.
func TestLeaseIsLookedAtAfterTheSession(t *testing.T) {
	h := newHouse(t)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
	var openedBefore int32 = -1
	h.lease.onLook = func() { openedBefore = h.rows.opened.Load() }
	h.ask(h.Check, "/auth/check", cookie)
	if openedBefore != 1 {
		t.Errorf("the lease was looked at before the session was: %d opened", openedBefore)
	}
}

func TestRetiredSigningKeyKeepsSessions(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada"})
	h.want(h.ask(h.Check, "/auth/check", ticket.Encode(hmacSigner("old"))), http.StatusOK, "")
}

func TestOpenedOnceAndAgainAfterARefresh(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada", Groups: []string{"a"}})
	for range 3 {
		h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusOK, "")
	}
	if got := h.rows.opened.Load(); got != 1 {
		t.Errorf("opened %d times, want once", got)
	}
	private := h.rows.held[ticket.Session]
	private.User.Groups = []string{"b"}
	h.rows.held[ticket.Session] = private
	h.apply(events.Refreshed{Session: ticket.Session, At: h.now, Sealed: "y"})
	if got := h.ask(h.Check, "/auth/check", h.encode(ticket)).Header().Get("Remote-Groups"); got != "b" {
		t.Errorf("groups after a refresh are %q, want b", got)
	}
}

func TestSessionThatCannotBeOpenedLetsNobodyIn(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada"})
	h.rows.fault = errors.New("no key opens it")
	h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusServiceUnavailable, "stale")
}

// Who can write to the log, but cannot seal, may put a start with a secret of
// their own in the place of a session's.
func TestSecretMustBeTheOneThatWasSealed(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada"})
	private := h.rows.held[ticket.Session]
	private.Secret = sessions.NewSecret().Hash()
	h.rows.held[ticket.Session] = private
	h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusServiceUnavailable, "stale")
}

func TestSeveralCookies(t *testing.T) {
	h := newHouse(t)
	alive := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
	over := h.signIn(sessions.Identity{Username: "ada"})
	h.apply(events.Ended{Session: over.Session, Reason: events.SignedOut, At: h.now})
	cookies := func(values ...string) *httptest.ResponseRecorder {
		var parts []string
		for _, v := range values {
			parts = append(parts, "curfew="+v)
		}
		return h.ask(h.Check, "/auth/check", "", "Cookie", strings.Join(parts, "; "))
	}
	h.want(cookies("junk", h.encode(over), alive), http.StatusOK, "")
	h.want(cookies("junk", h.encode(over)), http.StatusUnauthorized, "ended")
	h.want(cookies("1", "2", "3", "4", alive), http.StatusUnauthorized, "no_session")
}

func TestOnlyWhatIsLetInCountsAsUse(t *testing.T) {
	h := newHouse(t)
	ticket := h.signIn(sessions.Identity{Username: "ada"})
	h.ask(h.Check, "/auth/check", "")
	h.ask(h.Check, "/auth/check?groups=boss", h.encode(ticket))
	h.lease.stale.Store(true)
	h.ask(h.Check, "/auth/check", h.encode(ticket))
	if len(h.used) != 0 {
		t.Errorf("%d refusals counted as use", len(h.used))
	}
	h.lease.stale.Store(false)
	h.ask(h.Check, "/auth/check", h.encode(ticket))
	if len(h.used) != 1 || h.used[0] != ticket.Session {
		t.Errorf("used: %v, want %v", h.used, ticket.Session)
	}
}

// Every check that sees a session that stands may find that it is time for a
// refresh, even if this one lets nobody in; a replica that is not fresh must not.
func TestWhatStandsMayWantARefresh(t *testing.T) {
	h := newHouse(t)
	ticket, over := h.signIn(sessions.Identity{Username: "ada"}), h.signIn(sessions.Identity{Username: "ada"})
	h.apply(events.Ended{Session: over.Session, Reason: events.SignedOut, At: h.now})
	for _, ask := range []struct {
		target string
		ticket string
		stale  bool
		want   int
	}{
		{"/auth/check", "", false, 0},
		{"/auth/check", h.encode(over), false, 0},
		{"/auth/check", h.encode(ticket), true, 0},
		{"/auth/check", h.encode(ticket), false, 1},
		{"/auth/check?groups=boss", h.encode(ticket), false, 1},
	} {
		h.spent = nil
		h.lease.stale.Store(ask.stale)
		h.ask(h.Check, ask.target, ask.ticket)
		if len(h.spent) != ask.want || ask.want == 1 && h.spent[0] != ticket.Session {
			t.Errorf("%+v: told of %v", ask, h.spent)
		}
	}
}

func TestFacesAreBounded(t *testing.T) {
	f := newFaces()
	for range maxFaces + 10 {
		f.put(events.NewSessionID(), &face{})
	}
	if len(f.held) > maxFaces {
		t.Errorf("%d are held, want at most %d", len(f.held), maxFaces)
	}
}

func BenchmarkCheck(b *testing.B) {
	h := newHouse(&testing.T{})
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada", Email: "ada@example.com", Groups: []string{"staff"}}))
	r := httptest.NewRequest(http.MethodGet, "/auth/check", nil)
	r.AddCookie(&http.Cookie{Name: "curfew", Value: cookie})
	b.ReportAllocs()
	for b.Loop() {
		h.Check(httptest.NewRecorder(), r)
	}
}
