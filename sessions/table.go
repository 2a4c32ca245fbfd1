package sessions

import (
	"slices"

	"curfew/events"
)

// chunk is how many rows are allocated at a time. Rows never move, and growing
// costs no copy of what is there.
const chunk = 1024

// table is a map from session to Row in memory that the collector need not
// scan: Go's own map would keep a value of this size behind a pointer each.
type table struct {
	index  map[events.SessionID]uint32
	chunks []*[chunk]entry
	used   uint32   // rows handed out, ever
	free   []uint32 // those handed back
}

// entry is a row with its name; a zero name marks a free place.
type entry struct {
	id  events.SessionID
	row Row
}

func newTable() table { return table{index: make(map[events.SessionID]uint32)} }

func (t *table) get(id events.SessionID) (Row, bool) {
	i, found := t.index[id]
	if !found {
		return Row{}, false
	}
	return t.at(i).row, true
}

func (t *table) put(id events.SessionID, row Row) {
	i, found := t.index[id]
	if !found {
		i = t.take()
		t.index[id] = i
	}
	*t.at(i) = entry{id, row}
}

func (t *table) drop(id events.SessionID) {
	i, found := t.index[id]
	if !found {
		return
	}
	delete(t.index, id)
	*t.at(i) = entry{}
	t.free = append(t.free, i)
}

func (t *table) len() int { return len(t.index) }

func (t *table) at(i uint32) *entry { return &t.chunks[i/chunk][i%chunk] }

func (t *table) take() uint32 {
	if last := len(t.free) - 1; last >= 0 {
		i := t.free[last]
		t.free = t.free[:last]
		return i
	}
	if t.used%chunk == 0 {
		t.chunks = append(t.chunks, new([chunk]entry))
	}
	t.used++
	return t.used - 1
}

// graveyard finds the tombstones that may cover a session, by the keys they
// name.
type graveyard struct {
	bySid    map[Key][]Tombstone // those that name a sid
	bySub    map[Key][]Tombstone // those that name a sub alone
	bySubSid map[Key][]Tombstone // those that name both, for sessions without sid
	byIssuer map[Key][]Tombstone // those that name neither
}

func newGraveyard() graveyard {
	return graveyard{
		bySid:    make(map[Key][]Tombstone),
		bySub:    make(map[Key][]Tombstone),
		bySubSid: make(map[Key][]Tombstone),
		byIssuer: make(map[Key][]Tombstone),
	}
}

func (g *graveyard) add(t Tombstone) {
	switch {
	case t.NamesAll():
		addTo(g.byIssuer, t.Issuer, t)
	case t.Sid.IsZero():
		addTo(g.bySub, t.Sub, t)
	default:
		addTo(g.bySid, t.Sid, t)
		if !t.Sub.IsZero() {
			// To sessions without sid it is all the same which sid it names.
			// Without it, only the latest of a user's many need be kept.
			t.Sid = Key{}
			addTo(g.bySubSid, t.Sub, t)
		}
	}
}

// addTo keeps a list short: a tombstone that another outdoes is not kept.
func addTo(index map[Key][]Tombstone, key Key, t Tombstone) {
	list := index[key]
	if slices.ContainsFunc(list, func(old Tombstone) bool { return old.outdoes(t) }) {
		return
	}
	list = slices.DeleteFunc(list, t.outdoes)
	index[key] = append(list, t)
}

func (g *graveyard) cover(r Row) bool {
	_, covered := g.covering(r)
	return covered
}

// covering finds the earliest tombstone that covers r among those kept.
func (g *graveyard) covering(r Row) (first Tombstone, found bool) {
	consider := func(candidates []Tombstone) {
		for _, t := range candidates {
			if t.Covers(r) && (!found || t.Position < first.Position) {
				first, found = t, true
			}
		}
	}
	consider(g.byIssuer[r.Issuer])
	consider(g.bySub[r.Sub])
	if r.Sid.IsZero() {
		consider(g.bySubSid[r.Sub])
	} else {
		consider(g.bySid[r.Sid])
	}
	return first, found
}

// drop forgets the tombstones of which gone is true.
func (g *graveyard) drop(gone func(Tombstone) bool) {
	for _, index := range []map[Key][]Tombstone{g.bySid, g.bySub, g.bySubSid, g.byIssuer} {
		for key, list := range index {
			list = slices.DeleteFunc(list, gone)
			if len(list) == 0 {
				delete(index, key)
			} else {
				index[key] = list
			}
		}
	}
}
