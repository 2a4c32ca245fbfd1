package rp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"curfew/sessions"
	"curfew/sessions/rp"
)

// two makes the replicas clients of a second OP, and returns it. Each OP knows
// the same user by the same sub, and has given its session the same sid.
func (w *world) two(t *testing.T) *op {
	t.Helper()
	second := newOP(t)
	second.issuer = "https://guests.example.net"
	for _, r := range []*replica{w.a, w.b} {
		first := r.Client
		first.Name, first.Title, first.RedirectURI = "staff", "Staff", "https://app.example.com/auth/callback/staff"
		other := *first
		other.Name, other.Title, other.RedirectURI = "guests", "", "https://app.example.com/auth/callback/guests"
		other.Provider = &rp.Provider{Issuer: second.issuer, HTTP: second.client(), Now: w.now, Logger: r.Logger}
		other.Keys = &opKeys{op: second}
		r.Clients = append(r.Clients, &other)
		if err := other.Provider.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	return second
}

// comesBack is the callback as the mux would give it, at a provider's address.
func (b *browser) comesBack(r *replica, name string, answer url.Values) answer {
	handler := func(w http.ResponseWriter, req *http.Request) {
		req.SetPathValue("provider", name)
		r.Callback(w, req)
	}
	return b.get(handler, "/auth/callback/"+name+"?"+answer.Encode())
}

// signInAt signs in at one of two OPs.
func (w *world) signInAt(t *testing.T, b *browser, r *replica, name string, at *op) sessions.Private {
	t.Helper()
	a := b.get(r.Login, "/auth/login?rd=/docs&provider="+name)
	if got := b.comesBack(r, name, at.grant(a.Header.Get("Location"))); got.StatusCode != http.StatusFound {
		t.Fatalf("%s: the callback answers %d %q", name, got.StatusCode, got.body)
	}
	started := w.started()
	private, err := sessions.OpenPrivate(ring{}, started[len(started)-1].Session, started[len(started)-1].Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func TestPeopleChoose(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.two(t)
		b := newBrowser()
		b.get(w.a.Login, "/auth/login").want(t, http.StatusOK,
			"Staff /auth/login?provider=staff\nguests /auth/login?provider=guests\n")
		b.get(w.a.Login, "/auth/login?rd=/docs?a=b%26c", "X-Original-URL", "/else").want(t, http.StatusOK,
			"Staff /auth/login?provider=staff&rd=https%3A%2F%2Fapp.example.com%2Fdocs%3Fa%3Db%26c\n"+
				"guests /auth/login?provider=guests&rd=https%3A%2F%2Fapp.example.com%2Fdocs%3Fa%3Db%26c\n")
		// In the place of a page that was asked for, it is asked elsewhere.
		b.get(w.a.Login, "/auth/login", "X-Original-URL", "https://app.example.com/docs?a=b").want(t, http.StatusFound,
			"https://app.example.com/auth/login?rd=https%3A%2F%2Fapp.example.com%2Fdocs%3Fa%3Db")
		b.get(w.a.Login, "/auth/login", "X-Original-URL", "https://app.example.com/auth/login").want(t, http.StatusOK,
			"Staff /auth/login?provider=staff\nguests /auth/login?provider=guests\n")
		b.get(w.a.Login, "/auth/login?rd=https://evil.example.org").want(t, http.StatusBadRequest, "problem return_refused")
		b.get(w.a.Login, "/auth/login?provider=nobody").want(t, http.StatusBadRequest, "problem provider_unknown")
		if len(b.logins()) != 0 {
			t.Errorf("logins %v were begun by asking", b.logins())
		}
		for name, issuer := range map[string]string{"staff": "https://op.example.com", "guests": "https://guests.example.net"} {
			location := b.get(w.a.Login, "/auth/login?provider="+name).Header.Get("Location")
			if !strings.HasPrefix(location, issuer+"/authorize?") || !strings.Contains(location, url.QueryEscape("/auth/callback/"+name)) {
				t.Errorf("%s leads to %s", name, location)
			}
		}
	})
}

func TestOneProviderIsNotChosen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.a.Name = "staff"
		for _, query := range []string{"", "?provider=staff"} {
			if a := newBrowser().get(w.a.Login, "/auth/login"+query); a.StatusCode != http.StatusFound {
				t.Errorf("%q: the login answers %d %q", query, a.StatusCode, a.body)
			}
		}
		newBrowser().get(w.a.Login, "/auth/login?provider=guests").want(t, http.StatusBadRequest, "problem provider_unknown")
	})
}

// An answer counts where it was asked for, and at no other OP's address: one OP
// could pass another's code off as its own (RFC 9700 section 4.4).
func TestAnswersAreToldApart(t *testing.T) {
	for name, tt := range map[string]struct {
		door   string
		alter  func(url.Values)
		status int
		seen   string
	}{
		"at its own address":                  {"staff", func(url.Values) {}, http.StatusFound, "https://app.example.com/docs"},
		"at its own, without iss":             {"staff", func(q url.Values) { q.Del("iss") }, http.StatusFound, "https://app.example.com/docs"},
		"at the common one, with iss":         {"", func(url.Values) {}, http.StatusFound, "https://app.example.com/docs"},
		"at the common one, without iss":      {"", func(q url.Values) { q.Del("iss") }, http.StatusBadRequest, "problem callback_invalid"},
		"at another's":                        {"guests", func(url.Values) {}, http.StatusBadRequest, "problem callback_invalid"},
		"at another's, without iss":           {"guests", func(q url.Values) { q.Del("iss") }, http.StatusBadRequest, "problem callback_invalid"},
		"at its own, with another's iss":      {"staff", func(q url.Values) { q.Set("iss", "https://guests.example.net") }, http.StatusBadRequest, "problem callback_invalid"},
		"at an address that is no provider's": {"nobody", func(url.Values) {}, http.StatusBadRequest, "problem callback_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.two(t)
				b := newBrowser()
				answer := w.op.grant(b.get(w.a.Login, "/auth/login?rd=/docs&provider=staff").Header.Get("Location"))
				tt.alter(answer)
				b.comesBack(w.a, tt.door, answer).want(t, tt.status, tt.seen)
				if spent := len(w.op.requests); spent != 0 && tt.status != http.StatusFound {
					t.Errorf("the code was spent, %d times", spent)
				}
			})
		})
	}
}

// What ends at one OP goes on at another, whatever names they share.
func TestProvidersDoNotMix(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		second := w.two(t)
		ada, guest := newBrowser(), newBrowser()
		first := w.signInAt(t, ada, w.a, "staff", w.op)
		other := w.signInAt(t, guest, w.b, "guests", second)
		if first.Sub != other.Sub || first.Sid != other.Sid || first.Issuer == other.Issuer {
			t.Fatalf("the sessions are %+v and %+v", first, other)
		}
		synctest.Wait()
		w.logout("", "sid-1")
		w.logout("user-1", "")
		if a, b := w.a.verdict(t, ada), w.a.verdict(t, guest); a != sessions.Ended || b != sessions.Alive {
			t.Errorf("verdicts %v and %v, want ended and alive", a, b)
		}

		second.refuse = func(rw http.ResponseWriter, _ *http.Request) {
			second.sendJSON(rw, map[string]any{"access_token": "new", "token_type": "Bearer", "expires_in": 300})
		}
		asked := len(w.op.requests)
		if renewed, err := w.a.Refresh(t.Context(), other); err != nil || renewed.Private.Tokens.Access != "new" {
			t.Errorf("refreshed to %+v: %v", renewed.Private.Tokens, err)
		}
		if got := len(w.op.requests); got != asked {
			t.Errorf("the other OP was asked %d times for a refresh that is not its own", got-asked)
		}
		other.Issuer = "https://gone.example.org"
		if _, err := w.a.Refresh(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not configured") {
			t.Errorf("a session of an OP that is gone: %v", err)
		}

		location := guest.post(w.b.Logout, "/auth/logout").Header.Get("Location")
		if !strings.HasPrefix(location, second.issuer+"/end?") {
			t.Errorf("the sign-out leads to %s", location)
		}
	})
}

// A login that was begun at an OP which has been taken out of the configuration
// since is over.
func TestProviderTakenOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		second := w.two(t)
		b := newBrowser()
		answer := second.grant(b.get(w.a.Login, "/auth/login?provider=guests").Header.Get("Location"))
		w.a.Clients = w.a.Clients[:1]
		b.comesBack(w.a, "guests", answer).want(t, http.StatusBadRequest, "problem state_missing")
	})
}
