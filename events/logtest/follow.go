package logtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"curfew/events"
)

func testResume(t *testing.T, h Harness) {
	want := make(map[events.Position]events.Event)
	for i := range 5 {
		e := logout(fmt.Sprint(i))
		want[add(t, h.Log, e, events.IfFirst())] = e
	}
	log := status(t, h.Log).ID
	for after := range events.Position(5) {
		f := follow(t, h.Log, events.Mark{Log: log, At: after})
		records, batch := f.to(t, 5)
		f.stop()
		expect(t, records, want)
		delete(want, after+1)
		if batch.Log != log {
			t.Errorf("after %d: log %s, want %s", after, batch.Log, log)
		}
	}
}

// testWhileAppending follows a log that grows, and whose older events go: each
// event is handed over at most once, in order, and those that stay are.
func testWhileAppending(t *testing.T, h Harness) {
	const n = 2000
	f := follow(t, h.Log, events.Mark{})
	appended := make(chan error, 1)
	go func() {
		for i := range n {
			e := logout(fmt.Sprint(i))
			if i%2 == 1 {
				e = alive("a")
			}
			if _, err := h.Log.Append(t.Context(), e, events.Always()); err != nil {
				appended <- err
				return
			}
		}
		appended <- nil
	}()
	records, _ := f.to(t, n)
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	var logouts int
	var last events.Position
	for _, r := range records {
		if r.Position <= last {
			t.Fatalf("position %d after %d", r.Position, last)
		}
		last = r.Position
		if _, ok := r.Fact.(events.LogoutReceived); ok {
			logouts++
		}
	}
	if logouts != n/2 {
		t.Errorf("%d logouts came, want %d", logouts, n/2)
	}
}

// testCaughtUp has the follower told when it has come to the end, also when
// there is nothing for it.
func testCaughtUp(t *testing.T, h Harness) {
	log := status(t, h.Log).ID
	f := follow(t, h.Log, events.Mark{})
	for last := range events.Position(3) {
		if b := f.next(t); b.Position != last || b.Last != last || b.Log != log || len(b.Records) != int(min(last, 1)) {
			t.Errorf("at %d: batch of %d to %d of %d", last, len(b.Records), b.Position, b.Last)
		}
		add(t, h.Log, alive("a"), events.Always())
	}
	f.next(t)
	late := follow(t, h.Log, events.Mark{Log: log, At: 3})
	if b := late.next(t); b.Position != 3 || b.Last != 3 || len(b.Records) != 0 {
		t.Errorf("at the end: batch of %d to %d of %d", len(b.Records), b.Position, b.Last)
	}
	behind := follow(t, h.Log, events.Mark{Log: log, At: 1})
	if records, b := behind.to(t, 3); b.Last != 3 || len(records) != 1 {
		t.Errorf("from behind: %d records to %d of %d", len(records), b.Position, b.Last)
	}
}

func testFollowersEnd(t *testing.T, h Harness) {
	add(t, h.Log, alive("a"), events.Always())
	f := follow(t, h.Log, events.Mark{})
	f.to(t, 1)
	f.stop()
	if err := f.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	stop := errors.New("enough")
	err := h.Log.Follow(t.Context(), events.Mark{}, func(events.Batch) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("apply's error: %v", err)
	}
}

func testLost(t *testing.T, h Harness) {
	add(t, h.Log, alive("a"), events.Always())
	have := status(t, h.Log)
	for name, mark := range map[string]events.Mark{
		"another log":           {Log: events.LogID{1}, At: 1},
		"another log's start":   {Log: events.LogID{1}},
		"no log and a position": {At: 1},
		"beyond the end":        {Log: have.ID, At: 2},
	} {
		err := follow(t, h.Log, mark).end(t)
		if lost, ok := errors.AsType[*events.LostError](err); !ok || lost.Want != mark || lost.Have != have {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// strange is a message of a kind that is none of ours.
func strange(t *testing.T, kind, subject string) events.Message {
	message, err := events.Encode(alive("a"))
	if err != nil {
		t.Fatal(err)
	}
	message.Subject = subject
	message.Header["ce-type"] = []string{kind}
	message.Header["ce-id"] = []string{events.NewID()}
	return message
}

// testUnknownKind has a follower step over what it may, and stop at what it may
// not.
func testUnknownKind(t *testing.T, h Harness) {
	f := follow(t, h.Log, events.Mark{})
	f.next(t)
	h.Put(strange(t, "curfew.replica.moved.v1", "curfew.replica.a.moved"))
	if records, b := f.to(t, 1); len(records) != 0 || b.Position != 1 || b.Last != 1 || b.Stored.IsZero() {
		t.Errorf("alone: %d records to %d of %d, want 0 to 1 of 1", len(records), b.Position, b.Last)
	}
	e := alive("a")
	add(t, h.Log, e, events.Always())
	records, b := f.to(t, 2)
	expect(t, records, map[events.Position]events.Event{2: e})
	if len(records) == 1 && !b.Stored.Equal(records[0].Stored) {
		t.Errorf("the batch was stored at %s, its last record at %s", b.Stored, records[0].Stored)
	}
	h.Put(strange(t, "curfew.replica.alive.v2", "curfew.replica.b.alive"))
	err := f.end(t)
	unreadable, _ := errors.AsType[*events.UnreadableError](err)
	if _, ok := errors.AsType[*events.UnknownTypeError](err); !ok || unreadable == nil || unreadable.At != 3 {
		t.Errorf("the follower went over another major version: %v", err)
	}
}

// testBrokenBody has a follower hand over what is before a body that does not
// decode, and go no further.
func testBrokenBody(t *testing.T, h Harness) {
	e := alive("a")
	add(t, h.Log, e, events.Always())
	broken := strange(t, "curfew.replica.alive.v1", "curfew.replica.b.alive")
	broken.Body = []byte(`{"replica":`)
	h.Put(broken)
	add(t, h.Log, alive("c"), events.Always())
	for range 2 { // and so again, after a restart
		records, err := follow(t, h.Log, events.Mark{}).rest(t)
		if unreadable, ok := errors.AsType[*events.UnreadableError](err); !ok || unreadable.At != 2 || errors.Is(err, events.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		expect(t, records, map[events.Position]events.Event{1: e})
	}
}
