package main

import (
	"slices"
	"sync"

	"curfew/events"
	"curfew/sessions"
	"curfew/store"
)

// rows opens what is sealed for sessions: from the store, and for those that the
// registry knows already and the store not yet, from the batch they came in.
// Between the two lies a commit, which nobody's request should wait for.
type rows struct {
	*store.Store
	sealer sessions.Sealer

	mu      sync.Mutex
	arrived map[events.SessionID]arrival
}

// arrival is the newest that came for a session.
type arrival struct {
	at     events.Position
	sealed events.Sealed
	// Where it is its start that came, as there.
	issuer, sid, sub string
}

func newRows(s *store.Store, sealer sessions.Sealer) *rows {
	return &rows{Store: s, sealer: sealer, arrived: make(map[events.SessionID]arrival)}
}

// arrive takes in what a batch brings, before the registry does.
func (r *rows) arrive(batch events.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range batch.Records {
		switch fact := record.Fact.(type) {
		case events.Started:
			r.keep(fact.Session, arrival{record.Position, fact.Sealed, fact.Issuer, fact.Sid, fact.Sub})
		case events.Refreshed:
			r.keep(fact.Session, arrival{at: record.Position, sealed: fact.Sealed})
		}
	}
}

// keep lets nothing older take the place of something newer, since records come
// again after a commit that was not taken, and forgets no names.
func (r *rows) keep(id events.SessionID, a arrival) {
	before := r.arrived[id]
	if before.at > a.at {
		before, a = a, before
	}
	if a.issuer == "" {
		a.issuer, a.sid, a.sub = before.issuer, before.sid, before.sub
	}
	r.arrived[id] = a
}

// settle forgets what has arrived, once the store has it.
func (r *rows) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.arrived)
}

// Private opens what is sealed for a session. It is never older than the row
// that the registry has.
func (r *rows) Private(id events.SessionID) (sessions.Private, error) {
	r.mu.Lock()
	newest, arrived := r.arrived[id]
	r.mu.Unlock()
	if arrived {
		return sessions.OpenPrivate(r.sealer, id, newest.sealed)
	}
	return r.Store.Private(id)
}

// Named lists the sessions with the names of a logout that this replica has
// received: those of its sid, and those of its sub, by which it finds the ones that
// have no sid.
func (r *rows) Named(t sessions.Tombstone) ([]events.SessionID, error) {
	var bySid, bySub []events.SessionID
	var err error
	if !t.Sid.IsZero() {
		bySid, err = r.BySid(t.Sid)
	}
	if err == nil && !t.Sub.IsZero() {
		bySub, err = r.BySub(t.Sub)
	}
	ids := slices.Concat(bySid, bySub)
	slices.SortFunc(ids, events.SessionID.Compare)
	return slices.Compact(ids), err
}

// OfSid lists the sessions of one of an OP's, and OfSub those of one of its users:
// all that the registry knows of, whether they are over or not.
func (r *rows) OfSid(issuer, sid string) ([]events.SessionID, error) {
	return r.of(r.BySid, r.Hasher().Sid(issuer, sid), func(a arrival) bool { return a.issuer == issuer && a.sid == sid })
}

// OfSub is described above.
func (r *rows) OfSub(issuer, sub string) ([]events.SessionID, error) {
	return r.of(r.BySub, r.Hasher().Sub(issuer, sub), func(a arrival) bool { return a.issuer == issuer && a.sub == sub })
}

// of looks through what the store may not have yet, and then asks the store:
// between the two, what was to come has come.
func (r *rows) of(
	find func(sessions.Key) ([]events.SessionID, error), key sessions.Key, is func(arrival) bool,
) (ids []events.SessionID, err error) {
	r.mu.Lock()
	for id, a := range r.arrived {
		if is(a) {
			ids = append(ids, id)
		}
	}
	r.mu.Unlock()
	found, err := find(key)
	if err != nil {
		return nil, err
	}
	for _, id := range found {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
