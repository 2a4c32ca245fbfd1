package sessions

import (
	"context"
	"errors"
	"time"

	"curfew/events"
)

// keep writes the OP's answer down: on this disk at once, and into the log when
// the log takes it.
func (r *Refresher) keep(ctx context.Context, c *taken, renewed Renewed) error {
	sealed, err := renewed.Private.Seal(r.Sealer)
	if err != nil {
		return err
	}
	return r.post(ctx, events.NewEvent(events.Refreshed{
		Session:   renewed.Private.Session,
		At:        renewed.At,
		Access:    renewed.Access,
		Renewable: renewed.Private.Tokens.Refresh != "",
		Claim:     c.at,
		Sealed:    sealed,
	}, r.Replica, r.Now()))
}

// lapse gives up a refresh token that was refused after it may have been spent
// by somebody who died with the answer: the refusal then is our own doing, and
// nobody is signed out by that. What the session has otherwise stays as it is.
func (r *Refresher) lapse(ctx context.Context, c *taken) error {
	left := c.private
	left.Tokens.Refresh = ""
	return r.keep(ctx, c, Renewed{Private: left, At: c.row.Renewed.Time(), Access: c.row.Access.Time()})
}

// end ends a session that the OP gives no more tokens for.
func (r *Refresher) end(ctx context.Context, c *taken) error {
	now := r.Now()
	return r.post(ctx, events.NewEvent(events.Ended{
		Session: c.private.Session,
		Issuer:  c.private.Issuer,
		Sub:     c.private.Sub,
		Sid:     c.private.Sid,
		Reason:  events.RefreshRefused,
		At:      now,
	}, r.Replica, now))
}

// post keeps an event safe until the log has it, or never will. Where the disk
// does not take it, the log still may.
func (r *Refresher) post(ctx context.Context, event events.Event) error {
	unkept := r.Outbox.Put(event)
	err := r.Deliver(ctx, event)
	if err != nil && !pointless(err) {
		return errors.Join(unkept, err)
	}
	return errors.Join(unkept, err, r.Outbox.Drop(event.ID))
}

// pointless reports whether an answer need not be kept for another try: the log
// has forgotten whose it is, or takes nothing so large. An operator may have it
// take larger events, and a logout waits for that; an answer will be too old.
func pointless(err error) bool {
	return errors.Is(err, errForgotten) || errors.Is(err, events.ErrTooLarge)
}

// Resume delivers the OP's answers that are on this disk since an earlier life
// of this process, and drops those that nobody needs any more. It waits for a
// log that is away until ctx ends, whose error it then returns.
func (r *Refresher) Resume(ctx context.Context) error {
	for _, event := range r.Outbox.All() {
		if _, answer := event.Fact.(events.Refreshed); !answer {
			continue
		}
		err := r.Deliver(ctx, event)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err == nil, errors.Is(err, errForgotten):
			err = r.Outbox.Drop(event.ID)
		case pointless(err):
			err = errors.Join(err, r.Outbox.Drop(event.ID))
		}
		if err != nil {
			r.Logger.WarnContext(ctx, "answer of the OP not written down", "event", event.ID, "error", err)
		}
	}
	return nil
}

// Deliver appends what came of a refresh, now or in an earlier life of this
// process, and waits for a log that is away until ctx ends. It returns nil too
// when there is no point any more. New tokens are not appended to a session
// that has ended, or that has been given newer ones.
func (r *Refresher) Deliver(ctx context.Context, event events.Event) error {
	switch fact := event.Fact.(type) {
	case events.Refreshed:
		return r.settle(ctx, event, fact.Session, fact.Claim, func(row Row) bool { return row.Sealed < fact.Claim })
	case events.Ended:
		_, err := r.append(ctx, event, events.IfFirst())
		if _, before := errors.AsType[*events.ConflictError](err); before {
			return nil
		}
		return err
	default:
		return errors.New("sessions: refresh: nothing comes of a refresh but new tokens, or the end")
	}
}

// settle appends an event that follows on a claim, whatever else is said of the
// session meanwhile, for as long as the session stands and needed says so.
func (r *Refresher) settle(ctx context.Context, event events.Event, id events.SessionID, last events.Position, needed func(Row) bool) error {
	for {
		_, err := r.append(ctx, event, events.IfLast(last))
		conflict, beaten := errors.AsType[*events.ConflictError](err)
		if !beaten {
			return err
		}
		if last, err = r.catchUp(ctx, conflict, last); err != nil {
			return err
		}
		row, verdict := r.Registry.Get(id, r.Now())
		if verdict != Alive || !needed(row) {
			return nil
		}
		last = max(last, row.Newest())
	}
}

// giveBack lets others claim after a while. If it does not get into the log,
// the claim runs out by itself, and the refresh token counts as spent.
func (r *Refresher) giveBack(ctx context.Context, c *taken, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), returnTime)
	defer cancel()
	now := r.Now()
	fact := events.Claimed{
		Session: c.private.Session, Replica: r.Replica, Instance: r.Instance, At: now,
		Returned: true, Doubt: true,
	}
	var asked time.Duration
	if trouble, known := errors.AsType[*TroubleError](cause); known {
		asked, fact.Doubt = trouble.Wait, c.row.doubtful() || !trouble.Unspent
	}
	fact.Wait = nextWait(c.row.waited(), asked).Milliseconds()
	return r.settle(ctx, events.NewEvent(fact, r.Replica, now), fact.Session, c.at,
		func(row Row) bool { return row.Claimed == c.at && row.Sealed < c.at })
}
