package rp_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"curfew/events"
	"curfew/sessions"
)

const framedPage = "<!doctype html>\n<html lang=\"en\"><title>Signed out</title></html>\n"

// letters keeps what the log does not take.
type letters struct{ all []events.Event }

// Put keeps no end a second time, as the store's outbox does not.
func (l *letters) Put(e events.Event) error {
	if !slices.ContainsFunc(l.all, func(kept events.Event) bool { return kept.Fact.Subject() == e.Fact.Subject() }) {
		l.all = append(l.all, e)
	}
	return nil
}

func (l *letters) All() []events.Event    { return l.all }
func (l *letters) DropAll([]string) error { return nil }

// keeping gives a replica a backlog, and returns what is kept in it.
func (w *world) keeping(r *replica) *letters {
	kept := &letters{}
	r.Logouts.Backlog = sessions.NewBacklog(w.log, r.Registry, kept)
	return kept
}

func framed(query ...string) string {
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Add(query[i], query[i+1])
	}
	return "/auth/frontchannel-logout?" + values.Encode()
}

func TestFrontchannelLogout(t *testing.T) {
	for name, query := range map[string][]string{
		"by sid and iss":         {"iss", "https://op.example.com", "sid", "sid-1"},
		"by sid alone, as Entra": {"sid", "sid-1"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b, other := newBrowser(), newBrowser()
				w.signIn(b, w.a)
				w.op.idToken = func(_, claims map[string]any) { claims["sid"] = "sid-2" }
				w.signIn(other, w.a)
				synctest.Wait()
				// The frame has no cookie of ours.
				a := newBrowser().get(w.b.FrontchannelLogout, framed(query...))
				if a.StatusCode != http.StatusOK || a.body != framedPage || a.Header.Get("Curfew-Fence") != "complete" {
					t.Fatalf("the answer is %d %q %v\n%s", a.StatusCode, a.body, a.Header, w.logs)
				}
				for header, want := range map[string]string{
					"Cache-Control":           "no-cache, no-store",
					"Content-Type":            "text/html; charset=utf-8",
					"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'",
					"X-Frame-Options":         "",
				} {
					if got := a.Header.Get(header); got != want {
						t.Errorf("%s is %q, want %q", header, got, want)
					}
				}
				if got, kept := w.a.verdict(t, b), w.a.verdict(t, other); got != sessions.Ended || kept != sessions.Alive {
					t.Errorf("verdicts %v and %v, want ended, and the other sid's alive", got, kept)
				}
				logout := w.logouts()[0]
				if logout.Sid != "sid-1" || logout.Sub != "" || logout.Reason != events.SignedOut || logout.Issuer != w.op.issuer {
					t.Errorf("the log has %+v", logout)
				}
			})
		})
	}
}

func (w *world) logouts() (all []events.LogoutReceived) {
	for _, record := range w.log.Records() {
		if logout, ok := record.Fact.(events.LogoutReceived); ok {
			all = append(all, logout)
		}
	}
	return all
}

func TestFrontchannelLogoutRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		synctest.Wait()
		for name, query := range map[string][]string{
			"nothing":       nil,
			"no sid":        {"iss", "https://op.example.com"},
			"empty sid":     {"sid", ""},
			"a long sid":    {"sid", strings.Repeat("s", 1025)},
			"two sids":      {"sid", "sid-1", "sid", "sid-2"},
			"two issuers":   {"sid", "sid-1", "iss", "https://op.example.com", "iss", "https://op.example.com"},
			"another's iss": {"sid", "sid-1", "iss", "https://evil.example.com"},
			"a slash more":  {"sid", "sid-1", "iss", "https://op.example.com/"},
		} {
			a := b.get(w.a.FrontchannelLogout, framed(query...))
			if a.StatusCode != http.StatusBadRequest || a.body != "problem frontchannel_invalid" {
				t.Errorf("%s: %d %q", name, a.StatusCode, a.body)
			}
		}
		if a := b.do(w.a.FrontchannelLogout, http.MethodHead, framed("sid", "sid-1")); a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("HEAD: %d", a.StatusCode)
		}
		other := *w.a.Client
		w.a.Clients = append(w.a.Clients, &other)
		b.get(w.a.FrontchannelLogout, framed("sid", "sid-1")).want(t, http.StatusBadRequest, "problem frontchannel_invalid")
		if got := w.a.verdict(t, b); got != sessions.Alive || len(w.logouts()) != 0 {
			t.Errorf("verdict %v after refusals, %d logouts in the log", got, len(w.logouts()))
		}
	})
}

// Sids that nobody bears do not fill the log, and do not keep anybody's logout
// from it. Some go in: a login that is being finished may bear one.
func TestStrangersSids(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.signIn(b, w.a)
		synctest.Wait()
		taken, refused := 0, 0
		for range 10 {
			switch a := newBrowser().get(w.a.FrontchannelLogout, framed("sid", "made up")); a.StatusCode {
			case http.StatusOK:
				taken++
			case http.StatusTooManyRequests:
				refused++
			default:
				t.Errorf("the answer is %d %q", a.StatusCode, a.body)
			}
		}
		if taken != 3 || refused != 7 {
			t.Errorf("%d went into the log and %d did not, want 3 and 7", taken, refused)
		}
		if a := newBrowser().get(w.a.FrontchannelLogout, framed("sid", "sid-1")); a.StatusCode != http.StatusOK || w.a.verdict(t, b) != sessions.Ended {
			t.Errorf("a real one is answered %d, verdict %v", a.StatusCode, w.a.verdict(t, b))
		}
	})
}

// Whoever knows a sid may ask for its end as often as they like, before it has
// been applied: that fills neither log nor outbox.
func TestFramedLogoutsOfOneSidAreOne(t *testing.T) {
	for _, down := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			kept := w.keeping(w.b)
			b := newBrowser()
			w.signIn(b, w.a)
			synctest.Wait()
			if down {
				w.log.Stop()
			}
			release := w.b.hold()
			for range 20 {
				newBrowser().get(w.b.FrontchannelLogout, framed("sid", "sid-1"))
			}
			release()
			// One that is kept has effect here, and what follows it is a stranger's:
			// three of those are let through.
			want := map[bool]int{false: 1, true: 1 + 3}[down]
			if got := len(w.logouts()) + len(kept.all); got != want {
				t.Errorf("log down %t: %d logouts in the log and the outbox, want %d", down, got, want)
			}
			if down {
				return
			}
			again := newBrowser()
			w.signIn(again, w.a)
			synctest.Wait()
			a := newBrowser().get(w.b.FrontchannelLogout, framed("sid", "sid-1"))
			if got := w.a.verdict(t, again); a.StatusCode != http.StatusOK || got != sessions.Ended {
				t.Errorf("of the same sid, signed in again: answered %d, verdict %v", a.StatusCode, got)
			}
		})
	}
}

// A replica that is behind does not know whose sid it is, and ends the session all
// the same. So does one that the log does not answer, for itself and for later.
func TestFrontchannelLogoutWhereALogLags(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		release := w.b.hold()
		b := newBrowser()
		w.signIn(b, w.a)
		a := newBrowser().get(w.b.FrontchannelLogout, framed("sid", "sid-1"))
		if a.StatusCode != http.StatusOK || a.Header.Get("Curfew-Fence") != "pending" {
			t.Errorf("the answer is %d %q %v", a.StatusCode, a.body, a.Header)
		}
		release()
		if got := w.a.verdict(t, b); got != sessions.Ended {
			t.Errorf("verdict %v, want ended", got)
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		kept := w.keeping(w.b)
		b := newBrowser()
		w.signIn(b, w.a)
		synctest.Wait()
		w.log.Stop()
		newBrowser().get(w.b.FrontchannelLogout, framed("sid", "sid-1")).want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if got := w.b.verdict(t, b); got != sessions.Ended || len(kept.all) != 1 {
			t.Errorf("verdict %v at the replica that was asked, %d kept, want ended and one", got, len(kept.all))
		}
	})
}
