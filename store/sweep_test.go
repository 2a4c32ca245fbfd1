package store

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// TestSweep lets a registry decide and the store follow, and wants what a store
// has that never knew what was dropped.
func TestSweep(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 2, 120)
	s := h.open()
	registry := p.fill(s, 30)
	for _, after := range []time.Duration{time.Hour, 4 * time.Hour, 8 * time.Hour, 1000 * time.Hour} {
		swept := registry.Sweep(sessions.InstantOf(pastTime.Add(after)))
		for range 2 { // the second finds nothing to do
			if err := s.Sweep(swept); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		left := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
		tombstones := 0
		err := s.Load(func(c sessions.Change) {
			left.Load(c)
			if c.Tombstone != nil {
				tombstones++
				if swept.Covers(*c.Tombstone) {
					t.Errorf("tombstone %d is left", c.Tombstone.Position)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if left.Len() != registry.Len() {
			t.Errorf("%d sessions are left, want %d", left.Len(), registry.Len())
		}
		for _, id := range swept.Sessions {
			if _, err := s.Sealed(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("session %s: %v", id, err)
			}
			login := p.logins[id]
			if named, err := s.BySub(s.Hasher().Sub(login.Issuer, login.Sub)); err != nil || slices.Contains(named, id) {
				t.Errorf("session %s is listed: %v", id, err)
			}
		}
		t.Logf("after %v: %d sessions, %d tombstones", after, left.Len(), tombstones)
	}
	if s.Mark() != p.end() {
		t.Errorf("mark %v, want %v", s.Mark(), p.end())
	}
	if all, err := s.All(events.SessionID{}, 10); len(all) != 0 || err != nil {
		t.Errorf("%v, %v are left of all", all, err)
	}
	digest := digestOf(t, s)
	h.close(s)
	h.restart()
	if again := h.open(); digestOf(t, again) != digest || len(h.aside()) != 0 {
		t.Error("what was swept is not what is there after a restart")
	}
}

func TestSweepKeepsTombstonesThatMatter(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	var made []sessions.Change
	for i := range 10 {
		made = append(made, sessions.Change{Tombstone: &sessions.Tombstone{
			Position: events.Position(i + 1), Issuer: sessions.Key{1}, Stored: sessions.Instant(100 - i),
		}})
	}
	if err := s.Commit(made, events.Mark{At: 10}); err != nil {
		t.Fatal(err)
	}
	left := func() (at []events.Position) {
		for _, c := range changes(t, s) {
			at = append(at, c.Tombstone.Position)
		}
		return at
	}
	for _, test := range []struct {
		swept sessions.Swept
		want  []events.Position
	}{
		{sessions.Swept{Before: 91, Oldest: math.MaxUint64}, []events.Position{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{sessions.Swept{Before: 93, Oldest: 9}, []events.Position{1, 2, 3, 4, 5, 6, 7, 8, 10}},
		{sessions.Swept{Before: 1000, Oldest: 3}, []events.Position{4, 5, 6, 7, 8, 10}},
		{sessions.Swept{Before: 1000, Oldest: math.MaxUint64}, nil},
	} {
		if err := s.Sweep(test.swept); err != nil {
			t.Fatal(err)
		}
		if got := left(); !slices.Equal(got, test.want) {
			t.Errorf("%+v: left %v, want %v", test.swept, got, test.want)
		}
	}
}

func TestMembers(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	const hour = sessions.Instant(time.Hour / time.Millisecond)
	at := events.Position(0)
	hear := func(instance string, heard events.Position, stored sessions.Instant) {
		t.Helper()
		at++
		m := sessions.Member{Replica: "a", Instance: instance, Heard: heard, Lease: 15 * time.Second, Stored: stored}
		if err := s.Commit([]sessions.Change{{Member: &m}}, events.Mark{At: at}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want string) {
		t.Helper()
		got := ""
		for _, c := range changes(t, s) {
			got += fmt.Sprintf("%s %d, ", c.Member.Instance, c.Member.Heard)
		}
		if got != want {
			t.Errorf("got %s want %s", got, want)
		}
	}
	hear("x", 5, hour)
	hear("y", 7, hour)
	hear("x", 4, hour) // again, late
	want("x 5, y 7, ")
	hear("x", 9, 2*hour)
	want("x 9, y 7, ")
	hear("z", 11, 2*hour+hour/3) // a lease of 15 s a hundred times, and an hour, are 85 minutes
	want("x 9, y 7, z 11, ")
	hear("z", 12, 5*hour)
	want("z 12, ")
	h.close(s)
	s = h.open()
	want("z 12, ")
}

func TestAll(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 4, 50)
	s := h.open()
	p.fill(s, 10)
	want := slices.SortedFunc(slices.Values(p.started), events.SessionID.Compare)
	for _, limit := range []int{1, 7, 50, 1000} {
		var got []events.SessionID
		for after := (events.SessionID{}); ; after = got[len(got)-1] {
			ids, err := s.All(after, limit)
			if err != nil || len(ids) > limit {
				t.Fatalf("%d ids of %d: %v", len(ids), limit, err)
			}
			if len(ids) == 0 {
				break
			}
			got = append(got, ids...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d at a time: got %d, want %d", limit, len(got), len(want))
		}
	}
	if ids, err := s.All(events.SessionID{}, 0); len(ids) != 0 || err != nil {
		t.Errorf("none asked for: %v, %v", ids, err)
	}
}

func TestPrivate(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 4, 50)
	s := h.open()
	p.fill(s, 10)
	for _, id := range p.started {
		private, err := s.Private(id)
		login := p.logins[id]
		if err != nil || private.Session != id || private.Sub != login.Sub || private.Sid != login.Sid {
			t.Fatalf("session %s: %+v, %v", id, private, err)
		}
		var newest events.Sealed
		for _, r := range p.records {
			switch f := r.Fact.(type) {
			case events.Started:
				if f.Session == id {
					newest = f.Sealed
				}
			case events.Refreshed:
				if f.Session == id {
					newest = f.Sealed
				}
			}
		}
		if sealed, err := s.Sealed(id); err != nil || sealed != newest {
			t.Errorf("session %s: the token is not the newest: %v", id, err)
		}
	}
	if _, err := s.Private(events.NewSessionID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("no session: %v", err)
	}
	ended := events.NewSessionID()
	err := s.Commit([]sessions.Change{{Session: ended, Row: sessions.Row{Ended: 3}}}, p.end())
	if _, found := s.Sealed(ended); err != nil || !errors.Is(found, ErrNotFound) {
		t.Errorf("a session without a token: %v, %v", err, found)
	}
}
