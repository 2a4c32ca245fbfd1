package store

import (
	"testing"

	"curfew/events"
	"curfew/sessions"
)

// What is owed while commits fail is applied again and again: it is kept once.
func TestOwedDoesNotGrow(t *testing.T) {
	id := events.SessionID{1}
	var owed batch
	for round := range 100 {
		owed.add([]sessions.Change{
			{Session: id, Row: sessions.Row{Started: 1, Used: events.Position(round)}},
			{Tombstone: &sessions.Tombstone{Position: 2}},
			{Tombstone: &sessions.Tombstone{Position: 3}},
			{Member: &sessions.Member{Instance: "b", Heard: events.Position(2 * round)}},
			{Member: &sessions.Member{Instance: "c", Heard: events.Position(2*round + 1)}},
		})
		owed.settle()
	}
	if len(owed.rows) != 1 || owed.rows[0].Row.Used != 99 {
		t.Errorf("rows are %+v, want the last", owed.rows)
	}
	if len(owed.tombstones) != 2 || owed.tombstones[0].Position != 2 || owed.tombstones[1].Position != 3 {
		t.Errorf("tombstones are %+v, want one at 2 and one at 3", owed.tombstones)
	}
	if len(owed.members) != 2 || owed.members[0].Heard != 198 || owed.members[1].Heard != 199 {
		t.Errorf("members are %+v, want the newest of each", owed.members)
	}
}
