package sessions

import (
	"context"
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"curfew/events"
)

// Verdict is how a session stands.
type Verdict uint8

// The verdicts. The zero value is Unknown, which lets nobody in.
const (
	// Unknown: there is no such session, or the secret is not its secret.
	Unknown Verdict = iota
	// Alive: the session stands.
	Alive
	// Ended: somebody ended it.
	Ended
	// Expired: its time was up.
	Expired
	// Idle: nobody used it for too long.
	Idle
)

// Registry is what the log adds up to, in memory: each session's Row and the
// tombstones. It answers whether a session stands, without I/O. All its methods
// may be called at once from many goroutines; Apply from one at a time.
type Registry struct {
	policy Policy

	mu         sync.RWMutex
	hasher     Hasher
	issuers    []Key // those of the policy
	rows       table
	tombstones graveyard
	foresight  foresight
	log        events.LogID
	applied    events.Position
	level      events.Position // where the log was last seen to end
	whole      bool            // the log was seen to end, if with nothing in it
	members    []Member        // those in the newest batch
	moved      chan struct{}   // closed, and replaced, when applied moves
}

// NewRegistry returns an empty registry.
func NewRegistry(hasher Hasher, policy Policy) *Registry {
	return &Registry{
		hasher:     hasher,
		issuers:    policy.issuers(hasher),
		policy:     policy,
		rows:       newTable(),
		tombstones: newGraveyard(),
		foresight:  newForesight(),
		moved:      make(chan struct{}),
	}
}

// Change is what one record changed, for a store to keep. At most one of
// Session, Tombstone and Member is set.
type Change struct {
	// Session is whose Row it is, as it now stands.
	Session events.SessionID
	Row     Row
	// Sealed is the session's new sealed token; empty if it stays as it is.
	Sealed events.Sealed

	Tombstone *Tombstone
	Member    *Member
}

// Apply folds a batch into the registry and returns what changed, in order.
// When it returns, every session that the batch ends is refused. Applying
// records again, or in another order, gives the same registry; the position
// never goes back. The caller tells its Fleet of the members among the changes
// before it applies the next batch.
func (r *Registry) Apply(batch events.Batch) []Change {
	changes := make([]Change, 0, len(batch.Records))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = r.members[:0]
	if r.log != (events.LogID{}) && batch.Log != r.log {
		r.rows, r.tombstones = newTable(), newGraveyard()
	}
	for _, record := range batch.Records {
		change, changed := r.apply(batch.Log, record)
		if !changed {
			continue
		}
		changes = append(changes, change)
		if change.Member != nil {
			r.members = append(r.members, *change.Member)
		}
	}
	var level events.Position
	whole := batch.Position >= batch.Last
	if whole {
		level = batch.Position
	}
	r.advance(batch.Log, batch.Position, level, whole)
	return changes
}

func (r *Registry) apply(log events.LogID, record events.Record) (Change, bool) {
	r.fulfil(record.Fact)
	switch fact := record.Fact.(type) {
	case events.Started:
		return r.start(record.Position, fact)
	case events.Refreshed:
		return r.refresh(record.Position, fact)
	case events.Claimed:
		return r.claim(record, fact)
	case events.Seen:
		return r.see(record, fact)
	case events.Ended:
		return r.end(record.Position, fact)
	case events.LogoutReceived:
		return r.bury(r.Tombstone(record, fact))
	case events.Alive, events.Left:
		member := memberOf(log, record)
		return Change{Member: &member}, true
	default:
		return Change{}, false
	}
}

func (r *Registry) start(at events.Position, f events.Started) (Change, bool) {
	row, _ := r.rows.get(f.Session)
	if row.Started != 0 {
		return Change{}, false
	}
	row.Started = at
	row.Secret = f.Secret
	row.Issuer = r.hasher.Issuer(f.Issuer)
	row.Sid = r.hasher.Sid(f.Issuer, f.Sid)
	row.Sub = r.hasher.Sub(f.Issuer, f.Sub)
	row.Begun = f.Begun
	row.Authenticated = authenticated(f)
	row.At = InstantOf(f.At)
	row.Expires = InstantOf(f.Expires)
	change := Change{Session: f.Session}
	if row.Sealed < at {
		row.Sealed, row.Renewed = at, row.At
		row.Access, row.Renewable = InstantOf(f.Access), f.Renewable
		change.Sealed = f.Sealed
	}
	return r.put(change, row), true
}

func (r *Registry) refresh(at events.Position, f events.Refreshed) (Change, bool) {
	row, _ := r.rows.get(f.Session)
	if row.Sealed >= at {
		return Change{}, false
	}
	row.Sealed, row.Renewed = at, InstantOf(f.At)
	row.Access, row.Renewable = InstantOf(f.Access), f.Renewable
	return r.put(Change{Session: f.Session, Sealed: f.Sealed}, row), true
}

// see takes the use that is latest in the log, not the latest use: of two that
// were written in the wrong order, the log keeps only the one it took last. It
// counts from when the log took it, since the clock of whoever wrote it may be
// wrong, and would end the session at all the others.
func (r *Registry) see(record events.Record, f events.Seen) (Change, bool) {
	row, _ := r.rows.get(f.Session)
	if row.Used >= record.Position {
		return Change{}, false
	}
	row.Used, row.Seen = record.Position, InstantOf(record.Stored)
	return r.put(Change{Session: f.Session}, row), true
}

func (r *Registry) end(at events.Position, f events.Ended) (Change, bool) {
	row, _ := r.rows.get(f.Session)
	if row.Ended != 0 && row.Ended <= at {
		return Change{}, false
	}
	row.Ended, row.Over, row.why = at, InstantOf(f.At), causeOf(f.Reason)
	return r.put(Change{Session: f.Session}, row), true
}

func (r *Registry) put(change Change, row Row) Change {
	r.rows.put(change.Session, row)
	change.Row = row
	return change
}

// Tombstone is what remains of a logout.
func (r *Registry) Tombstone(record events.Record, f events.LogoutReceived) Tombstone {
	return Tombstone{
		Position: record.Position,
		Issuer:   r.hasher.Issuer(f.Issuer),
		Sid:      r.hasher.Sid(f.Issuer, f.Sid),
		Sub:      r.hasher.Sub(f.Issuer, f.Sub),
		Until:    InstantOf(f.Until),
		Stored:   InstantOf(record.Stored),
		why:      causeOf(f.Reason),
	}
}

func (r *Registry) bury(t Tombstone) (Change, bool) {
	r.tombstones.add(t)
	return Change{Tombstone: &t}, true
}

// advance moves the position on and wakes those who wait for it. Another log's
// positions are no continuation of this one's.
func (r *Registry) advance(log events.LogID, to, level events.Position, whole bool) {
	if log != r.log {
		r.log, r.applied, r.level, r.whole = log, 0, 0, false
	} else if to <= r.applied && level <= r.level && (r.whole || !whole) {
		return
	}
	r.applied, r.level, r.whole = max(to, r.applied), max(level, r.level), r.whole || whole
	close(r.moved)
	r.moved = make(chan struct{})
}

// Look tells how a session stands, to one who shows the hash of its secret. It
// does not ask whether the registry is fresh: see Lease.
func (r *Registry) Look(id events.SessionID, secret events.SecretHash, now time.Time) (Row, Verdict) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	row, found := r.rows.get(id)
	if !found || row.Started == 0 || subtle.ConstantTimeCompare(row.Secret[:], secret[:]) != 1 {
		return Row{}, Unknown
	}
	return row, r.standing(r.foresight.upon(id, row), InstantOf(now))
}

// Get returns a session's row and verdict, to one who need not show its secret:
// an operator, or curfew itself.
func (r *Registry) Get(id events.SessionID, now time.Time) (Row, Verdict) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	row, found := r.rows.get(id)
	if !found || row.Started == 0 {
		return Row{}, Unknown
	}
	return row, r.standing(r.foresight.upon(id, row), InstantOf(now))
}

// Covering returns a logout that covers a session which has not ended by
// itself, and false if there is none.
func (r *Registry) Covering(row Row) (Tombstone, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.tombstones.covering(row)
}

// Len is the number of sessions known, ended ones included.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rows.len()
}

// Applied is how far the log has been applied.
func (r *Registry) Applied() events.Mark {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return events.Mark{Log: r.log, At: r.applied}
}

// Await blocks until the log has been applied up to mark, or ctx ends, whose
// error it returns. A mark in another log is never reached.
func (r *Registry) Await(ctx context.Context, mark events.Mark) error {
	return r.await(ctx, mark.Log, func() bool { return r.applied >= mark.At })
}

// AwaitEnd blocks until the log has been applied to its end, be it once, or ctx
// ends, whose error it returns. Before that nobody may send a heartbeat: it would
// take the place of the last that another process of the same name has sent, of
// which nobody might ever know.
func (r *Registry) AwaitEnd(ctx context.Context) error {
	return r.awaitThat(ctx, func() bool { return r.whole })
}

// catchUp is Await for one who must know every replica that sent a heartbeat
// before mark. It returns the members of the newest batch, of which the Fleet
// may not have been told yet.
//
// The log keeps the newest heartbeat of each replica, which may be one after
// mark, and while a follower is on its way there a newer one still. Only when
// it has got to the end of the log in one step has it seen them all.
func (r *Registry) catchUp(ctx context.Context, mark events.Mark) ([]Member, error) {
	if err := r.await(ctx, mark.Log, func() bool { return r.level >= mark.At }); err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.members), nil
}

// await blocks until reached, asked under the lock, is true of a log.
func (r *Registry) await(ctx context.Context, log events.LogID, reached func() bool) error {
	return r.awaitThat(ctx, func() bool { return r.log == log && reached() })
}

// awaitThat blocks until something, asked under the lock, is true.
func (r *Registry) awaitThat(ctx context.Context, reached func() bool) error {
	for {
		r.mu.RLock()
		done := reached()
		moved := r.moved
		r.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Load puts back what a store has kept, before the first Apply.
func (r *Registry) Load(change Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case change.Tombstone != nil:
		r.tombstones.add(*change.Tombstone)
	case !change.Session.IsZero():
		r.rows.put(change.Session, change.Row)
	}
}

// LoadMark puts back how far the log had been applied.
func (r *Registry) LoadMark(mark events.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(mark.Log, mark.At, 0, false)
}

// Reset forgets everything, what was foreseen included, for a log that has taken
// the place of a lost one.
func (r *Registry) Reset(hasher Hasher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hasher, r.issuers = hasher, r.policy.issuers(hasher)
	r.rows, r.tombstones, r.foresight = newTable(), newGraveyard(), newForesight()
	r.log, r.applied, r.level, r.whole, r.members = events.LogID{}, 0, 0, false, nil
}
