package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"curfew/events"
)

// Shelf is where an Ender finds sessions on disk.
type Shelf interface {
	// Named lists the sessions that bear the names a tombstone bears, at least:
	// whether it covers them is asked afterwards. It is not asked about a logout
	// of all.
	Named(Tombstone) ([]events.SessionID, error)
	// Private opens what is sealed for a session.
	Private(events.SessionID) (Private, error)
}

// Ender writes the end of each session that is over into the log, for those who
// listen: exactly one each, by compare-and-set, whichever replica gets there
// first. Nobody's being let in depends on it.
type Ender struct {
	Log      events.Log
	Registry *Registry
	Shelf    Shelf
	// Stored is how late it is by the log's clock. A session's time is up for
	// all, and for good, when it is up by that clock and ours.
	Stored *LogClock
	// Replica is this replica's name.
	Replica string
	Now     func() time.Time
	Logger  *slog.Logger

	struck chan Tombstone
}

const (
	// sweepEvery bounds how late the end of a session is written whose time
	// was up, or whose logout was received by a replica that died since.
	sweepEvery = 4 * time.Second
	// settle is how long the replica that received a logout has to write the
	// ends itself.
	settle = 2 * time.Second
	// maxStruck is how many logouts may wait. The next sweep finds the
	// sessions of those that found no room.
	maxStruck = 1024
)

// NewEnder returns e, ready to run.
func NewEnder(e Ender) *Ender {
	e.struck = make(chan Tombstone, maxStruck)
	return &e
}

// Strike asks for the ends of what a logout covers that this replica has
// received. It must have been applied, here and on the shelf.
func (e *Ender) Strike(t Tombstone) {
	select {
	case e.struck <- t:
	default:
	}
}

// Run writes ends until ctx ends, whose error it returns. A log that is away
// only delays it.
func (e *Ender) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case t := <-e.struck:
			err = e.strike(ctx, t)
		case <-tick.C:
			err = e.sweep(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "ends of sessions not written yet", "error", err)
		}
	}
}

func (e *Ender) strike(ctx context.Context, t Tombstone) error {
	if t.NamesAll() {
		now := e.Stored.earlier(e.Now())
		return e.endAll(ctx, e.Registry.Due(now, t.Stored.Time().Add(time.Millisecond)))
	}
	ids, err := e.Shelf.Named(t)
	if err != nil {
		return err
	}
	var due []Due
	for _, id := range ids {
		row, verdict := e.Registry.Get(id, e.Now())
		if verdict != Unknown && row.Ended == 0 && row.Started < t.Position && t.Covers(row) {
			due = append(due, Due{Session: id, Reason: t.Reason()})
		}
	}
	return e.endAll(ctx, due)
}

// sweep finishes what others, or an earlier life of this replica, left undone.
func (e *Ender) sweep(ctx context.Context) error {
	now := e.Stored.earlier(e.Now())
	return e.endAll(ctx, e.Registry.Due(now, now.Add(-settle)))
}

// endAll stops early only when the log is away: one session that cannot be
// opened does not keep the others from their ends.
func (e *Ender) endAll(ctx context.Context, due []Due) error {
	var faults []error
	for _, d := range due {
		err := e.end(ctx, d)
		if errors.Is(err, events.ErrUnavailable) {
			return err
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// end writes one end. That another has written it is as good. A session that
// nobody can read any more ends without its names.
func (e *Ender) end(ctx context.Context, due Due) error {
	private, err := e.Shelf.Private(due.Session)
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return fmt.Errorf("sessions: end %s: %w", due.Session, err)
	}
	now := e.Now()
	ended := events.NewEvent(events.Ended{
		Session: due.Session,
		Issuer:  private.Issuer,
		Sub:     private.Sub,
		Sid:     private.Sid,
		Reason:  due.Reason,
		At:      now,
	}, e.Replica, now)
	_, err = e.Log.Append(ctx, ended, due.condition())
	conflict, beaten := errors.AsType[*events.ConflictError](err)
	if !beaten {
		return err
	}
	if due.Judged == 0 || !e.stillOver(due, conflict.Last) {
		return nil
	}
	// What stands in the way is of a kind that says nothing to us.
	_, err = e.Log.Append(ctx, ended, events.IfLast(conflict.Last))
	if _, again := errors.AsType[*events.ConflictError](err); again {
		return nil
	}
	return err
}

// condition is what must hold in the log for the end to be written. Whose time
// is up by what this replica knows may have been used, or refreshed, since: one
// that is behind must not end it for those who are not.
func (d Due) condition() events.Condition {
	if d.Judged == 0 {
		return events.IfFirst()
	}
	return events.IfLast(d.Judged)
}

// stillOver judges a session again, with all that the log has of it up to a
// position. It is false if that has not been applied here: a later sweep will
// find the session, if it is still there to be found.
func (e *Ender) stillOver(due Due, newest events.Position) bool {
	if e.Registry.Applied().At < newest {
		return false
	}
	now := e.Stored.earlier(e.Now())
	again, over := e.Registry.due(due.Session, now, now.Add(-settle))
	return over && again == due
}
