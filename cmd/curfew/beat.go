package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"curfew/events"
)

// beat appends a heartbeat every third of the lease. One that comes back through
// the log renews it. While logouts wait that the log has not taken, none is
// sent: so the log has them before anything by which this replica could count as
// fresh, and it has applied them by then. Nor is one sent before the log has
// been applied to its end: see Registry.AwaitEnd.
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
	applied := a.registry.Applied()
	event := events.NewEvent(events.Alive{
		Replica:  a.replica,
		Instance: a.instance,
		Position: applied.At,
		Log:      applied.Log,
		Lease:    a.config.maxStaleness.Milliseconds(),
	}, a.replica, timeOfDay())
	a.lease.Sending(event.ID)
	_, err := a.log.Append(ctx, event, events.Always())
	return err
}

// drainLast is for a replica that leaves, perhaps for good.
func (a *App) drainLast(ctx context.Context) {
	err := a.backlog.Drain(ctx)
	if waiting := a.backlog.Len(); waiting > 0 {
		a.logger.Error("logouts that the log has not taken stay in the outbox: they count nowhere until a replica is started with this data folder",
			"events", waiting, "error", err)
	}
}
