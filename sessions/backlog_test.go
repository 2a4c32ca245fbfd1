package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"curfew/events"
	"curfew/events/memlog"
)

// box is an outbox whose disk can be looked at, and fails on demand.
type box struct {
	mu   sync.Mutex
	all  []events.Event
	disk []events.Event
	full bool
	// broken is what writing returns.
	broken error
}

func (b *box) Put(event events.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return fmt.Errorf("box: %w", ErrOutboxFull)
	}
	if !slices.ContainsFunc(b.all, func(e events.Event) bool { return e.Fact.Subject() == event.Fact.Subject() }) {
		b.all = append(b.all, event)
	}
	if b.broken == nil {
		b.disk = slices.Clone(b.all)
	}
	return b.broken
}

func (b *box) All() []events.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all)
}

func (b *box) DropAll(ids []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = slices.DeleteFunc(b.all, func(e events.Event) bool { return slices.Contains(ids, e.ID) })
	if b.broken == nil {
		b.disk = slices.Clone(b.all)
	}
	return b.broken
}

// killed is the box as the next process finds it.
func (b *box) killed() *box { return &box{all: slices.Clone(b.disk), disk: slices.Clone(b.disk)} }

// withOutbox gives a house an outbox, as at a start.
func (h house) withOutbox(b *box) house {
	h.Backlog = NewBacklog(h.log, h.Registry, b)
	h.Backlog.Restore()
	return h
}

func (h house) drains(what string) {
	h.t.Helper()
	expect(h.t, what, h.Backlog.Drain(h.t.Context()), nil)
	expect(h.t, what+": left", h.Backlog.Len(), 0)
	expect(h.t, what+": foreseen", len(h.Registry.foresight.byName)+len(h.Registry.foresight.ended), 0)
}

// unavailable gives a logout that is to be answered 503.
func (h house) unavailable(what string, fact events.LogoutReceived) {
	h.t.Helper()
	_ = h.fault(what, fact)
}

// fault is unavailable, and returns what else is said.
func (h house) fault(what string, fact events.LogoutReceived) error {
	h.t.Helper()
	fence, err := h.Receive(h.t.Context(), fact)
	if !errors.Is(err, events.ErrUnavailable) || fence != Pending {
		h.t.Errorf("%s: got %v and %v, want pending and unavailable", what, fence, err)
	}
	return err
}

// logged counts the events in the log that an outbox would keep.
func (h house) logged() int {
	n := 0
	for _, record := range h.log.Records() {
		switch record.Fact.(type) {
		case events.LogoutReceived, events.Ended:
			n++
		}
	}
	return n
}

func (h house) verdict() Verdict { return verdictOf(h.Registry, after(70)) }

func TestBacklogWhileTheLogIsAway(t *testing.T) {
	out := logout("s1", "", after(60))
	inHouse(t, "a logout", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		began := time.Now()
		h.unavailable("the log is away", out)
		expect(t, "at once", time.Since(began), 0)
		expect(t, "the session", h.verdict(), Ended)
		h.unavailable("sent again", out)
		expect(t, "on the disk", len(b.disk), 1)
		expect(t, "whoever drains is told", len(h.Backlog.Kept()), 1)
		if err := h.Backlog.Drain(h.t.Context()); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("drained into nothing: %v", err)
		}
		h.log.Start()
		h.drains("the log is back")
		expect(t, "on the disk", len(b.disk), 0)
		expect(t, "the session", h.verdict(), Ended)
		h.receives("sent once more", out, Complete)
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "an end", func(h house) {
		h = h.withOutbox(&box{})
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		if _, err := h.End(h.t.Context(), ended(idOf(1), events.SignedOut)); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		expect(t, "the session", h.verdict(), Ended)
		h.log.Start()
		h.drains("the log is back")
		row, _ := h.Registry.Get(idOf(1), after(70))
		expect(t, "reason", row.Reason(), events.SignedOut)
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "another was quicker", func(h house) {
		h = h.withOutbox(&box{})
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		h.unavailable("here", out)
		h.log.Start()
		h.put(out) // the OP has asked another replica
		expect(t, "foreseen still", len(h.Registry.foresight.byName), 0)
		h.drains("then here")
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "many", func(h house) {
		h = h.withOutbox(&box{})
		h.log.Stop()
		for n := range 2*drainedAtOnce + 1 {
			h.unavailable("one of many", logout(fmt.Sprint("s", n), "", after(float64(n))))
		}
		h.log.Start()
		h.drains("all")
		for i, record := range h.log.Records() {
			if got := record.Fact.(events.LogoutReceived).Sid; got != fmt.Sprint("s", i) {
				t.Fatalf("at %d is %s: the oldest comes first", i, got)
			}
		}
		expect(t, "in the log", h.logged(), 2*drainedAtOnce+1)
	})
}

// hanging is a log that does not answer.
type hanging struct{ *memlog.Log }

func (hanging) Append(ctx context.Context, _ events.Event, _ events.Condition) (events.Position, error) {
	<-ctx.Done()
	return 0, fmt.Errorf("%w: %w", events.ErrUnavailable, ctx.Err())
}

func TestBacklogWhileTheLogHangs(t *testing.T) {
	inHouse(t, "kept soon, answered in time", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.Log = hanging{h.log}
		began := time.Now()
		go func() {
			<-time.After(promptly + time.Millisecond)
			expect(t, "soon in the box", len(b.All()), 1)
			expect(t, "soon the session", h.verdict(), Ended)
		}()
		h.unavailable("it hangs", logout("s1", "", after(60)))
		expect(t, "waited", time.Since(began), promptly+patience)
		if promptly+patience > 1500*time.Millisecond {
			t.Error("an OP gives up after two and a half seconds")
		}
		h.drains("it goes on")
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "the second try is taken", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.log.Fail = once(memlog.Unavailable)
		h.receives("slow", logout("s1", "", after(60)), Complete)
		expect(t, "the session", h.verdict(), Ended)
		expect(t, "on the disk", len(b.disk), 1)
		h.drains("known already")
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "both answers are lost", func(h house) {
		h = h.withOutbox(&box{})
		h.put(signIn(begunAt(0)))
		h.log.Fail = func(events.Event) memlog.Fault { return memlog.AnswerLost }
		h.unavailable("taken", logout("s1", "", after(60)))
		h.log.Fail = nil
		h.drains("known already")
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "taken, applied, and only then foreseen", func(h house) {
		h = h.withOutbox(&box{})
		h.put(signIn(begunAt(0)))
		out := logout("s1", "", after(60))
		at := h.put(out)
		expect(t, "kept", h.Backlog.Keep(events.NewEvent(out, "a", time.Now())), nil)
		since := signIn(begunAt(at))
		since.Session, since.Secret = idOf(2), secretOf(2)
		h.put(since)
		h.drains("known already")
		_, verdict := h.Registry.Get(idOf(2), after(70))
		expect(t, "one that began since", verdict, Alive)
	})
}

// once is a fault that befalls the first append only.
func once(fault memlog.Fault) func(events.Event) memlog.Fault {
	return func(events.Event) memlog.Fault {
		f := fault
		fault = memlog.None
		return f
	}
}

func TestBacklogThatCannotKeep(t *testing.T) {
	out := logout("s1", "", after(60))
	inHouse(t, "full", func(h house) {
		b := &box{full: true}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		if err := h.fault("full", out); !errors.Is(err, ErrOutboxFull) {
			t.Errorf("got %v, want it to say that the outbox is full", err)
		}
		expect(t, "foreseen, though nothing will end that", len(h.Registry.foresight.byName), 0)
		h.log.Start()
		h.log.Fail = once(memlog.Unavailable)
		h.receives("the log takes it even so", out, Complete)
	})
	inHouse(t, "broken", func(h house) {
		b := &box{broken: errors.New("no disk")}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.log.Stop()
		if err := h.fault("broken", out); !errors.Is(err, b.broken) || errors.Is(err, ErrOutboxFull) {
			t.Errorf("got %v, want what is broken", err)
		}
		expect(t, "the session", h.verdict(), Ended)
		h.log.Start()
		if err := h.Backlog.Drain(h.t.Context()); !errors.Is(err, b.broken) {
			t.Errorf("drained: %v", err)
		}
		h.drains("nothing is left to do")
		expect(t, "in the log", h.logged(), 1)
	})
	// A log that is full, or whose limits are too low, answers and does not take
	// it. That is no reason to forget a logout.
	inHouse(t, "what the log refuses", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		h.put(signIn(begunAt(0)))
		h.log.Fail = func(events.Event) memlog.Fault { return memlog.Refused }
		if _, err := h.Receive(h.t.Context(), out); !errors.Is(err, memlog.ErrRefused) {
			t.Errorf("got %v", err)
		}
		expect(t, "kept", len(b.all), 1)
		expect(t, "the session", h.verdict(), Ended)
		if err := h.Backlog.Drain(h.t.Context()); !errors.Is(err, memlog.ErrRefused) {
			t.Errorf("drained: %v", err)
		}
		expect(t, "still kept", len(b.all), 1)
		h.log.Fail = nil
		h.drains("the log takes it after all")
		expect(t, "kept then", len(b.all), 0)
		expect(t, "in the log", h.logged(), 1)
	})
	inHouse(t, "what is no event", func(h house) {
		b := &box{}
		h = h.withOutbox(b)
		if _, err := h.Receive(h.t.Context(), events.LogoutReceived{Issuer: issuer}); err == nil {
			t.Error("it was received")
		}
		expect(t, "kept", len(b.all), 0)
	})
}
