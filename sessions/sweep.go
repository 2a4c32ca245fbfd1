package sessions

import (
	"math"
	"time"

	"curfew/events"
)

// Due is a session that is over, or should be, without an end in the log.
type Due struct {
	Session events.SessionID
	Reason  events.Reason
	// Judged is where the newest event about the session was when its time was
	// found to be up. It is zero where a logout ended it: whatever is said of
	// the session since does not undo that.
	Judged events.Position
}

// Due lists the sessions whose end has yet to be written: those whose time is
// up, and those that a logout stored before settled covers. A session that was
// covered when it started never was one, and has no end, unless a later logout
// outdoes the one that covered it then: of the two only the later is kept.
// Looking through a
// million sessions takes a tenth of a second, in short steps between which
// others go on.
func (r *Registry) Due(now, settled time.Time) []Due {
	var due []Due
	for i := 0; ; i++ {
		found, more := r.dueIn(i, InstantOf(now), InstantOf(settled))
		due = append(due, found...)
		if !more {
			return due
		}
	}
}

// dueIn does Due for one chunk of the table.
func (r *Registry) dueIn(i int, now, settled Instant) (due []Due, more bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if i >= len(r.rows.chunks) {
		return nil, false
	}
	for _, e := range r.rows.chunks[i] {
		if e.id.IsZero() || e.row.Started == 0 || e.row.Ended != 0 {
			continue
		}
		if d, over := r.overdue(e.id, e.row, now, settled); over {
			due = append(due, d)
		}
	}
	return due, true
}

func (r *Registry) overdue(id events.SessionID, row Row, now, settled Instant) (Due, bool) {
	if t, covered := r.tombstones.covering(row); covered {
		return Due{Session: id, Reason: t.Reason()}, row.Started < t.Position && t.Stored < settled
	}
	switch r.lapsed(row, now) {
	case Expired:
		return Due{id, events.Expired, row.Newest()}, true
	case Idle:
		return Due{id, events.Idle, row.Newest()}, true
	default:
		return Due{}, false
	}
}

// due is Due for one session alone.
func (r *Registry) due(id events.SessionID, now, settled time.Time) (Due, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	row, _ := r.rows.get(id)
	if row.Started == 0 || row.Ended != 0 {
		return Due{}, false
	}
	return r.overdue(id, row, InstantOf(now), InstantOf(settled))
}

// Swept is what no longer matters.
type Swept struct {
	// Sessions had ended by Before.
	Sessions []events.SessionID
	Before   Instant
	// Oldest is the earliest beginning of those that are left. A tombstone that
	// was stored before Before and is not after Oldest covers nobody any more.
	Oldest events.Position
}

// Covers reports whether a tombstone is among what no longer matters.
func (s Swept) Covers(t Tombstone) bool { return t.Stored < s.Before && t.Position <= s.Oldest }

// Sweep forgets the sessions whose absolute end was before a time, and the
// tombstones older than that which cover none of the rest. The time must lie so
// far back that every login begun by then has been finished or given up.
func (r *Registry) Sweep(before Instant) Swept {
	swept := Swept{Before: before, Oldest: math.MaxUint64}
	for i := 0; r.sweepIn(i, &swept); i++ {
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range swept.Sessions {
		r.rows.drop(id)
	}
	r.tombstones.drop(swept.Covers)
	return swept
}

// sweepIn does Sweep's looking for one chunk of the table, and returns false
// past the last.
func (r *Registry) sweepIn(i int, swept *Swept) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if i >= len(r.rows.chunks) {
		return false
	}
	for _, e := range r.rows.chunks[i] {
		switch {
		case e.id.IsZero():
		case e.row.Expires < swept.Before:
			swept.Sessions = append(swept.Sessions, e.id)
		default:
			swept.Oldest = min(swept.Oldest, e.row.Begun)
		}
	}
	return true
}
