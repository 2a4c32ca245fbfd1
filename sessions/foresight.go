package sessions

import (
	"math"
	"slices"

	"curfew/events"
)

// foresight is what the log will say and does not say yet: ends that are
// certain, and that this replica must not wait for. A logout among them covers
// whatever has begun, since wherever in the log it will be is after that.
type foresight struct {
	byName map[Key][]foreseen         // logouts, by each name that they go by
	ended  map[events.SessionID]cause // sessions, by id
}

// foreseen is a logout that has no place in the log yet.
type foreseen struct {
	subject string // in the log, where it will be
	Tombstone
}

func newForesight() foresight {
	return foresight{byName: make(map[Key][]foreseen), ended: make(map[events.SessionID]cause)}
}

// names are the keys under which a session is found that the tombstone covers.
func (t Tombstone) names() []Key {
	switch {
	case t.NamesAll():
		return []Key{t.Issuer}
	case t.Sid.IsZero():
		return []Key{t.Sub}
	case t.Sub.IsZero():
		return []Key{t.Sid}
	default:
		return []Key{t.Sid, t.Sub}
	}
}

// bury adds a logout, unless it is there.
func (f *foresight) bury(l foreseen) {
	for _, name := range l.names() {
		if !slices.ContainsFunc(f.byName[name], l.same) {
			f.byName[name] = append(f.byName[name], l)
		}
	}
}

func (f *foresight) unbury(l foreseen) {
	for _, name := range l.names() {
		if rest := slices.DeleteFunc(f.byName[name], l.same); len(rest) > 0 {
			f.byName[name] = rest
		} else {
			delete(f.byName, name)
		}
	}
}

func (l foreseen) same(other foreseen) bool { return l.subject == other.subject }

// upon is a row as it will be.
func (f *foresight) upon(id events.SessionID, row Row) Row {
	if len(f.byName)+len(f.ended) == 0 || row.Ended != 0 {
		return row
	}
	if why, found := f.ended[id]; found {
		row.Ended, row.why = math.MaxUint64, why
		return row
	}
	for _, name := range [...]Key{row.Sid, row.Sub, row.Issuer} {
		for _, l := range f.byName[name] {
			if l.Covers(row) {
				row.Ended, row.why = math.MaxUint64, l.why
				return row
			}
		}
	}
	return row
}

// Foresee has an end that the log does not have yet take effect here: a
// LogoutReceived covers every session that has begun and every login that is
// finished before the log has it, an Ended ends its session. Other facts are
// not foreseen. It counts until the fact is applied, or Unforesee. Nothing of it
// is among the changes that Apply returns.
func (r *Registry) Foresee(fact events.Fact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch fact := fact.(type) {
	case events.Ended:
		r.foresight.ended[fact.Session] = causeOf(fact.Reason)
	case events.LogoutReceived:
		r.foresight.bury(r.foreseen(fact))
	}
}

// Foreseen returns why a session has ended here that has yet to end in the log,
// and false if it has not. The row is the session's, from Get.
func (r *Registry) Foreseen(id events.SessionID, row Row) (events.Reason, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ahead := r.foresight.upon(id, row)
	return ahead.Reason(), ahead.Ended != row.Ended
}

// Unforesee ends what Foresee began, for a fact that has been applied: here,
// perhaps, before it was foreseen.
func (r *Registry) Unforesee(fact events.Fact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fulfil(fact)
}

// fulfil forgets that a fact was foreseen, if it was.
func (r *Registry) fulfil(fact events.Fact) {
	if len(r.foresight.byName)+len(r.foresight.ended) == 0 {
		return
	}
	switch fact := fact.(type) {
	case events.Ended:
		delete(r.foresight.ended, fact.Session)
	case events.LogoutReceived:
		r.foresight.unbury(r.foreseen(fact))
	}
}

func (r *Registry) foreseen(f events.LogoutReceived) foreseen {
	record := events.Record{Position: math.MaxUint64}
	return foreseen{f.Subject(), r.Tombstone(record, f)}
}
