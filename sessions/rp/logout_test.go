package rp_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

func (b *browser) post(handler http.HandlerFunc, target string, header ...string) answer {
	return b.do(handler, http.MethodPost, target, header...)
}

const signedOutPage = "https://app.example.com/auth/signed-out"

func TestLogout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		ticket := b.session()
		token := w.onlyPrivate(t).Tokens.ID
		a := b.post(w.b.Logout, "/auth/logout", "Sec-Fetch-Site", "same-origin")
		location, err := url.Parse(a.Header.Get("Location"))
		if err != nil || a.StatusCode != http.StatusSeeOther || a.Header.Get("Curfew-Fence") != "complete" {
			t.Fatalf("the answer is %d %v", a.StatusCode, a.Header)
		}
		query := location.Query()
		if state := query.Get("state"); len(state) < 26 {
			t.Errorf("state is %q", state)
		}
		query.Del("state")
		want := url.Values{"id_token_hint": {token}, "client_id": {"client"}, "post_logout_redirect_uri": {signedOutPage}}
		if location.Host+location.Path != "op.example.com/end" || query.Encode() != want.Encode() {
			t.Errorf("the browser is sent to %s, want %s", location, want.Encode())
		}
		if len(b.cookies) != 0 {
			t.Errorf("the browser has %v", b.cookies)
		}
		b.cookies["__Host-curfew"] = &http.Cookie{Name: "__Host-curfew", Value: ticket}
		if got := w.a.verdict(t, b); got != sessions.Ended {
			t.Errorf("verdict %v, want ended", got)
		}
		ended := w.ended()
		if len(ended) != 1 || ended[0].Reason != events.SignedOut || ended[0].Sub != "user-1" || ended[0].Sid != "sid-1" || ended[0].Issuer != w.op.issuer {
			t.Errorf("the log has %+v", ended)
		}
	})
}

func TestLogoutElsewhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.op.discovery = map[string]any{"end_session_endpoint": "https://op.example.com/end?realm=x"}
		w.discover()
		w.a.PostLogoutRedirectURI = "https://www.example.com/bye"
		b := newBrowser()
		w.signIn(b, w.a)
		location := b.post(w.a.Logout, "/auth/logout").Header.Get("Location")
		if !strings.Contains(location, "realm=x") || !strings.Contains(location, "post_logout_redirect_uri=https%3A%2F%2Fwww.example.com%2Fbye") {
			t.Errorf("the browser is sent to %s", location)
		}

		w.op.discovery = map[string]any{"end_session_endpoint": nil}
		w.discover()
		w.signIn(b, w.a)
		b.post(w.a.Logout, "/auth/logout").want(t, http.StatusSeeOther, signedOutPage)
	})
}

func TestLogoutIsAskedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		b.get(w.a.Logout, "/auth/logout").want(t, http.StatusOK, "nobody /auth/login")
		w.signIn(b, w.a)
		synctest.Wait()
		b.get(w.a.Logout, "/auth/logout").want(t, http.StatusOK, `confirm "ada" /auth/logout`)
		b.get(w.a.SignedOut, "/auth/signed-out").want(t, http.StatusOK, "signed out /auth/login")
		if a := b.do(w.a.Logout, http.MethodPut, "/auth/logout"); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") == "" {
			t.Errorf("PUT is answered %d %v", a.StatusCode, a.Header)
		}
		if got := w.a.verdict(t, b); got != sessions.Alive {
			t.Errorf("verdict %v, want alive", got)
		}
	})
}

func TestCrossSiteLogout(t *testing.T) {
	tests := []struct {
		header  []string
		refused bool
	}{
		{nil, false},
		{[]string{"Sec-Fetch-Site", "same-origin"}, false},
		{[]string{"Sec-Fetch-Site", "none"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site"}, true},
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.example.com"}, true},
		{[]string{"Origin", "https://app.example.com"}, false},
		{[]string{"Origin", "https://app.example.com", "X-Forwarded-Host", "inner"}, false},
		{[]string{"Origin", "https://evil.com"}, true},
		{[]string{"Origin", "null"}, true},
		{[]string{"Origin", "https://a.example.net"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://app.example.com"}, false},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://evil.com"}, true},
		{[]string{"Sec-Fetch-Site", "none", "Origin", "https://a.example.net"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://app.example.com"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://app.example.com:8443"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://app.example.com.evil.com"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", ""}, false},
	}
	for _, test := range tests {
		inWorld(t, func(t *testing.T, w *world) {
			b := newBrowser()
			w.signIn(b, w.a)
			a := b.post(w.a.Logout, "/auth/logout", test.header...)
			if !test.refused {
				if a.StatusCode != http.StatusSeeOther || len(w.ended()) != 1 {
					t.Errorf("%v is answered %d %q", test.header, a.StatusCode, a.body)
				}
				return
			}
			a.want(t, http.StatusForbidden, "problem cross_site")
			if got := w.a.verdict(t, b); got != sessions.Alive || len(w.ended()) != 0 {
				t.Errorf("%v: verdict %v, want alive", test.header, got)
			}
		})
	}
}

// TestLogoutWithoutASession: whatever cookie there is goes, and nothing is
// written.
func TestLogoutWithoutASession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		ticket, _, err := sessions.ParseTicket(b.session(), ring{})
		if err != nil {
			t.Fatal(err)
		}
		guessed := ticket
		guessed.Secret = sessions.NewSecret()
		unknown := ticket
		unknown.Session = events.NewSessionID()
		lost := unknown
		lost.Mark.Log[0]++
		far := unknown
		far.Mark.At += 1000
		begun := time.Now()
		for _, value := range []string{
			"", "x", b.session()[1:], b.session() + "x",
			guessed.Encode(ring{}), unknown.Encode(ring{}), lost.Encode(ring{}), far.Encode(otherRing{}),
		} {
			other := newBrowser()
			other.cookies["__Host-curfew"] = &http.Cookie{Name: "__Host-curfew", Value: value}
			other.post(w.a.Logout, "/auth/logout").want(t, http.StatusSeeOther, signedOutPage)
			if len(other.cookies) != 0 {
				t.Errorf("%q: the browser has %v", value, other.cookies)
			}
		}
		newBrowser().post(w.a.Logout, "/auth/logout").want(t, http.StatusSeeOther, signedOutPage)
		if took := time.Since(begun); took != 0 {
			t.Errorf("somebody made the replica wait for %s", took)
		}
		if got := w.a.verdict(t, b); got != sessions.Alive || len(w.ended()) != 0 {
			t.Errorf("verdict %v, want alive", got)
		}
	})
}

// otherRing signs with a key that the replicas do not have.
type otherRing struct{ ring }

func (otherRing) MAC([]byte) [32]byte { return [32]byte{} }

// TestLogoutTwice presses the button twice: the second answer is the one that
// the browser follows, and it must lead to the OP as well.
func TestLogoutTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		cookie := b.cookies["__Host-curfew"]
		for range 2 {
			b.cookies["__Host-curfew"] = cookie
			a := b.post(w.a.Logout, "/auth/logout")
			if !strings.HasPrefix(a.Header.Get("Location"), "https://op.example.com/end?") {
				t.Errorf("the answer is %d %v", a.StatusCode, a.Header)
			}
		}
		if n := len(w.ended()); n != 1 {
			t.Errorf("%d ends, want 1", n)
		}
	})
}

func TestLogoutFaults(t *testing.T) {
	for _, fault := range []memlog.Fault{memlog.Unavailable, memlog.AnswerLost} {
		inWorld(t, func(t *testing.T, w *world) {
			b := newBrowser()
			w.signIn(b, w.a)
			w.log.Fail = func(events.Event) memlog.Fault { return fault }
			b.post(w.a.Logout, "/auth/logout").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
			if b.session() == "" {
				t.Error("the cookie is gone, though the session may live")
			}
			w.log.Fail = nil
			if a := b.post(w.a.Logout, "/auth/logout"); a.StatusCode != http.StatusSeeOther || b.session() != "" {
				t.Errorf("the second try is answered %d %q", a.StatusCode, a.body)
			}
			if n := len(w.ended()); n != 1 {
				t.Errorf("%d ends, want 1", n)
			}
		})
	}
}

// TestLogoutAtALaggingReplica signs in at one replica and out at another that
// has not heard of it yet.
func TestLogoutAtALaggingReplica(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		release := w.b.hold()
		w.signIn(b, w.a)
		begun := time.Now()
		b.post(w.b.Logout, "/auth/logout").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if took := time.Since(begun); b.session() == "" || took > 3*time.Second {
			t.Errorf("after %s the cookie is %q", took, b.session())
		}
		time.AfterFunc(time.Second, release)
		if a := b.post(w.b.Logout, "/auth/logout"); a.StatusCode != http.StatusSeeOther || len(w.ended()) != 1 {
			t.Errorf("the answer is %d %q", a.StatusCode, a.body)
		}
	})
}

// TestLogoutWithoutClaims has what is sealed not open: the session must end.
func TestLogoutWithoutClaims(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		w.a.rows.fail(errors.New("rows: it does not open"))
		b.get(w.a.Logout, "/auth/logout").want(t, http.StatusOK, `confirm "" /auth/logout`)
		a := b.post(w.a.Logout, "/auth/logout")
		if location := a.Header.Get("Location"); !strings.HasPrefix(location, "https://op.example.com/end?") || strings.Contains(location, "hint") {
			t.Errorf("the answer is %d %q", a.StatusCode, location)
		}
		if ended := w.ended(); len(ended) != 1 || ended[0].Issuer != w.op.issuer {
			t.Errorf("the log has %+v", ended)
		}
	})
}

// A replica whose clock is ahead takes a session's time for up. Others do not, so
// whoever signs out there is signed out at all of them even so.
func TestLogoutWhereTheClockIsAhead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		synctest.Wait()
		w.ahead = 12*time.Hour + time.Minute
		if _, got := w.a.Registry.Get(w.started()[0].Session, w.now()); got != sessions.Expired {
			t.Fatalf("verdict %v, want expired", got)
		}
		a := b.post(w.a.Logout, "/auth/logout")
		if got := a.Header.Get("Curfew-Fence"); a.StatusCode != http.StatusSeeOther || got != "complete" {
			t.Errorf("the answer is %d, fence %q", a.StatusCode, got)
		}
		if ended := w.ended(); len(ended) != 1 || ended[0].Reason != events.SignedOut {
			t.Errorf("the log has %v, want one end", ended)
		}
	})
}
