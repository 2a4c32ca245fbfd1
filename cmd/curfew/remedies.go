package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"curfew/events"
	"curfew/store"
)

// meet decides what to do about a disagreement, and says so: once, where the same
// trouble comes back each second.
func (a *App) meet(k known) decision {
	d := recovery(k)
	lasts := d.remedy == waitOutside || d.remedy == goOn && k.where == committing
	repeated := false
	if lasts {
		before := a.trouble.Swap(&d)
		repeated = before != nil && before.name == d.name
		a.metrics.faults.WithLabelValues(k.where.part()).Inc()
	}
	if d.remedy == refuse || d.remedy == refuseSet || d.level == slog.LevelDebug || repeated {
		return d // what ends the process is said as its last word
	}
	attrs := append([]any{"case", d.name, "remedy", d.remedy.String()}, d.facts...)
	if d.cause != nil {
		attrs = append(attrs, "error", d.cause)
	}
	a.logger.Log(context.Background(), d.level, d.says, attrs...) //nolint:sloglint // the texts are constants, in recoverycases.go
	return d
}

// over says that a trouble is over.
func (a *App) over() {
	if before := a.trouble.Swap(nil); before != nil {
		a.logger.Info("trouble is over", "case", before.name)
	}
}

// refused is what ends a start over what came of opening something; nil if
// nothing did.
func (a *App) refused(where place, path string, err error) error {
	if _, decided := errors.AsType[*recoveryError](err); err == nil || decided || isConfiguration(err) {
		return err
	}
	return &recoveryError{a.meet(known{where: where, path: path, err: err})}
}

// spoilt answers a store that asks whether it may move a spoilt file aside.
func (a *App) spoilt(where place, path string) func(*store.DamagedError) error {
	return func(found *store.DamagedError) error {
		d := a.meet(known{where: where, path: path, err: found})
		if d.remedy == rebuild || d.remedy == salvage {
			return nil
		}
		return &recoveryError{d}
	}
}

// standing is what there is to decide by when the log is followed.
func (a *App) standing(where place, err error) known {
	k := known{
		where: where, err: err, mark: a.store.Mark(), heard: a.store.Heard(), now: timeOfDay(),
		memory: a.config.lifetime + afterlife, owed: a.backlog.Len(),
	}
	if lost, ok := errors.AsType[*events.LostError](err); ok {
		k.mark, k.log, k.since = lost.Want, lost.Have, lost.Since
	}
	return k
}

// makeGood empties the store, and has memory forget all that came from a log
// that is gone, or that the store has not kept well. Nobody is let in until both
// have been filled from the log. It tries until the disk takes another store.
func (a *App) makeGood(ctx context.Context, d decision) error {
	for {
		err := a.startOver(d)
		if err == nil {
			return nil
		}
		if next := a.meet(a.standing(rebuilding, err)); next.remedy != waitOutside {
			return &recoveryError{next}
		}
		if !rest(ctx, retryAfter) {
			return ctx.Err()
		}
	}
}

// startOver is makeGood, once.
func (a *App) startOver(d decision) error {
	a.lease.Drop()
	if err := a.store.Aside(d.name); err != nil {
		return err
	}
	a.rows.settle()
	a.swept = time.Time{}
	a.met.Store(nil)
	a.registry.Reset(a.store.Hasher())
	lost := d.name == logMadeAnew.name || d.name == logAnother.name || d.name == logRolledBack.name
	a.restore(lost)
	a.fleet.Reset(lost)
	return nil
}

// restore has what the outbox holds take effect on a registry that knows nothing
// of it. Logouts do not care which log takes them. Answers to a refresh name
// their claim in the log that was lost: sessions.Refresher drops them.
func (a *App) restore(anew bool) {
	a.backlog.Restore()
	if owed := a.backlog.Len(); owed > 0 {
		a.meet(known{where: restoring, owed: owed, anew: anew})
	}
}
