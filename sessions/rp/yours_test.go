package rp_test

import (
	"fmt"
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

// fresh has a replica prove that it has missed no logout.
func (r *replica) fresh() {
	r.Lease.Sending("beat")
	r.Lease.Heard("beat")
}

// submit posts a form of the page.
func (b *browser) submit(r *replica, form string, header ...string) answer {
	handler := func(w http.ResponseWriter, req *http.Request) {
		values, err := url.ParseQuery(form)
		if err != nil {
			panic(err)
		}
		req.PostForm, req.Form = values, values
		r.Yours(w, req)
	}
	return b.do(handler, http.MethodPost, "/auth/sessions", header...)
}

// signedInThrice has ada signed in with three browsers, and eve with one.
func (w *world) signedInThrice(t *testing.T) (ada [3]*browser, ids [3]events.SessionID, eve *browser, hers events.SessionID) {
	t.Helper()
	for i := range ada {
		ada[i] = newBrowser()
		w.signIn(ada[i], w.a)
		ids[i] = w.started()[i].Session
	}
	w.op.idToken = func(_, claims map[string]any) { claims["sub"], claims["preferred_username"] = "user-2", "eve" }
	eve = newBrowser()
	w.signIn(eve, w.a)
	synctest.Wait()
	w.a.fresh()
	w.b.fresh()
	return ada, ids, eve, w.started()[3].Session
}

func TestYourSessionsAreListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, ids, _, hers := w.signedInThrice(t)
		a := ada[1].get(w.b.Yours, "/auth/sessions?done=1")
		lines := strings.Split(strings.TrimSpace(a.body), "\n")
		if a.StatusCode != http.StatusOK || len(lines) != 4 || lines[0] != "ada at /auth/sessions done=true more=false" {
			t.Fatalf("the answer is %d %q", a.StatusCode, a.body)
		}
		if want := fmt.Sprintf("%s  192.0.2.1 00:00:00 true", ids[1]); lines[1] != want {
			t.Errorf("the first is %q, want %q", lines[1], want)
		}
		if strings.Contains(a.body, hers.String()) || !strings.Contains(a.body, ids[0].String()) || !strings.Contains(a.body, ids[2].String()) {
			t.Errorf("listed are:\n%s", a.body)
		}
		if cache := a.Header.Get("Cache-Control"); cache != "no-store" {
			t.Errorf("Cache-Control is %q", cache)
		}
	})
}

func TestOneOfYourSessionsIsEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, ids, eve, hers := w.signedInThrice(t)
		// Eve's is not hers to end, and one of those named is enough.
		a := ada[0].submit(w.b, url.Values{"session": {hers.String(), ids[2].String(), "nonsense"}}.Encode())
		a.want(t, http.StatusSeeOther, "https://app.example.com/auth/sessions?done=1")
		if got := a.Header.Get("Curfew-Fence"); got != "complete" {
			t.Errorf("the fence is %q", got)
		}
		for i, want := range []sessions.Verdict{sessions.Alive, sessions.Alive, sessions.Ended} {
			if got := w.a.verdict(t, ada[i]); got != want {
				t.Errorf("verdict %v of ada's number %d, want %v", got, i, want)
			}
		}
		if got := w.a.verdict(t, eve); got != sessions.Alive {
			t.Errorf("verdict %v of eve's, want alive", got)
		}
		if ended := w.ended(); len(ended) != 1 || ended[0].Session != ids[2] || ended[0].Reason != events.SignedOut {
			t.Errorf("the log has %v", ended)
		}
	})
}

func TestAllYourOtherSessionsAreEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, _, eve, _ := w.signedInThrice(t)
		ada[1].submit(w.a, "others=1").want(t, http.StatusSeeOther, "https://app.example.com/auth/sessions?done=1")
		for i, want := range []sessions.Verdict{sessions.Ended, sessions.Alive, sessions.Ended} {
			if got := w.a.verdict(t, ada[i]); got != want {
				t.Errorf("verdict %v of ada's number %d, want %v", got, i, want)
			}
		}
		if got := w.a.verdict(t, eve); got != sessions.Alive {
			t.Errorf("verdict %v of eve's, want alive", got)
		}
	})
}

// Whoever ends the session they come with is signed out.
func TestYourOwnSessionIsEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, ids, _, _ := w.signedInThrice(t)
		ada[0].submit(w.a, "session="+ids[0].String()).want(t, http.StatusSeeOther, signedOutPage)
		if ada[0].session() != "" {
			t.Error("the browser still has the cookie")
		}
		ada[0].get(w.a.Yours, "/auth/sessions").want(t, http.StatusFound, loginAndBack)
	})
}

// loginAndBack is where somebody goes who is not signed in.
const loginAndBack = "/auth/login?rd=https%3A%2F%2Fapp.example.com%2Fauth%2Fsessions"

func TestYourSessionsAreNobodyElses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, ids, _, _ := w.signedInThrice(t)
		newBrowser().get(w.a.Yours, "/auth/sessions").want(t, http.StatusFound, loginAndBack)
		newBrowser().submit(w.a, "session="+ids[0].String()).want(t, http.StatusUnauthorized, "problem session_needed")
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example.com"}, {"Origin", "null"},
		} {
			ada[0].submit(w.a, "others=1", header...).want(t, http.StatusForbidden, "problem cross_site")
		}
		w.a.Lease.Drop()
		ada[0].get(w.a.Yours, "/auth/sessions").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		ada[0].submit(w.a, "others=1").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		w.a.fresh()
		w.log.Stop()
		ada[0].submit(w.a, "others=1").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if ended := w.ended(); len(ended) != 0 {
			t.Errorf("the log has %v", ended)
		}
	})
}

// A replica that is behind finds out first whose sessions there are.
func TestYourSessionsAtAReplicaBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, _, _, _ := w.signedInThrice(t)
		release := w.b.hold()
		late := newBrowser()
		w.op.idToken = nil
		w.signIn(late, w.a)
		time.AfterFunc(time.Second, release)
		a := ada[0].submit(w.b, "others=1")
		a.want(t, http.StatusSeeOther, "https://app.example.com/auth/sessions?done=1")
		if got := w.a.verdict(t, late); got != sessions.Ended {
			t.Errorf("verdict %v of the session that it did not know, want ended", got)
		}

		release = w.b.hold()
		w.signIn(late, w.a)
		ada[0].submit(w.b, "others=1").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		release()
		if got := w.a.verdict(t, late); got != sessions.Alive {
			t.Errorf("verdict %v, want alive: nothing was said to have ended", got)
		}
	})
}

// What the log does not take keeps none of the others from ending, here at once
// and in the log later; and it is waited for once.
func TestYourSessionsWhereTheLogGoesAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, _, _, _ := w.signedInThrice(t)
		w.keeping(w.a)
		w.log.Fail = func(events.Event) memlog.Fault { return memlog.Unavailable }
		began := time.Now()
		ada[0].submit(w.a, "others=1").want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		for i, want := range []sessions.Verdict{sessions.Alive, sessions.Ended, sessions.Ended} {
			if got := w.a.verdict(t, ada[i]); got != want {
				t.Errorf("verdict %v of ada's number %d, want %v", got, i, want)
			}
		}
	})
}

// Where nothing was named that is theirs, nothing is said to be done.
func TestNoneOfYourSessionsIsNamed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, _, _, hers := w.signedInThrice(t)
		a := ada[0].submit(w.a, "session="+hers.String())
		a.want(t, http.StatusSeeOther, "https://app.example.com/auth/sessions")
		if got := a.Header.Get("Curfew-Fence"); got != "" {
			t.Errorf("the fence is %q, of nothing", got)
		}
	})
}

// A form is taken from the public origin alone, so people are sent there who see
// the page at another host; once, whatever a proxy says.
func TestPagesWithFormsAreAtHome(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, _, _, _ := w.signedInThrice(t)
		for page, handler := range map[string]http.HandlerFunc{"/auth/sessions": w.a.Yours, "/auth/logout": w.a.Logout} {
			a := ada[0].get(handler, page+"?a=b", "X-Forwarded-Host", "wiki.example.com")
			a.want(t, http.StatusFound, "https://app.example.com"+page+"?a=b&moved=1")
			for _, c := range [][]string{{page, "App.example.com"}, {page, ""}, {page + "?moved=1", "wiki.example.com"}} {
				if a := ada[0].get(handler, c[0], "X-Forwarded-Host", c[1]); a.StatusCode != http.StatusOK {
					t.Errorf("%q: the answer is %d %q", c, a.StatusCode, a.Header.Get("Location"))
				}
			}
		}
	})
}

// One with very many sessions is shown some.
func TestManySessionsOfYours(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ada, ids, _, _ := w.signedInThrice(t)
		w.op.idToken = nil
		for range 100 {
			w.signIn(newBrowser(), w.a)
		}
		synctest.Wait()
		a := ada[2].get(w.a.Yours, "/auth/sessions")
		if lines := strings.Split(strings.TrimSpace(a.body), "\n"); len(lines) != 101 || !strings.HasSuffix(lines[0], "more=true") || !strings.HasPrefix(lines[1], ids[2].String()) {
			t.Errorf("%d lines, beginning %q", len(lines), lines[:2])
		}
	})
}
