package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// holds is how long a claim keeps others away.
const holds = 30 * time.Second

// TestWinnerDies: the one that has claimed the session dies before or after the
// OP has taken its refresh token, and the others go on.
func TestWinnerDies(t *testing.T) {
	tests := []struct {
		name         string
		spent, keeps bool
		renewable    bool // in the end
	}{
		{"before the OP is asked", false, false, true},
		{"after the OP has answered", true, false, false},
		{"after an OP has answered that does not rotate", true, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onStreet(t, func(t *testing.T, s *street) {
				id := s.signIn()
				pass(fresh)
				winner := s.nodes[0]
				s.op.keeps = test.keeps
				s.op.trouble = func(call int) error {
					if call > 1 {
						return nil
					}
					if test.spent && !test.keeps {
						s.op.good = "refresh-2"
					}
					winner.die()
					return context.Canceled
				}
				winner.check(id)
				synctest.Wait()
				s.wantAsked(1)
				died := time.Now()
				s.checks(id, holds-time.Second, 100*time.Millisecond)
				s.wantAsked(1)
				s.checks(id, 20*time.Second, 100*time.Millisecond)
				s.wantAsked(2)
				if waited := s.op.calls[1].Sub(died); waited < holds || waited > holds+time.Second {
					t.Errorf("the next asked %s later, want %s", waited, holds)
				}
				if test.renewable {
					s.want(id, sessions.Alive, s.op.calls[1].Add(s.op.life), true)
					return
				}
				// The OP takes it for a theft. It is not the user's fault: they
				// stay signed in, for as long as that is good without a refresh.
				s.want(id, sessions.Alive, s.began.Add(s.op.life), false)
				s.checks(id, time.Minute, time.Second)
				s.wantAsked(2)
				s.want(id, sessions.Expired, s.began.Add(s.op.life), false)
				if ends := inLog[events.Ended](s.log); len(ends) != 0 {
					t.Errorf("the log has %+v", ends)
				}
			})
		})
	}
}

// An answer that its receiver died with is on its disk, and goes into the log in
// its next life.
func TestAnswerOutlivesItsReceiver(t *testing.T) {
	for _, late := range []time.Duration{0, holds / 2} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			onStreet(t, func(t *testing.T, s *street) {
				id := s.signIn()
				pass(fresh)
				winner := s.nodes[0]
				s.op.between = func() { winner.wire.cut.Store(true) }
				winner.check(id)
				pass(time.Second)
				winner.die()
				kept := winner.post.All()
				if len(kept) != 1 {
					t.Fatalf("kept %v", kept)
				}
				s.append(events.Seen{Session: id, At: time.Now()}, events.Always())
				pass(late)
				stranger := events.NewEvent(events.Left{Replica: "a", Instance: "i"}, "a", time.Now())
				_ = winner.post.Put(stranger)
				again := s.nodeWith("a", winner.post)
				if err := again.Resume(t.Context()); err != nil {
					t.Error(err)
				}
				if left := winner.post.All(); len(left) != 1 || left[0].ID != stranger.ID {
					t.Errorf("left in the outbox: %v", left)
				}
				s.checks(id, time.Minute, time.Second)
				s.wantAsked(1)
				s.want(id, sessions.Alive, s.op.calls[0].Add(s.op.life), true)
				// Once more is once.
				before := len(s.log.Records())
				if err := again.Deliver(t.Context(), kept[0]); err != nil || len(s.log.Records()) != before {
					t.Errorf("delivered again: %v", err)
				}
			})
		})
	}
}

// Of a log that was lost, answers are of no use; while it is away, they are kept.
func TestResumeIntoAnotherLog(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		n := s.nodes[0]
		event := events.NewEvent(events.Refreshed{Session: id, At: time.Now(), Claim: 7, Sealed: "late"}, "a", time.Now())
		_ = n.post.Put(event)
		s.log.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.Resume(ctx); !errors.Is(err, context.DeadlineExceeded) || len(n.post.All()) != 1 {
			t.Errorf("got %v, kept %v", err, n.post.All())
		}
		s.log.Wipe()
		s.log.Start()
		if err := n.Resume(t.Context()); err != nil || len(n.post.All()) != 0 {
			t.Errorf("got %v, kept %v", err, n.post.All())
		}
		if got := len(inLog[events.Refreshed](s.log)); got != 0 {
			t.Error("the log took it")
		}
	})
}

// What comes too late is dropped.
func TestDeliverNothingThatIsPointless(t *testing.T) {
	tests := map[string]func(*street, events.SessionID, events.Position){
		"newer tokens have come": func(s *street, id events.SessionID, claim events.Position) {
			sealed, _ := sessions.Private{Session: id}.Seal(plainly{})
			s.append(events.Refreshed{Session: id, At: time.Now(), Claim: claim, Sealed: sealed}, events.IfLast(claim))
		},
		"the session has ended": func(s *street, id events.SessionID, _ events.Position) {
			s.append(events.Ended{Session: id, Reason: events.Admin, At: time.Now()}, events.IfFirst())
		},
		"the session's time is up": func(s *street, id events.SessionID, _ events.Position) {
			s.append(events.Seen{Session: id, At: time.Now()}, events.Always())
			pass(13 * time.Hour)
		},
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			onStreet(t, func(t *testing.T, s *street) {
				id := s.signIn()
				row, _ := s.nodes[0].registry.Get(id, time.Now())
				claim := s.append(events.Claimed{Session: id, Replica: "z", Instance: "z", At: time.Now()}, events.IfLast(row.Newest()))
				happens(s, id, claim)
				synctest.Wait()
				event := events.NewEvent(events.Refreshed{Session: id, At: time.Now(), Claim: claim, Sealed: "late"}, "z", time.Now())
				if err := s.nodes[0].Deliver(t.Context(), event); err != nil {
					t.Error(err)
				}
				for _, fact := range inLog[events.Refreshed](s.log) {
					if fact.Sealed == "late" {
						t.Error("the log took it")
					}
				}
			})
		})
	}
}

func TestDeliverIntoAnotherLog(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		event := events.NewEvent(events.Refreshed{Session: id, At: time.Now(), Claim: 7, Sealed: "late"}, "a", time.Now())
		s.log.Wipe()
		if err := s.nodes[0].Deliver(t.Context(), event); err == nil {
			t.Error("no error")
		}
		if err := s.nodes[0].Deliver(t.Context(), events.NewEvent(events.Left{Replica: "a", Instance: "i"}, "a", time.Now())); err == nil {
			t.Error("a farewell was delivered")
		}
		if got := len(inLog[events.Refreshed](s.log)); got != 0 {
			t.Error("the log took it")
		}
	})
}

// A log that goes away while the OP answers gets the answer when it is back,
// even when everybody's claims have run out by then.
func TestLogAwayWhenTheAnswerComes(t *testing.T) {
	for _, away := range []time.Duration{3 * time.Second, 40 * time.Second, 10 * time.Minute} {
		for _, stolen := range []bool{false, true} {
			t.Run(fmt.Sprint(away, stolen), func(t *testing.T) {
				onStreet(t, func(t *testing.T, s *street) {
					id := s.signIn()
					pass(fresh)
					s.op.stolen = stolen
					s.op.trouble = func(call int) error {
						if call == 1 {
							s.log.Stop()
						}
						return nil
					}
					s.nodes[1].check(id)
					synctest.Wait()
					s.checks(id, away, time.Second)
					if kept := s.nodes[1].post.All(); len(kept) != 1 {
						t.Errorf("kept %v", kept)
					}
					s.wantAsked(1)
					s.log.Start()
					s.checks(id, 2*time.Second, 100*time.Millisecond)
					for _, n := range s.nodes {
						if kept := n.post.All(); len(kept) != 0 {
							t.Errorf("%s still keeps %v", n.name, kept)
						}
					}
					if stolen {
						s.want(id, sessions.Ended, s.began.Add(s.op.life), true)
						return
					}
					row, verdict := s.nodes[0].registry.Get(id, time.Now())
					if verdict != sessions.Alive || !row.Renewable || !row.Access.Time().After(s.began.Add(s.op.life)) {
						t.Errorf("verdict %d, access until %v", verdict, row.Access.Time())
					}
				})
			})
		}
	}
}

// A refusal counts as the user's own only where nobody can have spent the token.
func TestRefusedAfterTrouble(t *testing.T) {
	for _, test := range []struct {
		trouble error
		want    sessions.Outcome
	}{
		{&sessions.TroubleError{Cause: errors.New("503"), Unspent: true}, sessions.Refused},
		{&sessions.TroubleError{Cause: errors.New("timeout")}, sessions.Lapsed},
		{errors.New("something else"), sessions.Lapsed},
	} {
		t.Run(test.trouble.Error(), func(t *testing.T) {
			onStreet(t, func(t *testing.T, s *street) {
				id := s.signIn()
				s.op.trouble = func(call int) error {
					switch call {
					case 1:
						return test.trouble
					case 2: // what was in doubt stays so
						return errRefusedConnection
					}
					s.op.stolen = true
					return nil
				}
				pass(fresh)
				s.checks(id, 20*time.Second, 100*time.Millisecond)
				s.wantAsked(3)
				var last []sessions.Outcome
				for _, n := range s.nodes {
					last = append(last, n.outcomes...)
				}
				found := 0
				for _, outcome := range last {
					if outcome == test.want {
						found++
					}
				}
				if len(last) != 3 || found != 1 {
					t.Errorf("outcomes %v, want one %s", last, test.want)
				}
				if test.want == sessions.Refused {
					s.want(id, sessions.Ended, s.began.Add(s.op.life), true)
				} else {
					s.want(id, sessions.Alive, s.began.Add(s.op.life), false)
				}
			})
		})
	}
}

// A disk that is full is said so, and the log has the answer all the same.
func TestRefreshWithAFullDisk(t *testing.T) {
	onStreet(t, func(_ *testing.T, s *street) {
		id := s.signIn()
		for _, n := range s.nodes {
			n.post.full = errors.New("disk full")
		}
		pass(fresh)
		s.checks(id, 3*time.Second, 100*time.Millisecond)
		s.wantAsked(1)
		s.want(id, sessions.Alive, s.op.calls[0].Add(s.op.life), true)
	})
}

// A process that was held up between its claim and its question does not ask.
func TestClaimTooOldToAskUnder(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		pass(fresh)
		late := s.nodes[0]
		var ahead time.Duration
		began := s.began
		late.Clock = func() sessions.Reading {
			return sessions.Reading{Boot: time.Since(began) + ahead, Wall: time.Now()}
		}
		late.Rows = delayed{late, func() { ahead = 20 * time.Second }}
		late.check(id)
		synctest.Wait()
		s.wantAsked(0)
		claims := inLog[events.Claimed](s.log)
		if len(claims) != 1 || !claims[0].Returned || claims[0].Doubt {
			t.Errorf("the log has %+v", claims)
		}
		late.Rows = late
		s.checks(id, 5*time.Second, 100*time.Millisecond)
		s.wantAsked(1)
	})
}

// delayed has something happen each time that a session is opened.
type delayed struct {
	*node
	happens func()
}

func (d delayed) Private(id events.SessionID) (sessions.Private, error) {
	d.happens()
	return d.node.Private(id)
}

// What cannot even be begun is not tried more than once a second.
func TestRefreshOfASessionThatCannotBeOpened(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		id := s.signIn()
		pass(fresh)
		n := s.nodes[0]
		tries := 0
		n.Rows = delayed{n, func() { tries++; n.sealed[id] = "" }}
		for range 100 {
			n.check(id)
			pass(50 * time.Millisecond)
		}
		s.wantAsked(0)
		if tries < 4 || tries > 6 {
			t.Errorf("%d tries in five seconds", tries)
		}
	})
}

func TestRestFinishesWhatIsUnderWay(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		s.op.slow = 3 * time.Second
		first, second := s.signIn(), s.signIn()
		pass(fresh)
		n := s.nodes[0]
		n.check(first)
		synctest.Wait()
		n.Rest()
		n.check(second)
		ended := make(chan error)
		go func() { ended <- n.Run(s.ctx) }()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
		pass(5 * time.Second)
		s.wantAsked(1)
		row, _ := n.registry.Get(first, time.Now())
		if !row.Access.Time().After(s.began.Add(s.op.life)) {
			t.Error("what was under way was not finished")
		}
	})
}

// Many sessions at once are many questions, and not one more.
func TestManySessionsAtOnce(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street) {
		s.op.keeps = true
		var ids []events.SessionID
		for range 300 {
			ids = append(ids, s.signIn())
		}
		pass(fresh)
		for range 20 {
			for _, id := range ids {
				for _, n := range s.nodes {
					n.check(id)
				}
			}
			pass(100 * time.Millisecond)
		}
		s.wantAsked(len(ids))
	})
}
