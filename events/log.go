package events

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Event is a fact with the attributes that CloudEvents wants of it.
type Event struct {
	// ID makes the event unique. Appending the same event again, with the same
	// ID, is recognised.
	ID string
	// Source is where it comes from, a URI reference: /curfew/<replica>.
	Source string
	// Time is when it happened, by its source's clock. Nothing is ordered by it.
	Time time.Time
	Fact Fact
}

// NewEvent gives fact an id of its own and names replica as its source.
func NewEvent(fact Fact, replica string, now time.Time) Event {
	return Event{ID: NewID(), Source: "/curfew/" + replica, Time: now, Fact: fact}
}

// Record is an event as the log holds it.
type Record struct {
	Event
	Position Position
	// Stored is when the log took the event, by the log's clock.
	Stored time.Time
}

// Condition is what must hold in the log for an append to be taken.
type Condition struct {
	kind conditionKind
	last Position
}

type conditionKind uint8

const (
	always conditionKind = iota
	ifFirst
	ifLast
)

// Always puts no condition on an append.
func Always() Condition { return Condition{} }

// IfFirst asks that the log hold nothing yet on the fact's own subject.
func IfFirst() Condition { return Condition{kind: ifFirst} }

// IfLast asks that the newest event about the fact's session be the one at
// last, or of a heartbeat the newest of its replica's; zero asks that there be
// none. No other facts may be appended so.
func IfLast(last Position) Condition { return Condition{kind: ifLast, last: last} }

// Scope is the subject over which the condition on an append of fact is
// checked, and the position that must be the last there. It is false if
// nothing is asked.
func (c Condition) Scope(fact Fact) (subject string, last Position, asked bool) {
	switch c.kind {
	case ifFirst:
		return fact.Subject(), 0, true
	case ifLast:
		return lastScope(fact), c.last, true
	default:
		return "", 0, false
	}
}

// lastScope panics on a fact that is neither about a session nor a heartbeat: no
// input can lead there, only a caller that pairs the wrong fact with IfLast.
func lastScope(fact Fact) string {
	switch fact := fact.(type) {
	case Started:
		return SessionScope(fact.Session)
	case Refreshed:
		return SessionScope(fact.Session)
	case Claimed:
		return SessionScope(fact.Session)
	case Seen:
		return SessionScope(fact.Session)
	case Ended:
		return SessionScope(fact.Session)
	case Alive:
		return fact.Subject()
	default:
		panic(fmt.Sprintf("events: IfLast on %T, which is neither about a session nor a heartbeat", fact))
	}
}

// ErrUnavailable is wrapped by what Append returns when the log did not answer.
// Whether the event was taken is then not known: appending the same Event again
// finds out and does not take it twice.
var ErrUnavailable = errors.New("log unavailable")

// ErrTooLarge is wrapped by what Append returns for an event that is larger than
// the log takes any.
var ErrTooLarge = errors.New("event too large for the log")

// ConflictError is what Append returns when its condition does not hold: the
// log was not changed.
type ConflictError struct {
	// Subject is the scope the condition was checked in.
	Subject string
	// Last is the newest position there.
	Last Position
}

// Error names the subject and the position that stands in the way.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("events: append: %s is already at position %d", e.Subject, e.Last)
}

// Status is how a log stands.
type Status struct {
	ID LogID
	// Created is when the log was made, by its own clock.
	Created time.Time
	// First and Last are the oldest and the newest position the log holds. An
	// empty log has First one past Last.
	First, Last Position
}

// End is where the log ends.
func (s Status) End() Mark { return Mark{Log: s.ID, At: s.Last} }

// Batch is a run of records as a follower gets them.
type Batch struct {
	// Log is the log that the records are from.
	Log LogID
	// Records are in order of position. It is empty when the follower has only
	// come to know how far the log goes.
	Records []Record
	// Position is how far the follower has come: every event up to it that the
	// log still holds has been handed over.
	Position Position
	// Last is how far the log went, at least, when the batch was cut: where
	// events were superseded it may have gone further. That Position has come
	// to Last means the end.
	Last Position
	// Stored is the latest time at which the log took an event of the batch, by
	// its clock, those that were skipped included; zero if there is none. It is
	// not always that of the last: the next leader's clock may be behind.
	Stored time.Time
}

// Log is an append-only, totally ordered sequence of events, which keeps the
// last event of each subject.
//
// Package logtest holds what an implementation must satisfy.
type Log interface {
	// Append adds an event if the condition holds, and returns its position
	// once the log has taken it. An event that the log already holds, taken
	// on an earlier try whose answer was lost, is not added again: its
	// position is returned.
	//
	// The error is a *ConflictError if the condition did not hold, wraps
	// ErrUnavailable if the log did not answer, and is another if the event
	// can never be appended.
	Append(ctx context.Context, event Event, when Condition) (Position, error)

	// Follow hands over every event after a position, in order, each once,
	// and then those that come, until ctx ends or apply returns an error,
	// which it returns. A log that goes away is waited for, however long.
	// It returns a *LostError when the log is not the one that after is a
	// mark in, or has come to less than it, or is seen to hold other events
	// where it was followed already, and wraps an *UnreadableError when
	// the next event does not decode.
	Follow(ctx context.Context, after Mark, apply func(Batch) error) error

	// Status asks the log how it stands, now: the answer is never older than
	// the call. It wraps ErrUnavailable if the log does not answer.
	Status(ctx context.Context) (Status, error)
}

// LostError says that the log a follower asked for is gone: the one that
// answers is another, or has forgotten what it once held.
type LostError struct {
	Want Mark
	Have Status
	// Since is where an event is that the log took after all that was handed
	// over, and that is not after Want; zero if there is none.
	Since Position
}

// Error names both logs.
func (e *LostError) Error() string {
	if e.Want.Log != e.Have.ID {
		return fmt.Sprintf("events: follow: the log is %s, not %s", e.Have.ID, e.Want.Log)
	}
	if e.Since != 0 {
		return fmt.Sprintf("events: follow: log %s has another event at %d, up to position %d", e.Have.ID, e.Since, e.Want.At)
	}
	return fmt.Sprintf("events: follow: log %s ends at %d, behind position %d", e.Have.ID, e.Have.Last, e.Want.At)
}

// UnreadableError says that something stands in the log that is no event, or of
// a kind that must not be skipped: what comes after it cannot be known.
type UnreadableError struct {
	// At is where it is.
	At  Position
	Err error
}

// Error says where it is and what is wrong with it.
func (e *UnreadableError) Error() string { return fmt.Sprintf("position %d: %v", e.At, e.Err) }

// Unwrap is what decoding it returned.
func (e *UnreadableError) Unwrap() error { return e.Err }
