package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"curfew/events"
)

// patience bounds every wait for a cluster.
const patience = 40 * time.Second

// witness follows a log to which nothing is appended that supersedes: so each
// position must come, once and in order, whatever happens to the cluster.
type witness struct {
	over chan error
	stop context.CancelFunc

	mu    sync.Mutex
	ids   []string // of position i+1
	log   events.LogID
	moved chan struct{}
}

func watch(t *testing.T, log *Log) *witness {
	ctx, cancel := context.WithCancel(context.Background())
	w := &witness{over: make(chan error, 1), stop: cancel, moved: make(chan struct{})}
	go func() {
		w.over <- log.Follow(ctx, events.Mark{}, w.hear)
		close(w.over)
	}()
	t.Cleanup(func() {
		cancel()
		for range w.over { // until it is closed
		}
	})
	return w
}

func (w *witness) hear(b events.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range b.Records {
		if want := events.Position(len(w.ids) + 1); r.Position != want {
			return fmt.Errorf("position %d in the place of %d", r.Position, want)
		}
		w.ids = append(w.ids, r.ID)
	}
	if len(w.ids) != int(b.Position) {
		return fmt.Errorf("a batch to %d after %d records", b.Position, len(w.ids))
	}
	w.log = b.Log
	close(w.moved)
	w.moved = make(chan struct{})
	return nil
}

// to waits until the follower has come to a position, and returns the ids up to
// where it is.
func (w *witness) to(t *testing.T, position events.Position) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		ids, moved := w.ids, w.moved
		w.mu.Unlock()
		if len(ids) >= int(position) {
			return ids
		}
		select {
		case <-moved:
		case err := <-w.over:
			t.Fatalf("the follower ended at %d: %v", len(ids), err)
		case <-deadline:
			t.Fatalf("the follower came to %d, not to %d", len(ids), position)
		}
	}
}

// work appends through several logs at once until it is stopped: each on its
// own, and all of them against each other.
type work struct {
	t    *testing.T
	logs []*Log
	stop context.CancelFunc
	all  sync.WaitGroup

	mu    sync.Mutex
	taken map[events.Position]string // the ids of what was acknowledged
	last  events.Position            // the highest of taken
	count []int                      // acknowledged, by log
	won   int                        // contests
	moved chan struct{}
}

func begin(t *testing.T, logs ...*Log) *work {
	ctx, cancel := context.WithCancel(context.Background())
	w := &work{t: t, logs: logs, stop: cancel, taken: map[events.Position]string{}, count: make([]int, len(logs)), moved: make(chan struct{})}
	for i := range logs {
		w.all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				at, err := w.insist(ctx, i, alive(fmt.Sprint("r", i, "-", n)), events.Always())
				if err != nil && ctx.Err() == nil {
					t.Errorf("append %d through log %d: %d, %v", n, i, at, err)
				}
				pause(ctx, time.Millisecond) // other tests run beside this one
			}
		})
	}
	w.all.Go(func() {
		for ctx.Err() == nil {
			id, now := events.NewSessionID(), time.Unix(1, 0).UTC()
			at := w.contest(ctx, 0, func() events.Fact { return events.Seen{Session: id, At: now} })
			w.contest(ctx, at, func() events.Fact {
				return events.Ended{Session: id, Issuer: "i", Sub: "s", Reason: events.Admin, At: now}
			})
		}
	})
	t.Cleanup(func() { cancel(); w.all.Wait() })
	return w
}

// insist appends until the log has answered for the event, one way or the
// other.
func (w *work) insist(ctx context.Context, i int, event events.Event, when events.Condition) (events.Position, error) {
	for {
		at, err := w.logs[i].Append(ctx, event, when)
		if err == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.taken[at], w.last = event.ID, max(w.last, at)
			w.count[i]++
			close(w.moved)
			w.moved = make(chan struct{})
		}
		if !errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
			return at, err
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// contest has all logs append under one condition, which can hold for one.
func (w *work) contest(ctx context.Context, last events.Position, fact func() events.Fact) events.Position {
	type outcome struct {
		at  events.Position
		err error
	}
	outcomes := make(chan outcome)
	for i := range w.logs {
		go func() {
			at, err := w.insist(ctx, i, events.NewEvent(fact(), "r", time.Unix(1, 0).UTC()), events.IfLast(last))
			outcomes <- outcome{at, err}
		}()
	}
	var won, lost []events.Position
	for range w.logs {
		o := <-outcomes
		if conflict, ok := errors.AsType[*events.ConflictError](o.err); ok {
			lost = append(lost, conflict.Last)
		} else if o.err == nil {
			won = append(won, o.at)
		} else if ctx.Err() == nil {
			w.t.Errorf("contest: %v", o.err)
		}
	}
	if ctx.Err() != nil {
		return 0
	}
	if len(won) != 1 {
		w.t.Errorf("contest after %d: won at %d, lost to %d", last, won, lost)
		return 0
	}
	for _, to := range lost {
		if to != won[0] {
			w.t.Errorf("contest after %d: lost to %d, won at %d", last, to, won[0])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.won++
	return won[0]
}

// acknowledged is the highest position that was answered for.
func (w *work) acknowledged() events.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// more waits until each log has had n more events acknowledged, and some
// contests are won.
func (w *work) more(n int) {
	w.t.Helper()
	deadline := time.After(patience)
	var want []int
	for {
		w.mu.Lock()
		have, moved := append([]int{w.won}, w.count...), w.moved
		w.mu.Unlock()
		enough := want != nil
		for i, count := range have {
			if want == nil || len(want) < len(have) {
				want = append(want, count+n)
				if i == 0 {
					want[0] = count + 2
				}
			}
			enough = enough && count >= want[i]
		}
		if enough {
			return
		}
		select {
		case <-moved:
		case <-deadline:
			w.t.Fatalf("contests and appends came to %d, not to %d", have, want)
		}
	}
}

// finish stops the work and compares what was acknowledged with what the
// witnesses heard: all is there, where it was said to be, and nothing twice.
func (w *work) finish(witnesses ...*witness) {
	w.t.Helper()
	w.stop()
	w.all.Wait()
	last := w.acknowledged()
	for i, witness := range append(witnesses, watch(w.t, w.logs[0])) {
		ids := witness.to(w.t, last)
		positions := map[string]int{}
		for at, id := range ids {
			if before, twice := positions[id]; twice {
				w.t.Errorf("witness %d: event %s is at %d and at %d", i, id, before, at+1)
			}
			positions[id] = at + 1
		}
		for at, id := range w.taken {
			if ids[at-1] != id {
				w.t.Errorf("witness %d: at %d is event %s, acknowledged was %s", i, at, ids[at-1], id)
			}
		}
	}
}
