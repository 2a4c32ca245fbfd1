package sessions

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"curfew/events"
)

// simLog is the log of a simulation: it keeps the last record of each subject,
// as the real one does.
type simLog struct {
	mu     sync.Mutex
	taken  []events.Record
	newest map[string]events.Position
	grown  chan struct{}
}

func newSimLog() *simLog {
	return &simLog{newest: make(map[string]events.Position), grown: make(chan struct{})}
}

func (l *simLog) take(event events.Event, when events.Condition) (events.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	subject, _, first := when.Scope(event.Fact)
	if last, found := l.newest[subject]; first && found {
		return 0, &events.ConflictError{Subject: subject, Last: last}
	}
	position := events.Position(len(l.taken) + 1)
	l.taken = append(l.taken, events.Record{Event: event, Position: position, Stored: time.Now()})
	l.newest[event.Fact.Subject()] = position
	close(l.grown)
	l.grown = make(chan struct{})
	return position, nil
}

// cut returns up to n records after a position, without those superseded by
// now, and a channel that is closed when there are more.
func (l *simLog) cut(after events.Position, n int) (events.Batch, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := events.Batch{Log: log1, Position: after, Last: events.Position(len(l.taken))}
	for _, record := range l.taken[after:] {
		if len(batch.Records) == n {
			break
		}
		if l.newest[record.Fact.Subject()] == record.Position {
			batch.Records = append(batch.Records, record)
		}
		batch.Position = record.Position
	}
	return batch, l.grown
}

// link is a replica's connection to the log. It delays, it may be cut in
// either direction, and the process behind it may be stopped for a while.
type link struct {
	log  *simLog
	calm bool // nothing takes long

	mu  sync.Mutex
	rng *rand.Rand
	// Until when nothing arrives, nothing is sent, nothing runs.
	deaf, mute, frozen atomic.Int64
}

func newLink(log *simLog, seed, stream uint64) *link {
	return &link{log: log, rng: rand.New(rand.NewPCG(seed, stream))}
}

func (k *link) roll(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rng.IntN(n)
}

// between is a delay of chance.
func (k *link) between(least, most time.Duration) time.Duration {
	return least + time.Duration(k.roll(int(most-least)))
}

// travel is how long a message takes: a moment, mostly.
func (k *link) travel() {
	if !k.calm && k.roll(20) == 0 {
		<-time.After(k.between(50*time.Millisecond, 800*time.Millisecond))
		return
	}
	<-time.After(k.between(100*time.Microsecond, 5*time.Millisecond))
}

// rest waits for the end of a fault.
func rest(until *atomic.Int64) {
	for {
		left := until.Load() - time.Now().UnixNano()
		if left <= 0 {
			return
		}
		<-time.After(time.Duration(left))
	}
}

func lasts(until *atomic.Int64, d time.Duration) { until.Store(time.Now().Add(d).UnixNano()) }

// breathe is where a stopped process stands.
func (k *link) breathe() { rest(&k.frozen) }

// Append implements events.Log. What has been sent arrives, even if its sender
// is no more; the answer may be lost.
func (k *link) Append(_ context.Context, event events.Event, when events.Condition) (events.Position, error) {
	k.breathe()
	muted := k.mute.Load() > time.Now().UnixNano()
	k.travel()
	if muted {
		return 0, fmt.Errorf("sim: %w", events.ErrUnavailable)
	}
	position, err := k.log.take(event, when)
	k.travel()
	k.breathe()
	if k.roll(10) == 0 {
		return 0, fmt.Errorf("sim: answer lost: %w", events.ErrUnavailable)
	}
	return position, err
}

// Follow implements events.Log.
func (k *link) Follow(ctx context.Context, mark events.Mark, apply func(events.Batch) error) error {
	after := mark.At
	for ctx.Err() == nil {
		rest(&k.deaf)
		batch, grown := k.log.cut(after, 1+k.roll(4))
		if batch.Position == after {
			select {
			case <-grown:
			case <-ctx.Done():
			}
			continue
		}
		k.travel()
		rest(&k.deaf)
		k.breathe()
		if ctx.Err() != nil {
			break
		}
		if err := apply(batch); err != nil {
			return err
		}
		after = batch.Position
	}
	return ctx.Err()
}

// Status implements events.Log.
func (k *link) Status(context.Context) (events.Status, error) {
	batch, _ := k.log.cut(0, 0)
	return events.Status{ID: log1, First: 1, Last: batch.Last}, nil
}
