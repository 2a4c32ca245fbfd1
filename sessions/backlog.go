package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"curfew/events"
)

// Letters are what is in an outbox on this replica's disk. There may be other
// facts among them than ends, which are somebody else's business.
type Letters interface {
	// Put keeps an event, on the disk when it returns. An end is not kept a
	// second time.
	//
	// The error wraps ErrOutboxFull if the event is not kept at all. After any
	// other the event is among All, but will be lost with the process.
	Put(events.Event) error
	// All lists what is kept, oldest first.
	All() []events.Event
	// DropAll forgets events by their ids. Those it does not have are no error.
	// After an error they are gone from All, but may be there again after a
	// restart.
	DropAll(ids []string) error
}

// ErrOutboxFull is what Letters.Put returns when there is no room.
var ErrOutboxFull = errors.New("outbox is full")

// Backlog is the ends that are certain and that the log has yet to take. They
// are kept through anything but the loss of the disk, they work on this replica
// from the moment they are kept, and Drain gives them to the log. Make one with
// NewBacklog.
//
// All its methods may be called at once from many goroutines, but Drain from one
// at a time.
type Backlog struct {
	log      events.Log
	registry *Registry
	letters  Letters

	// mu keeps what is in the outbox and what the registry foresees the same:
	// read by those who add, since each adds to both, and written by those who
	// take away or go through all.
	mu   sync.RWMutex
	kept chan struct{}
}

// NewBacklog returns a backlog of the ends among letters. They take effect on
// registry with Restore.
func NewBacklog(log events.Log, registry *Registry, letters Letters) *Backlog {
	return &Backlog{log: log, registry: registry, letters: letters, kept: make(chan struct{}, 1)}
}

// Kept receives when there is something new to Drain.
func (b *Backlog) Kept() <-chan struct{} { return b.kept }

// Len is how many ends the log has yet to take.
func (b *Backlog) Len() int { return len(b.owed()) }

// owed lists them, oldest first.
func (b *Backlog) owed() []events.Event {
	return slices.DeleteFunc(b.letters.All(), func(event events.Event) bool {
		switch event.Fact.(type) {
		case events.LogoutReceived, events.Ended:
			return false
		default:
			return true
		}
	})
}

// Keep keeps an event until the log has it, and has it take effect here. The
// error is that of Letters.Put; only where it wraps ErrOutboxFull has nothing
// been done.
func (b *Backlog) Keep(event events.Event) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	err := b.letters.Put(event)
	if errors.Is(err, ErrOutboxFull) {
		return err
	}
	b.registry.Foresee(event.Fact)
	select {
	case b.kept <- struct{}{}:
	default: // whoever drains has yet to look
	}
	return err
}

// Restore has all that is kept take effect on a registry that knows nothing of
// it: at the start, before anything is served, and after a Reset.
func (b *Backlog) Restore() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, event := range b.owed() {
		b.registry.Foresee(event.Fact)
	}
}

const (
	// drainedAtOnce is how many events are dropped together.
	drainedAtOnce = 100
	// drainWait bounds the wait for what the log has taken to come back.
	drainWait = 5 * time.Second
)

// errLogChanged says that the log was exchanged for another meanwhile.
var errLogChanged = errors.New("sessions: drain: the log is another by now")

// Drain gives what is kept to the log, oldest first, and returns when all of it
// has been applied here and nothing is kept any more. What has been said already
// is recognised by the log, so it may be cut off anywhere and begun again.
//
// An event is given up by the outbox only once it has come back through the log:
// a log that is lost before that gets it again in its next life. One that the
// log refuses for good is kept, and an error each time: it keeps no other from
// being drained.
func (b *Backlog) Drain(ctx context.Context) error {
	for {
		owed := b.owed()
		if len(owed) == 0 {
			return nil
		}
		var faults []error
		for chunk := range slices.Chunk(owed, drainedAtOnce) {
			err := b.drain(ctx, chunk)
			if errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			faults = append(faults, err)
		}
		if err := errors.Join(faults...); err != nil {
			return err
		}
	}
}

func (b *Backlog) drain(ctx context.Context, chunk []events.Event) error {
	before, err := b.log.Status(ctx)
	if err != nil {
		return err
	}
	taken, last, faults := b.give(ctx, chunk)
	after, err := b.log.Status(ctx)
	switch {
	case err != nil:
		return errors.Join(faults, err)
	case after.ID != before.ID:
		return errors.Join(faults, errLogChanged)
	}
	ctx, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	if err := b.registry.Await(ctx, events.Mark{Log: before.ID, At: last}); err != nil {
		return errors.Join(faults, fmt.Errorf("sessions: drain: position %d has not come back: %w", last, err))
	}
	return errors.Join(faults, b.settle(taken))
}

// give appends events, and returns those that the log has and the last of their
// positions.
func (b *Backlog) give(ctx context.Context, chunk []events.Event) (taken []events.Event, last events.Position, faults error) {
	for _, event := range chunk {
		position, err := appendFirst(ctx, b.log, event)
		if errors.Is(err, events.ErrUnavailable) {
			return taken, last, errors.Join(faults, err)
		}
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("sessions: drain: event %s: %w", event.ID, err))
			continue
		}
		taken, last = append(taken, event), max(last, position)
	}
	return taken, last, faults
}

// settle forgets events that have been applied.
func (b *Backlog) settle(taken []events.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]string, len(taken))
	for i, event := range taken {
		ids[i] = event.ID
		b.registry.Unforesee(event.Fact)
	}
	return b.letters.DropAll(ids)
}

// appendFirst appends an event whose subject takes only one, and returns where
// it or the one that was there before it is.
func appendFirst(ctx context.Context, log events.Log, event events.Event) (events.Position, error) {
	position, err := log.Append(ctx, event, events.IfFirst())
	if conflict, ok := errors.AsType[*events.ConflictError](err); ok {
		return conflict.Last, nil
	}
	return position, err
}
