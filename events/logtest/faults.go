package logtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"curfew/events"
)

// insist appends until the log answers.
func insist(t *testing.T, log events.Log, event events.Event, when events.Condition) events.Position {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		position, err := log.Append(t.Context(), event, when)
		if err == nil {
			return position
		}
		if !errors.Is(err, events.ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("the log does not come back: %v", err)
		}
	}
}

// testAnswerLost has an event taken that nobody was told of: appended again, it
// is found, and taken once.
func testAnswerLost(t *testing.T, f Faulty) {
	for _, tt := range again {
		e, when, last := tt.prepare(t, f.Log)
		want := last + 1
		f.LoseAnswer()
		if position, err := f.Log.Append(t.Context(), e, when); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("%s: %d, %v; want unavailable", tt.name, position, err)
		}
		if position := insist(t, f.Log, e, when); position != want {
			t.Errorf("%s: %d the second time, want %d", tt.name, position, want)
		}
		if got := status(t, f.Log).Last; got != want {
			t.Errorf("%s: the log goes to %d, want %d", tt.name, got, want)
		}
	}
}

// testNotTaken is the other of the pair: nothing is kept back and sent later.
func testNotTaken(t *testing.T, f Faulty) {
	f.Stop()
	e := logout("1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 3 {
		if _, err := f.Log.Append(ctx, e, events.IfFirst()); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("Append: %v", err)
		}
		if _, err := f.Log.Status(ctx); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("Status: %v", err)
		}
	}
	if ctx.Err() != nil {
		t.Error("a log that is away took long to say so")
	}
	f.Start()
	if position := insist(t, f.Log, logout("2"), events.IfFirst()); position != 1 {
		t.Errorf("the first event is at %d", position)
	}
	if position := insist(t, f.Log, e, events.IfFirst()); position != 2 {
		t.Errorf("the second event is at %d", position)
	}
}

// testAway has a follower go on where it was when the log comes back, which is
// the one it was.
func testAway(t *testing.T, f Faulty) {
	want := make(map[events.Position]events.Event)
	var records []events.Record
	follower := follow(t, f.Log, events.Mark{})
	var log events.LogID
	for round := range 3 {
		for i := range 5 {
			e := logout(fmt.Sprint(round, i))
			want[insist(t, f.Log, e, events.IfFirst())] = e
		}
		more, batch := follower.to(t, events.Position(5*(round+1)))
		records = append(records, more...)
		if log == (events.LogID{}) {
			log = batch.Log
		}
		if batch.Log != log {
			t.Errorf("the log is %s, was %s", batch.Log, log)
		}
		f.Stop()
		f.Start()
	}
	expect(t, records, want)
}

// testWiped loses the log under a follower.
func testWiped(t *testing.T, f Faulty) {
	insist(t, f.Log, alive("a"), events.Always())
	was := status(t, f.Log)
	follower := follow(t, f.Log, events.Mark{})
	follower.to(t, 1)
	f.Wipe()
	lost, ok := errors.AsType[*events.LostError](follower.end(t))
	if !ok || lost.Want != (events.Mark{Log: was.ID, At: 1}) || lost.Have.ID == was.ID || !lost.Have.Created.After(was.Created) {
		t.Errorf("got %+v", lost)
	}
	if position := insist(t, f.Log, alive("b"), events.Always()); position != 1 {
		t.Errorf("the first event of the new log is at %d", position)
	}
}

// testWipedAway loses the log while nobody is there, and makes it longer than
// it was.
func testWipedAway(t *testing.T, f Faulty) {
	insist(t, f.Log, alive("a"), events.Always())
	mark := events.Mark{Log: status(t, f.Log).ID, At: 1}
	f.Wipe()
	for range 3 {
		insist(t, f.Log, alive("b"), events.Always())
	}
	records, err := follow(t, f.Log, mark).rest(t)
	if _, ok := errors.AsType[*events.LostError](err); !ok || len(records) > 0 {
		t.Errorf("got %d records, %v", len(records), err)
	}
}
