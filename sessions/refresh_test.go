package sessions_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

// fresh is how long after the sign-in nobody need refresh: four fifths of five
// minutes.
const fresh = 4 * time.Minute

func TestRefreshOnceAcrossReplicas(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		s.op.slow = time.Second
		id := s.signIn()
		signedIn := time.Now()
		s.checks(id, fresh-time.Second, time.Second)
		s.wantAsked(0)
		s.checks(id, 10*time.Second, 10*time.Millisecond)
		s.wantAsked(1)
		if late := s.op.calls[0].Sub(signedIn) - fresh; late < 0 || late > 10*time.Millisecond {
			t.Errorf("refreshed %s after it was time", late)
		}
		s.want(id, sessions.Alive, s.op.calls[0].Add(time.Second+s.op.life), true)
		for _, n := range s.nodes {
			private, err := n.Private(id)
			if err != nil || private.Tokens.Refresh != s.op.good || !slices.Equal(private.User.Groups, []string{"new"}) {
				t.Errorf("%s has %+v, %v", n.name, private, err)
			}
			if len(n.post.All()) != 0 {
				t.Errorf("%s still keeps %v", n.name, n.post.All())
			}
		}
		// And so on: once for each access token.
		s.checks(id, time.Hour, 100*time.Millisecond)
		if got, most := s.op.asked(), 1+int(time.Hour/fresh); got < most-1 || got > most {
			t.Errorf("asked %d times in an hour, want %d", got, most)
		}
		s.want(id, sessions.Alive, s.op.calls[s.op.asked()-1].Add(time.Second+s.op.life), true)
	})
}

// Whoever leads the stream may have had a wrong clock, for a record or more. No
// token is shown twice for that, during or after it, nor is a refresh given up.
func TestRefreshOnceThoughTheLogsClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Minute, time.Hour, -time.Minute, -time.Hour} {
		for _, before := range []time.Duration{time.Minute, time.Second, -time.Second} {
			t.Run(fmt.Sprint(by, " ", before), func(t *testing.T) {
				onStreet(t, func(t *testing.T, s *street) {
					s.op.slow = 2 * time.Second
					id := s.signIn()
					s.checks(id, fresh-before, 50*time.Millisecond)
					s.ahead.Store(int64(by))
					s.checks(id, 500*time.Millisecond, 50*time.Millisecond)
					s.append(events.Alive{Replica: "x", Instance: "x1", Lease: 15_000}, events.Always())
					s.ahead.Store(0)
					s.checks(id, max(before, 0)+20*time.Second, 50*time.Millisecond)
					s.wantAsked(1)
					s.checks(id, 2*time.Hour, time.Second)
					if got := s.op.asked(); got < 10 {
						t.Errorf("asked %d times in two hours", got)
					}
					s.want(id, sessions.Alive, s.op.calls[s.op.asked()-1].Add(2*time.Second+s.op.life), true)
				})
			})
		}
	}
}

func TestRefreshOfATokenThatHasEnded(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		pass(time.Hour)
		s.wantAsked(0) // nobody has used it
		s.want(id, sessions.Alive, s.began.Add(s.op.life), true)
		s.checks(id, 3*time.Second, time.Second)
		s.wantAsked(1)
	})
}

func TestRefreshNobodyNeeds(t *testing.T) {
	ends := map[string]func(*street, events.SessionID){
		"ended": func(s *street, id events.SessionID) {
			s.append(events.Ended{Session: id, Reason: events.SignedOut, At: time.Now()}, events.IfFirst())
		},
		"logged out": func(s *street, _ events.SessionID) {
			s.append(events.LogoutReceived{Issuer: provider, Sid: "s", JTI: "j", Reason: events.Backchannel, Replica: "a"}, events.IfFirst())
		},
		"without a refresh token": func(s *street, id events.SessionID) {
			sealed, _ := sessions.Private{Session: id}.Seal(plainly{})
			s.append(events.Refreshed{Session: id, At: time.Now(), Access: time.Now().Add(time.Minute), Sealed: sealed}, events.Always())
		},
		"over": func(*street, events.SessionID) { pass(13 * time.Hour) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			onStreet(t, func(_ *testing.T, s *street) {
				id := s.signIn()
				row, _ := s.nodes[0].registry.Get(id, time.Now())
				end(s, id)
				pass(fresh)
				s.nodes[0].Want(id, row, time.Now()) // as a check that began before
				s.checks(id, time.Minute, time.Second)
				s.wantAsked(0)
			})
		})
	}
}

func TestRefusedEndsTheSessionEverywhere(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		s.op.stolen = true
		pass(fresh)
		s.checks(id, time.Minute, 100*time.Millisecond)
		s.wantAsked(1)
		s.want(id, sessions.Ended, s.began.Add(s.op.life), true)
		ends := inLog[events.Ended](s.log)
		if len(ends) != 1 || ends[0].Reason != events.RefreshRefused || ends[0].Sub != "u" || ends[0].Sid != "s" || ends[0].Issuer != provider {
			t.Errorf("the log has %+v", ends)
		}
	})
}

// Faults in pairs: each kind of append refused an answer once or thrice, taken
// or not, comes to the same.
func TestRefreshWithAnswersLost(t *testing.T) {
	for _, kind := range []events.Type{events.TypeClaimed, events.TypeRefreshed, events.TypeEnded} {
		for fault, name := range map[memlog.Fault]string{memlog.Unavailable: "not taken", memlog.AnswerLost: "taken"} {
			for _, times := range []int{1, 3} {
				t.Run(string(kind)+" "+name, func(t *testing.T) {
					onStreet(t, func(t *testing.T, s *street) {
						var had atomic.Int32
						fail := func(event events.Event) memlog.Fault {
							if event.Fact.Type() != kind || had.Add(1) > int32(times) {
								return memlog.None
							}
							return fault
						}
						s.fail.Store(&fail)
						id := s.signIn()
						s.op.stolen = kind == events.TypeEnded
						pass(fresh)
						s.checks(id, 10*time.Second, 500*time.Millisecond)
						s.wantAsked(1)
						if got := int(had.Load()); got < times {
							t.Fatalf("%d faults were had, want %d", got, times)
						}
						if kind == events.TypeEnded {
							s.want(id, sessions.Ended, s.began.Add(s.op.life), true)
						} else {
							s.want(id, sessions.Alive, s.op.calls[0].Add(s.op.life), true)
						}
					})
				})
			}
		}
	}
}

// What else is said of the session while the OP is asked neither keeps the
// tokens out, nor do they undo it.
func TestRefreshWhileOtherThingsHappen(t *testing.T) {
	tests := []struct {
		name    string
		happens func(*street, events.SessionID)
		verdict sessions.Verdict
	}{
		{"used", func(s *street, id events.SessionID) {
			s.append(events.Seen{Session: id, At: time.Now()}, events.Always())
		}, sessions.Alive},
		{"said a thing of a kind unknown here", func(s *street, id events.SessionID) {
			message, _ := events.Encode(events.NewEvent(events.Seen{Session: id, At: time.Now()}, "x", time.Now()))
			message.Subject = "curfew.session." + id.String() + ".painted"
			message.Header["ce-type"] = []string{"curfew.session.painted.v1"}
			s.log.Put(message)
		}, sessions.Alive},
		{"signed out", func(s *street, id events.SessionID) {
			s.append(events.Ended{Session: id, Reason: events.SignedOut, At: time.Now()}, events.IfFirst())
		}, sessions.Ended},
		{"logged out", func(s *street, _ events.SessionID) {
			s.append(events.LogoutReceived{Issuer: provider, Sub: "u", JTI: "j", Reason: events.Backchannel, Replica: "a"}, events.IfFirst())
		}, sessions.Ended},
	}
	for _, test := range tests {
		for _, when := range []string{"before the claim", "after it"} {
			t.Run(test.name+" "+when, func(t *testing.T) {
				onStreet(t, func(t *testing.T, s *street) {
					id := s.signIn()
					pass(fresh)
					if when == "after it" {
						s.op.between = func() { test.happens(s, id) }
					} else {
						// The replicas do not know of it when they claim.
						s.log.Hold()
						test.happens(s, id)
					}
					for _, n := range s.nodes {
						n.check(id)
					}
					synctest.Wait()
					s.log.Release()
					s.checks(id, 3*time.Second, 100*time.Millisecond)
					access := s.began.Add(s.op.life)
					if test.verdict == sessions.Alive {
						s.wantAsked(1)
						access = s.op.calls[0].Add(s.op.life)
					}
					for _, n := range s.nodes {
						row, verdict := n.registry.Get(id, time.Now())
						if verdict != test.verdict || verdict == sessions.Alive && !row.Access.Time().Equal(access.Truncate(time.Millisecond)) {
							t.Errorf("%s: verdict %d, access until %v; want %d, %v", n.name, verdict, row.Access.Time(), test.verdict, access)
						}
					}
					if test.name == "signed out" && len(inLog[events.Refreshed](s.log)) != 0 {
						t.Error("tokens were appended to a session that had ended")
					}
				})
			})
		}
	}
}

var errRefusedConnection = &sessions.TroubleError{Cause: errors.New("connection refused"), Unspent: true}

func TestBackoffWhileTheOPIsDown(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		up := false
		s.op.trouble = func(int) error {
			if up {
				return nil
			}
			return errRefusedConnection
		}
		pass(fresh)
		s.checks(id, 30*time.Minute, 100*time.Millisecond)
		s.want(id, sessions.Alive, s.began.Add(s.op.life), true)
		for i, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			want, gap := time.Duration(seconds)*time.Second, s.op.calls[i+1].Sub(s.op.calls[i])
			if gap < want || gap > want+300*time.Millisecond {
				t.Errorf("try %d came %s after the one before, want %s", i+2, gap, want)
			}
		}
		s.op.mu.Lock()
		up = true
		before := len(s.op.calls)
		s.op.mu.Unlock()
		s.checks(id, 2*time.Minute, 100*time.Millisecond)
		s.wantAsked(before + 1)
		s.want(id, sessions.Alive, s.op.calls[before].Add(s.op.life), true)
	})
}

func TestBackoffThatTheOPAsksFor(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		0: time.Second, 10 * time.Second: 10 * time.Second, 100 * time.Hour: 5 * time.Minute, -time.Hour: time.Second,
	} {
		onStreet(t, func(t *testing.T, s *street) {
			id := s.signIn()
			s.op.trouble = func(call int) error {
				if call == 1 {
					return &sessions.TroubleError{Cause: errors.New("429"), Unspent: true, Wait: asked}
				}
				return nil
			}
			pass(fresh)
			s.checks(id, want+2*time.Second, 100*time.Millisecond)
			s.wantAsked(2)
			if gap := s.op.calls[1].Sub(s.op.calls[0]); gap < want || gap > want+300*time.Millisecond {
				t.Errorf("asked for %s: tried after %s, want %s", asked, gap, want)
			}
		})
	}
}
