package sessions

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"curfew/events"
)

// snapshot is all that a registry knows, but for its position.
type snapshot struct {
	rows       map[events.SessionID]Row
	tombstones [4]map[Key][]Tombstone
}

func snapshotOf(r *Registry) snapshot {
	s := snapshot{rows: make(map[events.SessionID]Row)}
	for id := range r.rows.index {
		s.rows[id], _ = r.rows.get(id)
	}
	g := r.tombstones
	for i, index := range []map[Key][]Tombstone{g.bySid, g.bySub, g.bySubSid, g.byIssuer} {
		s.tombstones[i] = make(map[Key][]Tombstone, len(index))
		for key, list := range index {
			list = slices.Clone(list)
			slices.SortFunc(list, func(a, b Tombstone) int { return int(a.Position) - int(b.Position) })
			s.tombstones[i][key] = list
		}
	}
	return s
}

// differs names the first thing that two snapshots do not share.
func (s snapshot) differs(other snapshot) string {
	for id, row := range s.rows {
		if theirs, found := other.rows[id]; !found || theirs != row {
			return fmt.Sprintf("session %s: %+v, not %+v", id, row, theirs)
		}
	}
	if len(s.rows) != len(other.rows) {
		return fmt.Sprintf("%d sessions, not %d", len(s.rows), len(other.rows))
	}
	for i := range s.tombstones {
		if !maps.EqualFunc(s.tombstones[i], other.tombstones[i], slices.Equal) {
			return fmt.Sprintf("tombstones %d: %v, not %v", i, s.tombstones[i], other.tombstones[i])
		}
	}
	return ""
}

func expectSame(t testing.TB, what string, got, want *Registry) {
	t.Helper()
	if difference := snapshotOf(got).differs(snapshotOf(want)); difference != "" {
		t.Errorf("%s: %s", what, difference)
	}
}

// permutations calls yield with each order of records; yield must not keep it.
func permutations(records []events.Record, yield func([]events.Record)) {
	var permute func(int)
	permute = func(k int) {
		if k == len(records) {
			yield(records)
			return
		}
		for i := k; i < len(records); i++ {
			records[k], records[i] = records[i], records[k]
			permute(k + 1)
			records[k], records[i] = records[i], records[k]
		}
	}
	permute(0)
}

// small are histories short enough to be tried in every order.
func small() map[string][]events.Record {
	id := idOf(1)
	used := func(seconds float64) events.Fact { return events.Seen{Session: id, At: after(seconds)} }
	return map[string][]events.Record{
		"a life": {
			at(11, signIn(nil)), at(12, refreshed(id, after(600), true)), at(13, refreshed(id, after(900), false)),
			at(14, ended(id, events.SignedOut)), at(15, refreshed(id, after(1200), true)),
		},
		"used here and there": {
			at(11, signIn(nil)), at(12, used(50)), at(13, used(70)), at(14, used(60)), at(15, ended(id, events.Idle)),
		},
		"claimed again and again": {
			at(11, signIn(nil)), at(12, claimed(id, false, 0)), at(13, claimed(id, true, 1000)),
			at(14, refreshed(id, after(600), true)), at(15, claimed(id, false, 0)), at(16, used(90)),
		},
		"logged out before and after": {
			at(11, signIn(nil)), at(9, logout("s1", "", after(1))), at(12, logout("s1", alice, after(60))),
			at(13, logout("", alice, after(2))), at(14, logout("", alice, after(60))), at(15, refreshed(id, after(600), true)),
		},
		"logouts that outdo each other": {
			at(12, logout("", alice, after(60))), at(13, logout("", alice, after(50))), at(14, logout("", alice, time.Time{})),
			at(15, logout("s1", alice, after(10))), at(16, logout("s1", alice, after(5))), at(17, logout("s2", alice, after(90))),
		},
		"two sessions, one ended twice over": {
			at(11, signIn(nil)), at(12, signIn(func(f *events.Started) { f.Session, f.Secret, f.Sid = idOf(2), secretOf(2), "" })),
			at(13, ended(id, events.Backchannel)), at(14, logout("s1", alice, after(60))), at(15, ended(idOf(2), events.Backchannel)),
			at(16, events.LogoutReceived{Issuer: issuer, All: true, JTI: "all", Reason: events.Admin}),
		},
	}
}

func TestEveryOrderGivesTheSameRegistry(t *testing.T) {
	for name, history := range small() {
		t.Run(name, func(t *testing.T) {
			want := snapshotOf(registryOf(Policy{}, history...))
			permutations(history, func(order []events.Record) {
				if t.Failed() {
					return
				}
				once := registryOf(Policy{}, order...)
				if difference := snapshotOf(once).differs(want); difference != "" {
					t.Errorf("in the order %v: %s", positions(order), difference)
				}
				once.Apply(batchOf(order...))
				if difference := snapshotOf(once).differs(want); difference != "" {
					t.Errorf("in the order %v, twice: %s", positions(order), difference)
				}
			})
		})
	}
}

// Of each kind, the same record again changes nothing, right away or at the end.
func TestEachRecordTwice(t *testing.T) {
	for name, history := range small() {
		want := registryOf(Policy{}, history...)
		for _, again := range history {
			var stuttered []events.Record
			for _, record := range history {
				stuttered = append(stuttered, record)
				if record.Position == again.Position {
					stuttered = append(stuttered, record)
				}
			}
			expectSame(t, fmt.Sprintf("%s: %d at once", name, again.Position), registryOf(Policy{}, stuttered...), want)
			expectSame(t, fmt.Sprintf("%s: %d in the end", name, again.Position), registryOf(Policy{}, append(history, again)...), want)
		}
	}
}

// The log keeps the last message of each subject: what it then adds up to is no
// different.
func TestCompactionGivesTheSameRegistry(t *testing.T) {
	for name, history := range small() {
		full := registryOf(Policy{}, history...)
		expectSame(t, name, registryOf(Policy{}, compacted(history)...), full)
	}
}

// compacted is what the log keeps of records: of each subject the last.
func compacted(records []events.Record) []events.Record {
	last := make(map[string]events.Position)
	for _, record := range records {
		last[record.Fact.Subject()] = max(last[record.Fact.Subject()], record.Position)
	}
	return slices.DeleteFunc(slices.Clone(records), func(record events.Record) bool {
		return record.Position < last[record.Fact.Subject()]
	})
}

func positions(records []events.Record) []events.Position {
	var list []events.Position
	for _, record := range records {
		list = append(list, record.Position)
	}
	return list
}

// shuffled is records in an order of chance.
func shuffled(rng *rand.Rand, records []events.Record) []events.Record {
	order := slices.Clone(records)
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}
