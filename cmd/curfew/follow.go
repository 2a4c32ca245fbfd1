package main

import (
	"context"
	"errors"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// afterlife is how long the log, the registry and the store remember a session
// beyond its end. A login may take no longer than that, or a logout could be
// forgotten before a login it covers is finished.
const afterlife = time.Hour

// retryAfter is how long a part that was stopped by a fault rests.
const retryAfter = time.Second

// follow applies the log, and goes on doing so whatever happens: while it does
// not, the lease runs out and nobody is let in.
func (a *App) follow(ctx context.Context) error {
	for {
		d := a.followOn(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch d.remedy {
		case rebuild:
			a.metrics.faults.WithLabelValues(following.part()).Inc()
			if err := a.makeGood(ctx, d); err != nil {
				return err
			}
		case waitOutside:
			if !rest(ctx, retryAfter) {
				return ctx.Err()
			}
		default:
			return &recoveryError{d}
		}
	}
}

// followOn follows the log from where the store is, until something disagrees
// with something.
func (a *App) followOn(ctx context.Context) decision {
	if standing := a.standing(resuming, nil); standing.mark != (events.Mark{}) {
		if err := a.askLog(ctx, &standing); err != nil {
			if ctx.Err() != nil {
				return decision{}
			}
			return a.meet(a.standing(following, err))
		}
		if d := a.meet(standing); d.remedy != goOn {
			return d
		}
	}
	err := a.log.Follow(ctx, a.store.Mark(), a.metrics.applies(a.apply))
	if over, decided := errors.AsType[*recoveryError](err); decided {
		return over.decision
	}
	if ctx.Err() != nil {
		return decision{}
	}
	return a.meet(a.standing(following, err))
}

// askLog waits for the log to say how it stands.
func (a *App) askLog(ctx context.Context, k *known) error {
	for {
		err := a.log.Ready(ctx)
		if err != nil {
			return err
		}
		if k.log, err = a.log.Status(ctx); err == nil && !k.heard.IsZero() {
			k.since, err = a.log.FirstSince(ctx, k.heard)
		}
		if err == nil || !errors.Is(err, events.ErrUnavailable) || !rest(ctx, retryAfter/4) {
			return err
		}
	}
}

// apply takes a batch in: memory first, so that a logout works at once, then
// what the others wait to hear, then the disk. Applying it again is harmless.
func (a *App) apply(batch events.Batch) error {
	a.rows.arrive(batch)
	changes := a.registry.Apply(batch)
	a.announce(batch)
	a.heard(batch)
	for _, change := range changes {
		if change.Member != nil {
			a.fleet.Hear(*change.Member)
		}
	}
	a.met.Store(&events.Mark{Log: batch.Log, At: batch.Position})
	a.store.Hear(batch.Stored)
	err := a.store.Commit(changes, events.Mark{Log: batch.Log, At: batch.Position})
	if err == nil {
		// Until then a session that came is opened out of memory.
		a.rows.settle()
		a.over()
	} else if err := a.uncommitted(err); err != nil {
		return err
	}
	for _, record := range batch.Records {
		if fact, ok := record.Fact.(events.LogoutReceived); ok && fact.Replica == a.replica {
			a.ender.Strike(a.registry.Tombstone(record, fact))
		}
	}
	if len(batch.Records) == 0 {
		return nil
	}
	return a.sweep(batch.Records[len(batch.Records)-1].Stored)
}

// uncommitted returns nil if the replica goes on in memory with what the store
// has not taken, which the next commit takes along.
func (a *App) uncommitted(err error) error {
	if d := a.meet(a.standing(committing, err)); d.remedy != goOn {
		return &recoveryError{d}
	}
	return nil
}

// announce renews the lease by our own heartbeat, and tells the others if
// somebody's session has ended by now.
func (a *App) announce(batch events.Batch) {
	revoked := false
	for _, record := range batch.Records {
		switch fact := record.Fact.(type) {
		case events.LogoutReceived, events.Ended:
			revoked = true
		case events.Alive:
			if fact.Instance == a.instance {
				a.lease.Heard(record.ID)
			}
		}
	}
	if !revoked {
		return
	}
	if err := a.log.Announce(a.instance, events.Mark{Log: batch.Log, At: batch.Position}); err != nil {
		// Whoever waits goes on until our lease would have ended.
		a.logger.Warn("applied position not announced", "error", err)
	}
}

// listen hears how far the other replicas are.
func (a *App) listen(ctx context.Context) error {
	for {
		err := a.log.Listen(ctx, a.fleet.Confirm)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.logger.WarnContext(ctx, "confirmations not heard", "error", err)
		if !rest(ctx, retryAfter) {
			return ctx.Err()
		}
	}
}

// sweep forgets what can matter no more, once a minute of the log's own time, so
// that replicas which have come equally far have forgotten the same, unless a clock
// is wrong: one of the log's that is ahead of ours may be, and nothing is forgotten
// by it.
func (a *App) sweep(stored time.Time) error {
	if now := timeOfDay(); now.Before(stored) {
		stored = now
	}
	minute := stored.Truncate(time.Minute)
	if !minute.After(a.swept) {
		return nil
	}
	a.swept = minute
	// What the store does not drop now is loaded at the next start, and swept then.
	if err := a.store.Sweep(a.registry.Sweep(sessions.InstantOf(minute.Add(-afterlife)))); err != nil {
		return a.uncommitted(err)
	}
	return nil
}

// rest pauses, and returns false if ctx ended meanwhile.
func rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
