package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"curfew/events"
	"curfew/sessions"
	"curfew/store"
)

// logoutsKept counts what becomes of the logouts in the outbox, and says so.
type logoutsKept struct {
	*store.Outbox
	meet    func(known) decision
	metrics *metrics
	logger  *slog.Logger
}

func (a *App) outboxConfig() store.Config {
	path := filepath.Join(a.config.data, "outbox.db")
	return store.Config{
		Path:   path,
		Ring:   a.ring,
		Now:    timeOfDay,
		Logger: a.logger,
		Spoilt: a.spoilt(openingOutbox, path),
	}
}

// openOutbox comes after the store has been opened: a key that does not open
// that must not make an outbox. The other way round openData has seen to it.
func (a *App) openOutbox(context.Context) (err error) {
	c := a.outboxConfig()
	a.outbox, err = store.OpenOutbox(c)
	a.readBefore()
	return a.refused(openingOutbox, c.Path, err)
}

// Put counts what becomes of an event.
func (o logoutsKept) Put(event events.Event) error {
	err := o.Outbox.Put(event)
	outcome := outboxKept
	switch {
	case errors.Is(err, sessions.ErrOutboxFull):
		outcome = outboxFull
	case err != nil:
		outcome = outboxFailed
		o.meet(known{where: keeping, err: err})
	default:
		o.logger.Warn("the log does not answer: a logout is kept on disk and works on this replica", "event", event.ID, "type", event.Fact.Type())
	}
	o.metrics.outbox.WithLabelValues(outcome).Inc()
	return err
}

// DropAll counts what the log has taken.
func (o logoutsKept) DropAll(ids []string) error {
	o.metrics.outbox.WithLabelValues(outboxDrained).Add(float64(len(ids)))
	o.logger.Info("the log has taken logouts that were kept", "events", len(ids))
	return o.Outbox.DropAll(ids)
}

// answersKept says so where the OP's answers to a refresh are not kept.
type answersKept struct {
	*store.Outbox
	meet func(known) decision
}

// Put says so where an answer is not on the disk.
func (o answersKept) Put(event events.Event) error {
	err := o.Outbox.Put(event)
	if err != nil && !errors.Is(err, sessions.ErrOutboxFull) {
		o.meet(known{where: keeping, err: err})
	}
	return err
}
