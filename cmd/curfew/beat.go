package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// beat appends a heartbeat every third of the lease. One that comes back through
// the log renews it. While logouts wait that the log has not taken, none is
// sent: so the log has them before anything by which this replica could count as
// fresh, and it has applied them by then. Nor is one sent before the log has
// been applied to its end: see Registry.AwaitEnd. And none while another process
// of this replica's name may be letting people in: see Fleet.Namesake.
func (a *App) beat(ctx context.Context) error {
	third := a.config.maxStaleness / 3
	for {
		pause := third
		if err := a.beatOnce(ctx, third); err != nil {
			level := slog.LevelDebug
			if !errors.Is(err, events.ErrUnavailable) && ctx.Err() == nil {
				level = slog.LevelWarn
			}
			a.logger.Log(ctx, level, "no heartbeat", "error", err)
			pause = min(third, retryAfter/4)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-a.backlog.Kept():
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (a *App) beatOnce(ctx context.Context, patience time.Duration) error {
	if err := a.backlog.Drain(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := a.registry.AwaitEnd(ctx); err != nil {
		return fmt.Errorf("curfew: heartbeat: the log's end is not reached: %w: %w", events.ErrUnavailable, err)
	}
	met := a.met.Load()
	if rival, found := a.fleet.Namesake(a.replica, a.before); found {
		return a.standBack(ctx, rival)
	}
	a.rival.Store(nil)
	if !a.movedIn {
		a.moveIn()
		a.movedIn = true
	}
	applied := a.registry.Applied()
	event := events.NewEvent(events.Alive{
		Replica:  a.replica,
		Instance: a.instance,
		Position: applied.At,
		Log:      applied.Log,
		Lease:    a.config.maxStaleness.Milliseconds(),
	}, a.replica, timeOfDay())
	a.lease.Sending(event.ID)
	position, err := a.log.Append(ctx, event, events.IfLast(a.beaten.In(applied.Log)))
	if conflict, beaten := errors.AsType[*events.ConflictError](err); beaten && met != nil && met.In(applied.Log) >= conflict.Last {
		// Whoever sent that one was known when we looked for another of our name.
		position, err = a.log.Append(ctx, event, events.IfLast(conflict.Last))
	}
	if conflict, beaten := errors.AsType[*events.ConflictError](err); beaten {
		return fmt.Errorf("curfew: heartbeat: that at %d is yet to be applied: %w: %w", conflict.Last, events.ErrUnavailable, err)
	}
	if err == nil {
		a.beaten = events.Mark{Log: applied.Log, At: position}
	}
	return err
}

// standBack says that another process goes by this replica's name: once, for as
// long as it is the same.
func (a *App) standBack(ctx context.Context, rival sessions.Peer) error {
	if before := a.rival.Swap(&rival.Instance); before == nil || *before != rival.Instance {
		a.logger.ErrorContext(ctx, "another process goes by this replica's name: this one lets nobody in while that may; if it is not going away, "+
			"give each replica a name of its own (CURFEW_REPLICA) and a data folder of its own (CURFEW_DATA)",
			"other_instance", rival.Instance, "at_most", rival.Remaining.Round(time.Millisecond))
	}
	return fmt.Errorf("curfew: heartbeat: instance %s goes by the name of %s: %w", rival.Instance, a.replica, events.ErrUnavailable)
}

// drainLast is for a replica that leaves, perhaps for good.
func (a *App) drainLast(ctx context.Context) {
	err := a.backlog.Drain(ctx)
	if waiting := a.backlog.Len(); waiting > 0 {
		a.logger.Error("logouts that the log has not taken stay in the outbox: they count nowhere until a replica is started with this data folder",
			"events", waiting, "error", err)
	}
}
