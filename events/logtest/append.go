package logtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"curfew/events"
)

func testOrder(t *testing.T, h Harness) {
	id := events.NewSessionID()
	want := make(map[events.Position]events.Event)
	for i, e := range []events.Event{logout("1"), started(id), alive("a"), ended(id), logout("2")} {
		at := add(t, h.Log, e, events.Always())
		if want[at] = e; at != events.Position(i+1) {
			t.Errorf("append %d is at %d", i+1, at)
		}
	}
	expect(t, all(t, h.Log), want)
}

// testSuperseded leaves gaps where a subject has been said anew. A copy of the log
// that is asked while it falls behind may still have what was said before; the
// newest it has, and nothing else.
func testSuperseded(t *testing.T, h Harness) {
	id := events.NewSessionID()
	said := []events.Event{alive("a"), started(id), refreshed(id), alive("a"), refreshed(id), alive("a")}
	for i, e := range said {
		when := events.Always()
		switch e.Fact.(type) {
		case events.Started:
			when = events.IfFirst()
		case events.Refreshed:
			when = events.IfLast([]events.Position{2: 2, 4: 3}[i])
		}
		add(t, h.Log, e, when)
	}
	want := map[events.Position]events.Event{2: said[1], 5: said[4], 6: said[5]}
	got := all(t, h.Log)
	for _, r := range got {
		if _, newest := want[r.Position]; h.Lags && !newest && r.Position <= events.Position(len(said)) {
			want[r.Position] = said[r.Position-1]
		}
	}
	expect(t, got, want)
	if s := status(t, h.Log); s.First != 2 || s.Last != 6 {
		t.Errorf("status is %d to %d, want 2 to 6", s.First, s.Last)
	}
}

func testConditions(t *testing.T, h Harness) {
	one, two := events.NewSessionID(), events.NewSessionID()
	tests := []struct {
		name     string
		event    events.Event
		when     events.Condition
		position events.Position // 0: refused
		scope    string
		last     events.Position
	}{
		{"IfLast(1) of nothing", refreshed(one), events.IfLast(1), 0, events.SessionScope(one), 0},
		{"IfLast(0) of nothing", started(one), events.IfLast(0), 1, "", 0},
		{"IfFirst on another subject", ended(one), events.IfFirst(), 2, "", 0},
		{"IfFirst on its subject", ended(one), events.IfFirst(), 0, ended(one).Fact.Subject(), 2},
		{"IfLast(0) of another session", started(two), events.IfLast(0), 3, "", 0},
		{"IfLast(0) of something", refreshed(one), events.IfLast(0), 0, events.SessionScope(one), 2},
		{"IfLast of one before", refreshed(one), events.IfLast(1), 0, events.SessionScope(one), 2},
		{"IfLast of another session's", refreshed(one), events.IfLast(3), 0, events.SessionScope(one), 2},
		{"IfLast of the last", refreshed(one), events.IfLast(2), 4, "", 0},
		{"IfLast of what was the last", refreshed(one), events.IfLast(2), 0, events.SessionScope(one), 4},
		{"IfLast again", refreshed(one), events.IfLast(4), 5, "", 0},
		{"IfFirst of a logout", logout("1"), events.IfFirst(), 6, "", 0},
		{"IfFirst of the same logout", logout("1"), events.IfFirst(), 0, logout("1").Fact.Subject(), 6},
		{"Always on a subject that has one", alive("a"), events.Always(), 7, "", 0},
		{"Always again", alive("a"), events.Always(), 8, "", 0},
		{"IfLast of a heartbeat", alive("a"), events.IfLast(8), 9, "", 0},
		{"IfLast of one before it", alive("a"), events.IfLast(8), 0, alive("a").Fact.Subject(), 9},
		{"IfLast of another's", alive("b"), events.IfLast(9), 0, alive("b").Fact.Subject(), 0},
		{"IfLast of none there", alive("b"), events.IfLast(0), 10, "", 0},
	}
	for _, tt := range tests {
		position, err := h.Log.Append(t.Context(), tt.event, tt.when)
		if scope, last := conflict(err); position != tt.position || scope != tt.scope || last != tt.last || (err == nil) != (position > 0) {
			t.Errorf("%s: %d, %v; want %d, conflict on %q at %d", tt.name, position, err, tt.position, tt.scope, tt.last)
		}
	}
}

// again is one append under each condition, with what the session has behind it.
var again = []attempt{
	{"Always", nil, started, events.Always()},
	{"IfFirst", nil, started, events.IfFirst()},
	{"IfLast of none", nil, started, events.IfLast(0)},
	{"IfLast of one", []maker{started}, refreshed, ifLast},
	{"IfFirst after others", []maker{started, refreshed}, ended, events.IfFirst()},
}

type maker func(events.SessionID) events.Event

type attempt struct {
	name   string
	before []maker
	event  maker
	when   events.Condition
}

// ifLast stands for IfLast of the position that the log has come to.
var ifLast = events.IfLast(1 << 60)

// prepare appends what is before, and returns what to append and where the log
// stands.
func (a attempt) prepare(t *testing.T, log events.Log) (events.Event, events.Condition, events.Position) {
	t.Helper()
	id := events.NewSessionID()
	for _, event := range a.before {
		insist(t, log, event(id), events.Always())
	}
	last := status(t, log).Last
	if a.when == ifLast {
		return a.event(id), events.IfLast(last), last
	}
	return a.event(id), a.when, last
}

// testAgain has an event that is appended once more found where it is, also
// when its session has moved on.
func testAgain(t *testing.T, h Harness) {
	for _, tt := range again {
		e, when, last := tt.prepare(t, h.Log)
		want := last + 1
		for i := range 3 {
			if got := add(t, h.Log, e, when); got != want {
				t.Errorf("%s: %d at try %d, want %d", tt.name, got, i, want)
			}
			add(t, h.Log, event(events.Seen{Session: sessionOf(e.Fact), At: epoch}), events.Always())
			if got := status(t, h.Log).Last; got != want+events.Position(i)+1 {
				t.Errorf("%s: the log goes to %d after try %d", tt.name, got, i)
			}
		}
	}
}

func sessionOf(fact events.Fact) events.SessionID {
	switch fact := fact.(type) {
	case events.Started:
		return fact.Session
	case events.Refreshed:
		return fact.Session
	case events.Ended:
		return fact.Session
	}
	return events.SessionID{}
}

// testAgainSuperseded has the event gone: that it was taken can't be seen, and
// it must not be taken for the one in its place, or taken anew.
func testAgainSuperseded(t *testing.T, h Harness) {
	id := events.NewSessionID()
	at := add(t, h.Log, started(id), events.IfFirst())
	first := refreshed(id)
	before := at
	at = add(t, h.Log, first, events.IfLast(before))
	at = add(t, h.Log, refreshed(id), events.IfLast(at))
	_, err := h.Log.Append(t.Context(), first, events.IfLast(before))
	if _, last := conflict(err); last != at {
		t.Errorf("got %v, want a conflict at %d", err, at)
	}
}

// testOneWinner has many append under a condition that can hold for one.
func testOneWinner(t *testing.T, h Harness) {
	id := events.NewSessionID()
	start := add(t, h.Log, started(id), events.IfFirst())
	for _, tt := range []struct {
		name  string
		event func(events.SessionID) events.Event
		when  events.Condition
	}{
		{"IfLast", refreshed, events.IfLast(start)},
		{"IfFirst", ended, events.IfFirst()},
	} {
		const writers = 8
		won, lost := make(chan events.Position, writers), make(chan events.Position, writers)
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				position, err := h.Log.Append(t.Context(), tt.event(id), tt.when)
				if _, last := conflict(err); err != nil && last != 0 {
					lost <- last
				} else if err != nil {
					t.Errorf("%s: %v", tt.name, err)
				} else {
					won <- position
				}
			})
		}
		group.Wait()
		if len(won) != 1 || len(lost) != writers-1 {
			t.Fatalf("%s: %d won and %d lost, want 1 and %d", tt.name, len(won), len(lost), writers-1)
		}
		for winner := <-won; len(lost) > 0; {
			if got := <-lost; got != winner {
				t.Errorf("%s: a conflict at %d, want %d", tt.name, got, winner)
			}
		}
	}
}

func testRefused(t *testing.T, h Harness) {
	for name, e := range map[string]events.Event{
		"no fact":            {ID: "1", Source: "/curfew/r", Time: epoch},
		"no id":              {Source: "/curfew/r", Time: epoch, Fact: alive("a").Fact},
		"what a fact lacks":  event(events.Alive{Replica: "a"}),
		"a name with a dot":  alive("a.b"),
		"a wildcard as name": alive("*"),
	} {
		_, err := h.Log.Append(t.Context(), e, events.Always())
		if err == nil || errors.Is(err, events.ErrUnavailable) {
			t.Errorf("%s: got %v, want a refusal for good", name, err)
		}
	}
	if last := status(t, h.Log).Last; last != 0 {
		t.Errorf("the log goes to %d", last)
	}
}

func testGivenUp(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Log.Append(ctx, logout("1"), events.IfFirst()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
	if _, err := h.Log.Status(ctx); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Status: %v", err)
	}
	add(t, h.Log, logout("2"), events.IfFirst()) // that one caller gave up is nothing to others
}

func testStatus(t *testing.T, h Harness) {
	empty := status(t, h.Log)
	if empty.First != 1 || empty.Last != 0 || empty.ID == (events.LogID{}) || empty.Created.IsZero() {
		t.Errorf("an empty log is %+v", empty)
	}
	for i := range events.Position(100) {
		add(t, h.Log, alive("a"), events.Always())
		want := events.Status{ID: empty.ID, Created: empty.Created, First: i + 1, Last: i + 1}
		if got := status(t, h.Log); got != want {
			t.Fatalf("status is %+v, want %+v", got, want)
		}
	}
}
