package main

import (
	"context"
	"sync"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/guard"
)

// refreshers is how many sessions are refreshed at once: a provider that is slow
// to answer about one must not keep the others waiting.
const refreshers = 16

func (a *App) newRefresher() *sessions.Refresher {
	return sessions.NewRefresher(sessions.Refresher{
		Log: a.log, Registry: a.registry, Rows: a.rows, Sealer: a.ring, OP: a.party, Outbox: answersKept{a.outbox, a.meet},
		Replica: a.replica, Instance: a.instance,
		Stored: a.stored, Clock: readClock, Now: timeOfDay, Logger: a.logger, Told: a.metrics.refreshed,
	})
}

func (a *App) newGuard() *guard.Guard {
	g := guard.New(guard.Guard{
		Registry: a.registry, Lease: a.lease, Log: a.log, Rows: a.rows, Toucher: a.toucher, Refresher: a.refresher, Signer: a.ring, Pages: a.pages,
		CookieName: a.config.cookieName(), LoginURL: a.config.endpoint("/login").String(),
		Now: timeOfDay, Deadline: deadline, Logger: a.logger,
	})
	a.metrics.watchTabs(g)
	return g
}

// refresh refreshes sessions until ctx ends or the refresher is to rest.
func (a *App) refresh(ctx context.Context) error {
	defer close(a.refreshed)
	var running sync.WaitGroup
	for range refreshers {
		// Each returns ctx's error, or none.
		running.Go(func() { _ = a.refresher.Run(ctx) })
	}
	running.Wait()
	return nil
}

// restRefreshes gives refreshes under way the time to write down what the
// provider has answered: it may not answer the same question twice.
func (a *App) restRefreshes(ctx context.Context) {
	select {
	case <-a.refreshed:
	case <-ctx.Done():
		a.logger.Warn("refreshes cut off")
	}
}

// heard notes how late it is by the log's clock.
func (a *App) heard(batch events.Batch) {
	if last := len(batch.Records) - 1; last >= 0 {
		a.stored.Heard(batch.Records[last].Stored)
	}
}
