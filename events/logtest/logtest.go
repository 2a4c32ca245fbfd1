// Package logtest is the contract of events.Log as tests: Run for a log that
// works, RunFaults for one that goes away, loses answers and is lost.
package logtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"curfew/events"
)

// Harness is a log under test, and the way into it past its own methods.
type Harness struct {
	Log events.Log
	// Put puts a message into the log as another program might.
	Put func(events.Message)
	// Lags says that a copy of the log may be asked which falls behind the others.
	Lags bool
}

// Faulty is a log under test, and what can befall it.
type Faulty struct {
	Log events.Log
	// LoseAnswer has the next append taken and its answer lost.
	LoseAnswer func()
	// Stop makes the log unavailable, Start available, with what it held.
	Stop, Start func()
	// Wipe has another, empty log stand in the log's place.
	Wipe func()
}

// Run tests a log that works. Each call of open must return an empty one.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"order":             testOrder,
		"superseded":        testSuperseded,
		"conditions":        testConditions,
		"again":             testAgain,
		"again, superseded": testAgainSuperseded,
		"one winner":        testOneWinner,
		"refused":           testRefused,
		"given up":          testGivenUp,
		"status":            testStatus,
		"resume":            testResume,
		"while appending":   testWhileAppending,
		"caught up":         testCaughtUp,
		"follower's end":    testFollowersEnd,
		"lost":              testLost,
		"unknown kind":      testUnknownKind,
		"broken body":       testBrokenBody,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// RunFaults tests a log that fails. Each call of open must return an empty one.
func RunFaults(t *testing.T, open func(t *testing.T) Faulty) {
	for name, test := range map[string]func(*testing.T, Faulty){
		"answer lost": testAnswerLost,
		"not taken":   testNotTaken,
		"away":        testAway,
		"wiped":       testWiped,
		"wiped away":  testWipedAway,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// patience bounds every wait.
const patience = 20 * time.Second

// epoch is when all of the events happen; a fraction of a second shows a codec
// that loses it.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

func started(id events.SessionID) events.Event {
	return event(events.Started{
		Session: id, Issuer: "https://op.example", Sub: "sub", Sid: "s.*>", Secret: events.SecretHash{1},
		Begun: 7, BegunAt: epoch, At: epoch, Expires: epoch.Add(time.Hour), Sealed: "gAAAAA==",
	})
}

func refreshed(id events.SessionID) events.Event {
	return event(events.Refreshed{Session: id, At: epoch, Sealed: "gAAAAB=="})
}

func ended(id events.SessionID) events.Event {
	return event(events.Ended{Session: id, Issuer: "https://op.example", Sub: "sub", Reason: events.SignedOut, At: epoch})
}

func logout(jti string) events.Event {
	return event(events.LogoutReceived{
		Issuer: "https://op.example", Sub: "sub", Sid: "a b.*>", JTI: jti, IssuedAt: epoch,
		Reason: events.Backchannel, Replica: "r",
	})
}

func alive(replica string) events.Event {
	return event(events.Alive{Replica: replica, Instance: "i", Position: 3, Lease: 15_000})
}

func event(fact events.Fact) events.Event { return events.NewEvent(fact, "r", epoch) }

// add appends what must be taken.
func add(t *testing.T, log events.Log, event events.Event, when events.Condition) events.Position {
	t.Helper()
	position, err := log.Append(t.Context(), event, when)
	if err != nil {
		t.Fatalf("append %s: %v", event.Fact.Subject(), err)
	}
	return position
}

func status(t *testing.T, log events.Log) events.Status {
	t.Helper()
	status, err := log.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// follower runs Follow and keeps what it hands over.
type follower struct {
	batches chan events.Batch
	over    chan error
	stop    context.CancelFunc
}

func follow(t *testing.T, log events.Log, after events.Mark) *follower {
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{batches: make(chan events.Batch), over: make(chan error, 1), stop: cancel}
	go func() {
		f.over <- log.Follow(ctx, after, func(b events.Batch) error {
			select {
			case f.batches <- b:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	t.Cleanup(cancel)
	return f
}

func (f *follower) next(t *testing.T) events.Batch {
	t.Helper()
	select {
	case b := <-f.batches:
		return b
	case err := <-f.over:
		t.Fatalf("Follow returned %v", err)
	case <-time.After(patience):
		t.Fatal("the follower gets nothing")
	}
	return events.Batch{}
}

// to collects the records up to a position, and the batch that reached it.
func (f *follower) to(t *testing.T, position events.Position) ([]events.Record, events.Batch) {
	t.Helper()
	var records []events.Record
	for {
		b := f.next(t)
		if err := orderly(b); err != nil {
			t.Fatal(err)
		}
		records = append(records, b.Records...)
		if b.Position >= position {
			return records, b
		}
	}
}

// orderly checks what holds within every batch.
func orderly(b events.Batch) error {
	var last events.Position
	for _, r := range b.Records {
		if r.Position <= last || r.Position > b.Position {
			return fmt.Errorf("record at %d after %d in a batch to %d", r.Position, last, b.Position)
		}
		last = r.Position
	}
	if b.Position > b.Last {
		return fmt.Errorf("batch to %d of a log to %d", b.Position, b.Last)
	}
	return nil
}

// end waits for Follow to return.
func (f *follower) end(t *testing.T) error {
	t.Helper()
	_, err := f.rest(t)
	return err
}

// rest collects the records until Follow returns.
func (f *follower) rest(t *testing.T) ([]events.Record, error) {
	t.Helper()
	var records []events.Record
	deadline := time.After(patience)
	for {
		select {
		case b := <-f.batches:
			records = append(records, b.Records...)
		case err := <-f.over:
			return records, err
		case <-deadline:
			t.Fatal("Follow does not return")
		}
	}
}

// all follows a log from its beginning to its end.
func all(t *testing.T, log events.Log) []events.Record {
	t.Helper()
	f := follow(t, log, events.Mark{})
	defer f.stop()
	records, _ := f.to(t, status(t, log).Last)
	return records
}

// expect compares records with the events and positions wanted.
func expect(t *testing.T, got []events.Record, want map[events.Position]events.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	for _, r := range got {
		if w, ok := want[r.Position]; !ok || !reflect.DeepEqual(r.Event, w) {
			t.Errorf("at %d:\n got %+v\nwant %+v", r.Position, r.Event, w)
		}
		if r.Stored.IsZero() {
			t.Errorf("at %d: no time", r.Position)
		}
	}
}

// conflict is the position that stands in the way; zero if that is not what err
// says.
func conflict(err error) (string, events.Position) {
	if conflict, ok := errors.AsType[*events.ConflictError](err); ok {
		return conflict.Subject, conflict.Last
	}
	return "", 0
}
