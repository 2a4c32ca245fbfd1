package memlog

import (
	"context"
	"errors"
	"fmt"

	"curfew/events"
)

// maxBatch is how many records a batch holds at most.
const maxBatch = 10_000

// Follow implements events.Log. The zero Mark is the beginning of whichever log
// this is.
func (l *Log) Follow(ctx context.Context, after events.Mark, apply func(events.Batch) error) error {
	f := follower{log: l, mark: after, dropped: -1}
	for ctx.Err() == nil {
		batch, changed, err := f.next()
		if err != nil {
			return err
		}
		if changed == nil {
			if err := apply(batch); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

type follower struct {
	log     *Log
	mark    events.Mark
	dropped int // the log's count of droppings when this one last began
}

// next returns a batch, or a channel to wait for if there is none. One that has
// just begun, or begun again, is told how far the log goes even if there is
// nothing for it.
func (f *follower) next() (events.Batch, <-chan struct{}, error) {
	l := f.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || l.held {
		return events.Batch{}, l.changed, nil
	}
	if f.mark == (events.Mark{}) {
		f.mark.Log = l.id
	}
	if f.mark.Log != l.id || f.mark.At > l.end() {
		return events.Batch{}, nil, &events.LostError{Want: f.mark, Have: l.status()}
	}
	if f.dropped == l.dropped && f.mark.At == l.end() {
		return events.Batch{}, l.changed, nil
	}
	batch, err := l.cut(f.mark.At)
	if err != nil {
		return events.Batch{}, nil, err
	}
	f.dropped, f.mark.At = l.dropped, batch.Position
	return batch, nil, nil
}

// cut makes a batch of what comes after a position. It stops short of an event
// that does not decode, and is an error if that is the first.
func (l *Log) cut(after events.Position) (events.Batch, error) {
	batch := events.Batch{Log: l.id, Position: after, Last: l.end()}
	for _, e := range l.entries[after:] {
		if len(batch.Records) == maxBatch {
			break
		}
		position := batch.Position + 1
		record, found, err := e.record(position)
		if err != nil && batch.Position == after {
			return events.Batch{}, fmt.Errorf("memlog: follow: %w", &events.UnreadableError{At: position, Err: err})
		}
		if err != nil {
			return batch, nil //nolint:nilerr // what comes before it is handed over first
		}
		if found {
			batch.Records = append(batch.Records, record)
		}
		batch.Position = position
		if e != nil && e.stored.After(batch.Stored) {
			batch.Stored = e.stored
		}
	}
	return batch, nil
}

// record decodes an entry. It is not found if it was superseded or is of a kind
// that may be skipped.
func (e *entry) record(at events.Position) (record events.Record, found bool, err error) {
	if e == nil {
		return events.Record{}, false, nil
	}
	event, err := events.Decode(e.message)
	if unknown, ok := errors.AsType[*events.UnknownTypeError](err); ok && unknown.Additive {
		return events.Record{}, false, nil
	}
	if err != nil {
		return events.Record{}, false, err
	}
	return events.Record{Event: event, Position: at, Stored: e.stored}, true, nil
}
