package rp_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

// TestLogoutDuringLogin has a logout reach the log while the user is at the OP,
// or while their code is exchanged: no session may come of it.
func TestLogoutDuringLogin(t *testing.T) {
	for name, logout := range map[string]func(*world){
		"by sub":  func(w *world) { w.logout("user-1", "") },
		"by sid":  func(w *world) { w.logout("", "sid-1") },
		"by both": func(w *world) { w.logout("user-1", "sid-1") },
	} {
		for _, exchanging := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.op.idToken = set(map[string]any{"auth_time": nil})
					b := newBrowser()
					callback := w.begin(b, w.a, "?rd=/docs")
					if exchanging {
						w.op.exchanged = func() { logout(w) }
					} else {
						logout(w)
					}
					b.get(w.b.Callback, callback).want(t, http.StatusOK, "signed out /auth/login?rd=https%3A%2F%2Fapp.example.com%2Fdocs")
					if len(b.cookies) != 0 {
						t.Errorf("the browser has %v", b.cookies)
					}
				})
			})
		}
	}
}

// TestLoginAfterLogout begins a login in the moment after a logout, at a
// replica that has not applied it: the logout must not reach that far.
func TestLoginAfterLogout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		release := w.a.hold()
		w.logout("user-1", "")
		w.logout("", "sid-1")
		b := newBrowser()
		callback := w.begin(b, w.a, "?rd=/docs")
		release()
		b.get(w.a.Callback, callback).want(t, http.StatusFound, "https://app.example.com/docs")
		if got := w.b.verdict(t, b); got != sessions.Alive {
			t.Errorf("verdict %v, want alive", got)
		}
	})
}

// TestLoginOverALostLog begins a login in one log and comes back in another: what
// was lost with the first may be a logout that covered the login, so it must be
// begun anew, and no code is spent on it.
func TestLoginOverALostLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		callback := w.begin(b, w.a, "")
		w.logout("user-1", "sid-1")
		w.log.Wipe()
		c := w.replica("c")
		if err := c.Provider.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		go c.follow(t.Context())
		b.get(c.Callback, callback).want(t, http.StatusBadRequest, "problem login_expired")
		if len(w.op.requests) != 0 || len(b.logins()) != 0 || len(w.started()) != 0 {
			t.Errorf("%d codes were spent, the browser has %v", len(w.op.requests), b.logins())
		}
		if a := w.signIn(b, c); a.StatusCode != http.StatusFound {
			t.Errorf("a new login is answered %d %q", a.StatusCode, a.body)
		}
	})
}

// TestAppendFaults: both kinds of silence are asked again, with the same event;
// a refusal is not.
func TestAppendFaults(t *testing.T) {
	tests := []struct {
		name     string
		faults   []memlog.Fault
		code     string
		sessions int
	}{
		{"not taken, twice", []memlog.Fault{memlog.Unavailable, memlog.Unavailable}, "", 1},
		{"taken, but the answer is lost", []memlog.Fault{memlog.AnswerLost}, "", 1},
		{"both", []memlog.Fault{memlog.AnswerLost, memlog.Unavailable, memlog.AnswerLost}, "", 1},
		{"refused", []memlog.Fault{memlog.Refused}, "log_unavailable", 0},
		{"for good", repeat(memlog.Unavailable, 100), "log_unavailable", 0},
		{"answers lost for good", repeat(memlog.AnswerLost, 100), "log_unavailable", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				ids := make(map[string]bool)
				faults := test.faults
				w.log.Fail = func(event events.Event) (fault memlog.Fault) {
					ids[event.ID] = true
					if len(faults) > 0 {
						fault, faults = faults[0], faults[1:]
					}
					return fault
				}
				b := newBrowser()
				begun := time.Now()
				a := w.signIn(b, w.a)
				if test.code != "" {
					a.want(t, http.StatusServiceUnavailable, "problem "+test.code)
					if b.session() != "" || a.Header.Get("Retry-After") == "" {
						t.Errorf("the answer is %v", a.Header)
					}
				} else {
					a.want(t, http.StatusFound, "https://app.example.com/docs")
				}
				if len(ids) != 1 || len(w.started()) != test.sessions {
					t.Errorf("%d events made %d sessions, want 1 and %d", len(ids), len(w.started()), test.sessions)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func repeat(fault memlog.Fault, n int) (faults []memlog.Fault) {
	for range n {
		faults = append(faults, fault)
	}
	return faults
}

// TestStuckReplica finishes a login where the log is not applied: nobody is let
// in by a replica that does not know what else is in the log.
func TestStuckReplica(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.log.Hold()
		b := newBrowser()
		begun := time.Now()
		w.signIn(b, w.a).want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		if took := time.Since(begun); b.session() != "" || took > 6*time.Second {
			t.Errorf("after %s the session cookie is %q", took, b.session())
		}
	})
}

// TestLogDownThenUp: a log that is away is found out before the code is spent,
// so that reloading the page is enough once it is back.
func TestLogDownThenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		callback := w.begin(b, w.a, "?rd=/docs")
		w.log.Stop()
		b.get(w.a.Callback, callback).want(t, http.StatusServiceUnavailable, "problem log_unavailable")
		w.log.Start()
		b.get(w.a.Callback, callback).want(t, http.StatusFound, "https://app.example.com/docs")
	})
}

// TestClientAuth looks at what the token endpoint is sent to prove who asks. RFC
// 6749 section 2.3.1 has id and secret form-urlencoded before they go into the
// header.
func TestClientAuth(t *testing.T) {
	const id, secret = "client:a b", "s3c+r/e:t=%&ü"
	const encoded = "client%3Aa+b:s3c%2Br%2Fe%3At%3D%25%26%C3%BC"
	tests := []struct {
		auth   string
		secret string
		listed []string
		basic  string
		inBody bool
	}{
		{"auto", secret, nil, encoded, false},
		{"", secret, []string{"client_secret_post", "client_secret_basic"}, encoded, false},
		{"auto", secret, []string{"private_key_jwt", "client_secret_post"}, "", true},
		{"auto", "", nil, "", false},
		{"client_secret_basic", secret, []string{"client_secret_post"}, encoded, false},
		{"client_secret_post", secret, nil, "", true},
		{"none", secret, nil, "", false},
	}
	for _, test := range tests {
		inWorld(t, func(t *testing.T, w *world) {
			w.op.discovery = map[string]any{"token_endpoint_auth_methods_supported": test.listed}
			w.op.idToken = set(map[string]any{"aud": id})
			w.discover()
			w.a.ID, w.a.Secret, w.a.Auth = id, test.secret, test.auth
			if a := w.signIn(newBrowser(), w.a); a.StatusCode != http.StatusFound {
				t.Errorf("%+v: the answer is %d %q: %s", test, a.StatusCode, a.body, w.logs)
			}
			if len(w.op.requests) != 1 {
				t.Fatalf("%+v: the token endpoint is asked %d times", test, len(w.op.requests))
			}
			sent := w.op.requests[0]
			name, password, _ := sent.BasicAuth()
			if got := strings.Trim(name+":"+password, ":"); got != test.basic {
				t.Errorf("%+v: the header says %q", test, got)
			}
			if got := sent.PostForm.Get("client_secret") == secret; got != test.inBody {
				t.Errorf("%+v: the body says %v", test, sent.PostForm)
			}
			if got := sent.PostForm.Get("client_id") == id; got != (test.basic == "") {
				t.Errorf("%+v: the body says %v", test, sent.PostForm)
			}
		})
	}
}

// TestLogLostWhileTheCodeIsExchanged: the place in the log where the login began
// means nothing in another log, and a session there that claims it would be
// covered by too little.
func TestLogLostWhileTheCodeIsExchanged(t *testing.T) {
	for _, noticed := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			for range 3 {
				w.logout("somebody", "")
			}
			c := w.replica("c")
			if err := c.Provider.Discover(t.Context()); err != nil {
				t.Fatal(err)
			}
			at := w.a
			if noticed {
				at = c
			} else {
				synctest.Wait()
			}
			b := newBrowser()
			callback := w.begin(b, w.a, "")
			w.op.exchanged = func() {
				w.log.Wipe()
				if noticed {
					go c.follow(t.Context())
				}
			}
			begun := time.Now()
			b.get(at.Callback, callback).want(t, http.StatusServiceUnavailable, "problem log_unavailable")
			if took := time.Since(begun); b.session() != "" || took > time.Second {
				t.Errorf("after %s the session cookie is %q", took, b.session())
			}
			if said := w.logs.String(); !strings.Contains(said, "another log") {
				t.Errorf("the operator is told %s", said)
			}
		})
	}
}

// refusing is a log that answers no append but with an error.
type refusing struct {
	events.Log
	err error
}

func (r refusing) Append(context.Context, events.Event, events.Condition) (events.Position, error) {
	return 0, r.err
}

// TestTooMuchForTheLog has the OP say more of a user than the log takes: to try
// again would not help.
func TestTooMuchForTheLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		synctest.Wait() // the follower has its log
		w.a.Log = refusing{w.log, fmt.Errorf("log: append: %w", events.ErrTooLarge)}
		b := newBrowser()
		w.signIn(b, w.a).want(t, http.StatusBadGateway, "problem provider_error")
		if b.session() != "" {
			t.Errorf("the session cookie is %q", b.session())
		}
		if said := w.logs.String(); !strings.Contains(said, "too large") {
			t.Errorf("the operator is told %s", said)
		}
	})
}
