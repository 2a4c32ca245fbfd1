package sessions

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
)

// house is one replica with a log in memory, in a synctest bubble.
type house struct {
	*Logouts
	t    *testing.T
	log  *memlog.Log
	stop context.CancelFunc
}

// inHouse runs a test with a replica that follows its log as cmd does.
func inHouse(t *testing.T, name string, test func(house)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := memlog.New(time.Now)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			h := house{&Logouts{
				Log: log, Registry: NewRegistry(testHasher(), Policy{}), Replica: "a",
				Fleet: &Fleet{Instance: "me", Clock: newBubbleClock().read},
				Wait:  2 * time.Second, Now: time.Now,
			}, t, log, stop}
			go func() {
				if err := log.Follow(ctx, events.Mark{}, h.apply); !errors.Is(err, context.Canceled) {
					t.Errorf("the follower stopped: %v", err)
				}
			}()
			synctest.Wait()
			test(h)
		})
	})
}

func (h house) apply(batch events.Batch) error {
	for _, change := range h.Registry.Apply(batch) {
		if change.Member != nil {
			h.Fleet.Hear(*change.Member)
		}
	}
	return nil
}

// put appends a fact from elsewhere, and lets it arrive.
func (h house) put(fact events.Fact) events.Position {
	position, err := h.log.Append(h.t.Context(), events.NewEvent(fact, "b", time.Now()), events.Always())
	if err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
	return position
}

// peer is the heartbeat of another replica.
func (h house) peer() {
	h.put(events.Alive{Replica: "b", Instance: "b1", Position: 0, Lease: length.Milliseconds()})
}

// confirm is what another process says of itself outside the log.
func (h house) confirm(instance string, applied events.Position) {
	h.Fleet.Confirm(instance, events.Mark{Log: h.Registry.Applied().Log, At: applied})
}

func (h house) receives(what string, fact events.LogoutReceived, want Fence) {
	h.t.Helper()
	fence, err := h.Receive(h.t.Context(), fact)
	expect(h.t, what, err, nil)
	expect(h.t, what, fence, want)
}

func TestFence(t *testing.T) {
	var zero Fence
	expect(t, "zero", zero, Pending)
	expect(t, "complete", Complete.String(), "complete")
	expect(t, "pending", Pending.String(), "pending")
}

func TestLogouts(t *testing.T) {
	out := logout("s1", "", after(60))
	inHouse(t, "alone", func(h house) {
		h.put(signIn(begunAt(0)))
		h.receives("first", out, Complete)
		expect(t, "the session", verdictOf(h.Registry, after(70)), Ended)
		h.receives("the same again", out, Complete)
		expect(t, "events in the log", len(h.log.Records()), 2)
	})
	inHouse(t, "one ends", func(h house) {
		h.put(signIn(begunAt(0)))
		for range 2 {
			fence, err := h.End(h.t.Context(), ended(idOf(1), events.SignedOut))
			expect(t, "error", err, nil)
			expect(t, "fence", fence, Complete)
		}
		_, err := h.End(h.t.Context(), ended(idOf(1), events.Admin))
		expect(t, "for another reason", err, nil)
		row, _ := h.Registry.Get(idOf(1), after(70))
		expect(t, "the first reason stays", row.Reason(), events.SignedOut)
		expect(t, "events in the log", len(h.log.Records()), 2)
	})
	inHouse(t, "another replica is silent", func(h house) {
		h.peer()
		began := time.Now()
		h.receives("not confirmed", out, Pending)
		expect(t, "waited", time.Since(began), h.Wait)
		h.receives("nor the second time", out, Pending)
		pause(length)
		h.receives("its lease has ended", out, Complete)
	})
	inHouse(t, "another replica confirms", func(h house) {
		h.peer()
		go func() { <-time.After(time.Second); h.confirm("b1", 2) }()
		h.receives("after a second", out, Complete)
		h.receives("received again: the same position", out, Complete)
	})
}

func TestLogoutsWhereTheLogFails(t *testing.T) {
	out := logout("s1", "", after(60))
	fails := func(fault memlog.Fault) func(events.Event) memlog.Fault {
		return func(events.Event) memlog.Fault { return fault }
	}
	unavailable := func(h house, what string) {
		h.t.Helper()
		fence, err := h.Receive(h.t.Context(), out)
		if !errors.Is(err, events.ErrUnavailable) || fence != Pending {
			h.t.Errorf("%s: got %v and %v, want pending and unavailable", what, fence, err)
		}
	}
	inHouse(t, "unavailable", func(h house) {
		h.put(signIn(begunAt(0)))
		h.log.Fail = fails(memlog.Unavailable)
		unavailable(h, "not taken")
		synctest.Wait()
		expect(t, "the session", verdictOf(h.Registry, after(70)), Alive)
		h.log.Fail = nil
		h.receives("given again", out, Complete)
	})
	inHouse(t, "done, but the answer was lost", func(h house) {
		h.put(signIn(begunAt(0)))
		h.log.Fail = fails(memlog.AnswerLost)
		unavailable(h, "taken")
		synctest.Wait()
		expect(t, "the session", verdictOf(h.Registry, after(70)), Ended)
		h.log.Fail = nil
		h.receives("given again", out, Complete)
		expect(t, "events in the log", len(h.log.Records()), 2)
	})
	inHouse(t, "refused", func(h house) {
		h.put(signIn(begunAt(0)))
		h.log.Fail = fails(memlog.Refused)
		if fence, err := h.Receive(h.t.Context(), out); !errors.Is(err, memlog.ErrRefused) || fence != Pending {
			h.t.Errorf("got %v and %v, want pending and refused", fence, err)
		}
		h.log.Fail = nil
		h.receives("given again", out, Complete)
	})
	inHouse(t, "names nobody", func(h house) {
		if fence, err := h.Receive(h.t.Context(), events.LogoutReceived{Issuer: issuer}); err == nil || fence != Pending {
			h.t.Errorf("got %v and %v, want an error", fence, err)
		}
	})
	inHouse(t, "taken, but not handed over in time", func(h house) {
		h.log.Hold()
		began := time.Now()
		h.receives("held", out, Pending)
		expect(t, "waited", time.Since(began), h.Wait)
		h.log.Release()
		h.receives("given again", out, Complete)
	})
}

// The log is lost, and the replica that receives a logout has yet to notice: it
// still lets in whom the lost log knew, and so may the others, wherever they had
// come to in that one.
func TestLogoutsAfterTheLogWasLost(t *testing.T) {
	out := logout("s1", "", after(60))
	lost := func(h house) {
		h.put(signIn(begunAt(0)))
		h.peer()
		for range 18 {
			h.put(events.Alive{Replica: "a", Instance: "me", Lease: length.Milliseconds()})
		}
		h.confirm("b1", 20)
		h.stop()
		h.log.Wipe()
		synctest.Wait()
	}
	inHouse(t, "not noticed", func(h house) {
		lost(h)
		h.receives("of the new log", out, Pending)
		expect(t, "the session", verdictOf(h.Registry, after(70)), Alive)
		h.receives("again", out, Pending)
	})
	inHouse(t, "taken, and away since", func(h house) {
		h.put(signIn(begunAt(0)))
		h.Log = forgetful{h.log}
		h.receives("which log it was is not known", out, Pending)
		h.Log = h.log
		h.receives("given again", out, Complete)
	})
}

// forgetful is a log that takes what it is given and does not say how it stands.
type forgetful struct{ events.Log }

func (forgetful) Status(context.Context) (events.Status, error) {
	return events.Status{}, events.ErrUnavailable
}

// An OP that hangs up does not keep its user in.
func TestLogoutsGoOnWithoutTheAsker(t *testing.T) {
	inHouse(t, "canceled before", func(h house) {
		h.peer()
		ctx, cancel := context.WithCancel(h.t.Context())
		cancel()
		go func() { <-time.After(time.Second); h.confirm("b1", 2) }()
		fence, err := h.Receive(ctx, logout("s1", "", after(60)))
		expect(t, "error", err, nil)
		expect(t, "fence", fence, Complete)
		expect(t, "events in the log", len(h.log.Records()), 2)
	})
	inHouse(t, "canceled while waiting", func(h house) {
		h.peer()
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		fence, err := h.Receive(ctx, logout("s1", "", after(60)))
		expect(t, "error", err, nil)
		expect(t, "fence", fence, Pending)
		expect(t, "waited", time.Since(began), h.Wait)
	})
}

// A follower may be about to tell the Fleet of a heartbeat that it has just
// applied together with the logout behind it.
func TestLogoutsKnowTheHeartbeatsBeforeThem(t *testing.T) {
	fact := logout("s1", "", after(60))
	beat := func(position, applied events.Position) events.Record {
		return at(position, events.Alive{Replica: "b", Instance: "b1", Position: applied, Log: log1, Lease: length.Milliseconds()})
	}
	// receive gives a logout that the log already has, at position 20.
	receive := func(t *testing.T) (*Registry, *Fleet, chan Fence) {
		r, f := NewRegistry(testHasher(), Policy{}), &Fleet{Instance: "me", Clock: newBubbleClock().read}
		r.Apply(events.Batch{Log: log1, Position: 10, Last: 10})
		l := &Logouts{Log: already(20), Registry: r, Fleet: f, Wait: 2 * time.Second, Replica: "a", Now: time.Now}
		done := make(chan Fence, 1)
		go func() {
			fence, err := l.Receive(t.Context(), fact)
			expect(t, "error", err, nil)
			done <- fence
		}()
		synctest.Wait()
		return r, f, done
	}
	t.Run("in the same batch", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, f, done := receive(t)
			changes := r.Apply(batchOf(beat(19, 18), at(20, fact)))
			synctest.Wait()
			expect(t, "answered before the follower has told of the heartbeat", len(done), 0)
			f.Hear(*changes[0].Member)
			expect(t, "fence", <-done, Pending)
		})
	})
	// Of a replica's heartbeats the log keeps one. To a follower that is behind,
	// one after the logout may be all there is of a replica whose lease runs.
	t.Run("superseded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, f, done := receive(t)
			r.Apply(events.Batch{Log: log1, Records: []events.Record{at(20, fact)}, Position: 20, Last: 21})
			synctest.Wait()
			expect(t, "answered before the end of the log", len(done), 0)
			f.Hear(*r.Apply(batchOf(beat(21, 18)))[0].Member)
			expect(t, "fence", <-done, Pending)
		})
	})
	// A store tells how far the log was applied, not where it ends now.
	t.Run("applied by an earlier process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _, done := receive(t)
			r.LoadMark(events.Mark{Log: log1, At: 25})
			synctest.Wait()
			expect(t, "answered before the end of the log", len(done), 0)
			r.Apply(events.Batch{Log: log1, Position: 25, Last: 25})
			expect(t, "fence", <-done, Complete)
		})
	})
	t.Run("seen at the end since, and behind again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _, done := receive(t)
			r.Apply(events.Batch{Log: log1, Position: 20, Last: 20})
			r.Apply(events.Batch{Log: log1, Position: 21, Last: 30})
			synctest.Wait()
			expect(t, "answered", len(done), 1)
			expect(t, "fence", <-done, Complete)
		})
	})
	t.Run("none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _, done := receive(t)
			r.Apply(events.Batch{Log: log1, Records: []events.Record{at(20, fact)}, Position: 20, Last: 22})
			synctest.Wait()
			r.Apply(events.Batch{Log: log1, Position: 22, Last: 25})
			synctest.Wait()
			expect(t, "answered before the end of the log", len(done), 0)
			r.Apply(events.Batch{Log: log1, Position: 22, Last: 22})
			synctest.Wait()
			expect(t, "answered at the end of the log", len(done), 1)
			expect(t, "fence", <-done, Complete)
		})
	})
}

// already is a log that has every logout, at one position.
type already events.Position

func (a already) Append(context.Context, events.Event, events.Condition) (events.Position, error) {
	return 0, &events.ConflictError{Last: events.Position(a)}
}

func (already) Follow(context.Context, events.Mark, func(events.Batch) error) error { return nil }

func (already) Status(context.Context) (events.Status, error) { return events.Status{ID: log1}, nil }

// Many ends are one wait, and one that the log does not take keeps no other from
// it.
func TestLogoutsOfMany(t *testing.T) {
	many := []events.Ended{ended(idOf(1), events.SignedOut), ended(idOf(2), events.SignedOut), ended(idOf(3), events.SignedOut)}
	start := func(h house) {
		for i := range many {
			h.put(signIn(func(f *events.Started) {
				f.Session, f.Secret, f.Begun = idOf(byte(i+1)), secretOf(byte(i+1)), 0
			}))
		}
	}
	inHouse(t, "one wait", func(h house) {
		start(h)
		h.peer()
		began := time.Now()
		fence, err := h.End(h.t.Context(), many...)
		expect(h.t, "error", err, nil)
		expect(h.t, "fence", fence, Pending)
		expect(h.t, "waited", time.Since(began), h.Wait)
		h.confirm("b1", h.Registry.Applied().At)
		fence, err = h.End(h.t.Context(), many...)
		expect(h.t, "again: error", err, nil)
		expect(h.t, "again: fence", fence, Complete)
	})
	inHouse(t, "none", func(h house) {
		fence, err := h.End(h.t.Context())
		expect(h.t, "error", err, nil)
		expect(h.t, "fence", fence, Complete)
	})
	inHouse(t, "one is not taken", func(h house) {
		start(h)
		h.log.Fail = func(event events.Event) memlog.Fault {
			if fact, ok := event.Fact.(events.Ended); ok && fact.Session == idOf(2) {
				return memlog.Refused
			}
			return memlog.None
		}
		fence, err := h.End(h.t.Context(), many...)
		if !errors.Is(err, memlog.ErrRefused) || fence != Pending {
			h.t.Errorf("got %v and %v, want pending and refused", fence, err)
		}
		synctest.Wait()
		for i, want := range []Verdict{Ended, Alive, Ended} {
			_, verdict := h.Registry.Get(idOf(byte(i+1)), after(70))
			expect(h.t, "a session", verdict, want)
		}
	})
}
