// Package memlog is the log in memory, for tests. It behaves as the stream
// does: one order, the last event of each subject, conditions checked in the
// log. Events go through the wire format both ways, so that what a follower
// gets is what it would get from the stream.
//
// And it fails on demand, in the two ways that must be told apart: refused, and
// done but the answer was lost. It can be stopped and started, cut from its
// followers, and lost altogether.
package memlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"curfew/events"
)

// Fault is what befalls one append. The zero value is no fault.
type Fault uint8

// The faults.
const (
	// None lets the append pass.
	None Fault = iota
	// Refused: the event is not taken and never will be. The error does not
	// wrap events.ErrUnavailable.
	Refused
	// TooLarge: as Refused, and the error wraps events.ErrTooLarge.
	TooLarge
	// Unavailable: the event is not taken, and nobody says so. The error wraps
	// events.ErrUnavailable.
	Unavailable
	// AnswerLost: the event is taken if its condition holds, and nobody says
	// so. The error is that of Unavailable.
	AnswerLost
)

// ErrRefused is what Append returns for Refused.
var ErrRefused = errors.New("memlog: append: refused on demand")

// Log is an events.Log in memory. Make one with New. Its methods may be called
// from many goroutines.
type Log struct {
	// Fail, if set, decides what befalls each append. It may call the log. Set
	// it before the appends that it is for: it is read without a lock.
	Fail func(events.Event) Fault

	now func() time.Time

	mu       sync.Mutex
	id       events.LogID
	created  time.Time
	entries  []*entry                   // by position, less one; nil where superseded
	subjects map[string]events.Position // the last of each subject
	scopes   map[string]events.Position // the last of each session, by wildcard
	ids      map[string]events.Position // of all events ever taken
	stopped  bool
	held     bool
	dropped  int           // how often the followers were dropped
	changed  chan struct{} // closed, and replaced, at each change

	listeners map[*listener]struct{}
}

type entry struct {
	message events.Message
	stored  time.Time
}

// New returns an empty log. Records bear the time of now as the time they were
// stored.
func New(now func() time.Time) *Log {
	l := &Log{now: now, changed: make(chan struct{}), listeners: make(map[*listener]struct{})}
	l.reset()
	return l
}

// reset makes this a new log, with nothing in it.
func (l *Log) reset() {
	rand.Read(l.id[:])
	l.created = l.now()
	l.entries = nil
	l.subjects = make(map[string]events.Position)
	l.scopes = make(map[string]events.Position)
	l.ids = make(map[string]events.Position)
}

// Append implements events.Log.
func (l *Log) Append(ctx context.Context, event events.Event, when events.Condition) (events.Position, error) {
	message, err := events.Encode(event)
	if err != nil {
		return 0, fmt.Errorf("memlog: append: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("memlog: append: %w: %w", events.ErrUnavailable, err)
	}
	fault := None
	if l.Fail != nil {
		fault = l.Fail(event)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case fault == Refused:
		return 0, ErrRefused
	case fault == TooLarge:
		return 0, fmt.Errorf("memlog: append: %w", events.ErrTooLarge)
	case fault == Unavailable, l.stopped:
		return 0, errUnavailable("append")
	}
	position, err := l.take(message, event.Fact, when)
	if fault == AnswerLost {
		return 0, errUnavailable("append")
	}
	return position, err
}

func errUnavailable(doing string) error {
	return fmt.Errorf("memlog: %s: %w", doing, events.ErrUnavailable)
}

// take adds a message as the stream does. An append without a condition is
// recognised by its id; one with a condition fails it the second time, and is
// recognised by what its subject holds.
func (l *Log) take(message events.Message, fact events.Fact, when events.Condition) (events.Position, error) {
	scope, want, asked := when.Scope(fact)
	if !asked {
		if known, taken := l.ids[message.ID()]; taken {
			return known, nil
		}
		return l.put(message), nil
	}
	last := l.last(scope)
	if last == want {
		return l.put(message), nil
	}
	own := l.subjects[message.Subject]
	if own != 0 && l.entries[own-1].message.ID() == message.ID() {
		return own, nil
	}
	return 0, &events.ConflictError{Subject: scope, Last: last}
}

// last is the newest position in a scope: a subject, or a session's wildcard.
func (l *Log) last(scope string) events.Position {
	if strings.HasSuffix(scope, ".>") {
		return l.scopes[scope]
	}
	return l.subjects[scope]
}

func (l *Log) put(message events.Message) events.Position {
	l.entries = append(l.entries, &entry{message, l.now()})
	position := l.end()
	if old := l.subjects[message.Subject]; old != 0 {
		l.entries[old-1] = nil
	}
	l.subjects[message.Subject] = position
	l.scopes[message.Subject[:strings.LastIndexByte(message.Subject, '.')+1]+">"] = position
	l.ids[message.ID()] = position
	l.announce()
	return position
}

func (l *Log) end() events.Position { return events.Position(len(l.entries)) }

// announce wakes the followers.
func (l *Log) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Status implements events.Log.
func (l *Log) Status(ctx context.Context) (events.Status, error) {
	if err := ctx.Err(); err != nil {
		return events.Status{}, fmt.Errorf("memlog: status: %w: %w", events.ErrUnavailable, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return events.Status{}, errUnavailable("status")
	}
	return l.status(), nil
}

func (l *Log) status() events.Status {
	first := l.end() + 1
	for i, e := range l.entries {
		if e != nil {
			first = events.Position(i + 1)
			break
		}
	}
	return events.Status{ID: l.id, Created: l.created, First: first, Last: l.end()}
}
