package rp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

// planted is a cookie that reads as one and opens nothing.
func planted() string {
	return sessions.Ticket{Session: events.NewSessionID(), Secret: sessions.NewSecret()}.Encode(otherRing{})
}

// jar is a Cookie header with session cookies in order.
func jar(values ...string) []string {
	for i := range values {
		values[i] = "__Host-curfew=" + values[i]
	}
	return []string{"Cookie", strings.Join(values, "; ")}
}

// TestSignOutAmongPlantedCookies has cookies in front of the good one that
// somebody else has put there, or that are left over: the session that the
// guard lets in must end.
func TestSignOutAmongPlantedCookies(t *testing.T) {
	tests := []struct {
		name  string
		front func(ended string) []string
	}{
		{"one that reads", func(string) []string { return []string{planted()} }},
		{"one that has ended", func(ended string) []string { return []string{ended} }},
		{"those and junk", func(ended string) []string { return []string{"x", planted(), ended, "", planted()} }},
		{"many", func(string) []string { return slices.Collect(repeatedly(20, planted)) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				earlier, b := newBrowser(), newBrowser()
				w.signIn(earlier, w.a)
				ended := earlier.session()
				earlier.post(w.a.Logout, "/auth/logout")
				w.signIn(b, w.a)
				synctest.Wait()
				cookies := jar(append(test.front(ended), b.session())...)

				confirm := newBrowser().get(w.a.Logout, "/auth/logout", cookies...)
				confirm.want(t, http.StatusOK, `confirm "ada" /auth/logout`)
				a := newBrowser().post(w.a.Logout, "/auth/logout", cookies...)
				if got := w.a.verdict(t, b); got != sessions.Ended {
					t.Errorf("verdict %v, want ended", got)
				}
				if a.StatusCode != http.StatusSeeOther || a.Header.Get("Curfew-Fence") != "complete" || len(w.ended()) != 2 {
					t.Errorf("the answer is %d %v", a.StatusCode, a.Header)
				}
				w.wantHint(t, a, b.session())
			})
		})
	}
}

func repeatedly(n int, produce func() string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for range n {
			if !yield(produce()) {
				return
			}
		}
	}
}

// wantHint checks that the OP is sent the ID token of the session of a cookie.
func (w *world) wantHint(t *testing.T, a answer, cookie string) {
	t.Helper()
	ticket, _, err := sessions.ParseTicket(cookie, ring{})
	if err != nil {
		t.Fatal(err)
	}
	private, err := w.a.rows.Private(ticket.Session)
	if err != nil {
		t.Fatal(err)
	}
	location, err := url.Parse(a.Header.Get("Location"))
	if err != nil || location.Query().Get("id_token_hint") != private.Tokens.ID {
		t.Errorf("the browser is sent to %v: want the hint of the session that ended", location)
	}
}

// TestSignOutEndsEverySession: whoever signs out of a browser means all of it.
func TestSignOutEndsEverySession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		one, other := newBrowser(), newBrowser()
		w.signIn(one, w.a)
		w.signIn(other, w.a)
		synctest.Wait()
		cookies := jar(one.session(), other.session(), one.session())
		a := newBrowser().post(w.a.Logout, "/auth/logout", cookies...)
		if len(w.ended()) != 2 || a.Header.Get("Curfew-Fence") != "complete" {
			t.Errorf("%d ends, want 2; the answer is %v", len(w.ended()), a.Header)
		}
		w.wantHint(t, a, one.session())
	})
}

// TestSignOutGoesOnPastATrouble: one session that cannot be ended now keeps no
// other alive, and is not called ended.
func TestSignOutGoesOnPastATrouble(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		one, other := newBrowser(), newBrowser()
		w.signIn(one, w.a)
		w.signIn(other, w.a)
		synctest.Wait()
		cookies := jar(one.session(), other.session())
		first := ""
		w.log.Fail = func(event events.Event) memlog.Fault {
			if first == "" {
				first = event.ID
			}
			if event.ID == first {
				return memlog.Unavailable
			}
			return memlog.None
		}
		a := newBrowser().post(w.a.Logout, "/auth/logout", cookies...)
		a.want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if a.Header.Get("Set-Cookie") != "" || a.Header.Get("Curfew-Fence") != "" {
			t.Errorf("the answer is %v", a.Header)
		}
		if got := w.a.verdict(t, other); got != sessions.Ended {
			t.Errorf("verdict %v, want ended", got)
		}
	})
}

// TestSignOutWaitsOnce has a replica that is behind, and several cookies that it
// does not know yet.
func TestSignOutWaitsOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		alive, late, later := newBrowser(), newBrowser(), newBrowser()
		w.signIn(alive, w.a)
		synctest.Wait()
		release := w.b.hold()
		w.signIn(late, w.a)
		w.signIn(later, w.a)
		cookies := jar(late.session(), later.session(), alive.session())
		begun := time.Now()
		newBrowser().post(w.b.Logout, "/auth/logout", cookies...).want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
		if n := len(w.ended()); n != 1 {
			t.Errorf("%d ends, want that of the session which is known", n)
		}
		release()
		newBrowser().post(w.b.Logout, "/auth/logout", cookies...)
		if n := len(w.ended()); n != 3 {
			t.Errorf("%d ends, want 3", n)
		}
	})
}

// TestQuotedCookieIsNone: the session's cookie in quotes is not ours.
func TestQuotedCookieIsNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		synctest.Wait()
		quoted := jar(`"` + b.session() + `"`)
		newBrowser().post(w.a.Logout, "/auth/logout", quoted...).want(t, http.StatusSeeOther, signedOutPage)
		if got := w.ended(); len(got) != 0 {
			t.Errorf("a quoted cookie ended %v", got)
		}
	})
}

// TestSignedInAmongPlantedCookies: who is signed in is sent on by a login that
// is spent, whatever stands before their cookie.
func TestSignedInAmongPlantedCookies(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		synctest.Wait()
		cookies := jar(planted(), planted(), planted(), planted(), b.session())
		newBrowser().get(w.a.Callback, "/auth/callback?state=x&code=y", cookies...).want(t, http.StatusFound, "https://app.example.com/")
	})
}

// TestLongPlantedLogins: cookies with longer names than a login's of ours are left
// alone, or the headers that clear them would be more than a proxy takes.
func TestLongPlantedLogins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var planted []string
		for i := range 8 {
			planted = append(planted, fmt.Sprintf("__Host-curfew-login-%s%d=x", strings.Repeat("n", 700), i))
		}
		a := newBrowser().get(w.a.Login, "/auth/login", "Cookie", strings.Join(planted, "; "))
		if n := len(a.Header["Set-Cookie"]); a.StatusCode != http.StatusFound || n != 1 {
			t.Errorf("the answer is %d with %d cookies, want 302 with one", a.StatusCode, n)
		}
	})
}
