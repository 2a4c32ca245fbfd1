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

// A process may be killed between any two steps. The next one has only the disk
// and the log.
func TestBacklogAfterAKill(t *testing.T) {
	out := logout("s1", "", after(60))
	next := func(t *testing.T, log *memlog.Log, b *box) house {
		h := house{&Logouts{
			Log: log, Registry: NewRegistry(testHasher(), Policy{}), Replica: "a",
			Fleet: &Fleet{Instance: "next", Clock: newBubbleClock().read},
			Wait:  2 * time.Second, Now: time.Now,
		}, t, log, nil}
		h = h.withOutbox(b)
		go func() { _ = log.Follow(t.Context(), events.Mark{}, h.apply) }()
		return h
	}
	steps := map[string]func(h house, b *box) *box{
		"before it is kept": func(h house, b *box) *box { return b.killed() },
		"once it is kept": func(h house, b *box) *box {
			h.log.Stop()
			h.unavailable("down", out)
			return b.killed()
		},
		"once the log has it": func(h house, b *box) *box {
			h.log.Stop()
			h.unavailable("down", out)
			b = b.killed()
			h.log.Start()
			h.drains("and is not known to")
			return b
		},
		"once it is dropped": func(h house, b *box) *box {
			h.log.Stop()
			h.unavailable("down", out)
			h.log.Start()
			h.drains("whole")
			return b.killed()
		},
		"when the log has taken it, in whose name none can say": func(h house, b *box) *box {
			h.log.Fail = func(events.Event) memlog.Fault { return memlog.AnswerLost }
			h.unavailable("answers lost", out)
			h.log.Fail = nil
			return b.killed()
		},
	}
	for name, step := range steps {
		inHouse(t, name, func(h house) {
			b := &box{}
			h = h.withOutbox(b)
			h.put(signIn(begunAt(0)))
			left := step(h, b)
			h.log.Start()
			again := next(h.t, h.log, left)
			again.drains("after the start")
			synctest.Wait()
			if name == "before it is kept" {
				expect(t, "in the log", again.logged(), 0)
				again.receives("sent again", out, Complete)
			}
			expect(t, "the session", again.verdict(), Ended)
			expect(t, "in the log", again.logged(), 1)
			again.receives("sent again", out, Complete)
			expect(t, "in the log still", again.logged(), 1)
		})
	}
}

func TestBacklogAtTheStart(t *testing.T) {
	inHouse(t, "it works before the log answers", func(h house) {
		b := &box{all: []events.Event{events.NewEvent(logout("s1", "", after(60)), "a", time.Now())}}
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		h = h.withOutbox(b)
		expect(t, "the session", h.verdict(), Ended)
	})
}

func TestBacklogAndALostLog(t *testing.T) {
	out := logout("s1", "", after(60))
	inHouse(t, "lost while it is drained", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		h.unavailable("down", out)
		h.log.Start()
		h.stop() // whoever follows the log finds that out, and starts over below
		synctest.Wait()
		h.log.Fail = func(events.Event) memlog.Fault { h.log.Wipe(); return memlog.None }
		if err := h.Backlog.Drain(h.t.Context()); !errors.Is(err, errLogChanged) {
			t.Errorf("got %v, want that the log is another", err)
		}
		h.log.Fail = nil
		h.log.Wipe() // and that one too
		expect(t, "kept", len(b.disk), 1)
		h.Registry.Reset(testHasher())
		h.Backlog.Restore()
		go func() { _ = h.log.Follow(h.t.Context(), events.Mark{}, h.apply) }()
		h.put(signIn(begunAt(0)))
		expect(t, "a login that was on its way", h.verdict(), Ended)
		h.drains("into the new log")
		expect(t, "in the log", h.logged(), 1)
		expect(t, "the session", h.verdict(), Ended)
	})
	inHouse(t, "does not come back", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.log.Stop()
		h.unavailable("down", out)
		h.log.Start()
		h.log.Hold()
		began := time.Now()
		if err := h.Backlog.Drain(h.t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		expect(t, "waited", time.Since(began), drainWait)
		expect(t, "kept", len(b.disk), 1)
		h.log.Release()
		h.drains("now")
		expect(t, "in the log", h.logged(), 1)
	})
}

// One that the log refuses keeps no other from it.
func TestBacklogGoesOnPastARefusal(t *testing.T) {
	inHouse(t, "one of three", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.log.Stop()
		for _, sid := range []string{"s1", "s2", "s3"} {
			h.unavailable(sid, logout(sid, "", after(60)))
		}
		h.log.Start()
		h.log.Fail = func(event events.Event) memlog.Fault {
			if event.Fact.(events.LogoutReceived).Sid == "s2" {
				return memlog.Refused
			}
			return memlog.None
		}
		for range 2 {
			if err := h.Backlog.Drain(h.t.Context()); !errors.Is(err, memlog.ErrRefused) {
				t.Errorf("got %v, want what the log said", err)
			}
			expect(t, "kept", len(b.disk), 1)
			expect(t, "in the log", h.logged(), 2)
		}
		expect(t, "foreseen", len(h.Registry.foresight.byName), 1)
		h.log.Fail = nil
		h.drains("taken after all")
	})
}
