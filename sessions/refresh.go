package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"curfew/events"
)

// Renewed are a session's new tokens, and the claims that came with them.
type Renewed struct {
	Private Private
	// At is when they came, and Access when the access token ends; zero if the
	// OP does not say.
	At, Access time.Time
}

// OP gives new tokens for old.
type OP interface {
	// Refresh spends a session's refresh token, and does not ask the token
	// endpoint after ctx has ended. The error is a *RefusedError if the OP
	// gives this session no more tokens, a *TroubleError if it is in trouble.
	// Any other counts as trouble too, in which the refresh token may have been
	// spent.
	Refresh(context.Context, Private) (Renewed, error)
}

// RefusedError says that the OP has refused a refresh token for good.
type RefusedError struct{ Cause error }

// Error gives the OP's own words, which hold no token.
func (e *RefusedError) Error() string { return "the refresh is refused: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Cause }

// TroubleError says that the OP gave no tokens and has not refused any.
type TroubleError struct {
	Cause error
	// Unspent says that the refresh token is surely still good, as far as this
	// try goes: it never left, or was turned away at the door.
	Unspent bool
	// Wait is how long the OP asks to be left alone; zero if it does not.
	Wait time.Duration
}

// Error gives the cause.
func (e *TroubleError) Error() string { return "the OP is in trouble: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *TroubleError) Unwrap() error { return e.Cause }

// Outbox keeps on this disk what the log must have and has not yet.
type Outbox interface {
	// Put returns when the event is safe from a crash.
	Put(events.Event) error
	// Drop forgets an event that the log has, or that has become pointless.
	Drop(id string) error
	// All lists what is kept, oldest first.
	All() []events.Event
}

// Opened opens what is sealed for sessions.
type Opened interface {
	// Private is never older than what the registry knows of the session.
	Private(events.SessionID) (Private, error)
}

// Refresher gets sessions new tokens from the OP in the background: each once,
// however many replicas see that it is time, and however many requests. It
// claims a session in the log, asks the OP, and writes the answer into the log,
// where it is folded into the session if that still stands.
type Refresher struct {
	Log      events.Log
	Registry *Registry
	Rows     Opened
	Sealer   Sealer
	OP       OP
	// Outbox keeps what came of a refresh until the log has it.
	Outbox Outbox
	// Replica is this replica's name, Instance this process.
	Replica, Instance string
	// Stored is how late it is by the log's clock, by which claims are timed.
	Stored *LogClock
	Clock  Clock
	Now    func() time.Time
	Logger *slog.Logger
	// Told hears how each try ended; nil if nobody wants to know.
	Told func(Outcome)

	asked *askedFor
	rest  chan struct{}
}

// Outcome is how a try to refresh a session ended.
type Outcome string

// The outcomes.
const (
	Refreshed Outcome = "refreshed" // new tokens
	Refused   Outcome = "refused"   // the session has ended
	Lapsed    Outcome = "lapsed"    // no refresh token is left, and it is not known whose doing that is
	Troubled  Outcome = "trouble"   // tried again later
)

const (
	// claimTime bounds the way from the wish to refresh to the OP being asked,
	// and callTime the OP's answer. Together they are less than claimHolds.
	claimTime = 12 * time.Second
	callTime  = 12 * time.Second
	// returnTime bounds the tries to give a claim back.
	returnTime = 5 * time.Second

	// askTry bounds each question to the log; askAgain is the first pause
	// between two, which doubles up to askAgainMost.
	askTry       = 3 * time.Second
	askAgain     = 50 * time.Millisecond
	askAgainMost = time.Second
)

// NewRefresher returns r, ready to run.
func NewRefresher(r Refresher) *Refresher {
	r.asked = newAskedFor()
	r.rest = make(chan struct{})
	return &r
}

// Want has a session refreshed if it is time and nobody is at it. It does not
// block.
func (r *Refresher) Want(id events.SessionID, row Row, now time.Time) {
	if row.fading(InstantOf(now)) && row.claimable(r.Stored.now()) {
		r.asked.add(id, now)
	}
}

// Run refreshes the sessions that are wanted, one after the other, until ctx
// ends, whose error it returns, or until Rest. It may be run as many times at
// once as the OP is to be asked at once.
func (r *Refresher) Run(ctx context.Context) error {
	for {
		select {
		case <-r.rest:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		select {
		case id := <-r.asked.queue:
			r.serve(ctx, id)
		case <-r.rest:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Rest has each Run return when it has finished what it is at. It may be called
// once.
func (r *Refresher) Rest() { close(r.rest) }

func (r *Refresher) serve(ctx context.Context, id events.SessionID) {
	err := r.refresh(ctx, id)
	if err == nil {
		r.asked.done(id)
		return
	}
	// What keeps the others from trying again at once is in the log, if it got
	// there.
	r.asked.later(id, r.Now(), waitFirst)
	if ctx.Err() == nil {
		r.Logger.WarnContext(ctx, "session not refreshed", "session", id, "error", err)
	}
}

// taken is a session that is ours to refresh.
type taken struct {
	at      events.Position // of the claim
	row     Row             // before it
	private Private
}

func (r *Refresher) refresh(ctx context.Context, id events.SessionID) error {
	began := r.Clock()
	c, err := r.claim(ctx, id)
	if err != nil || c == nil {
		return err
	}
	if r.Clock.since(began) > claimTime {
		// This process was held up, and others may think that it is dead.
		return r.giveBack(ctx, c, &TroubleError{Cause: errLate, Unspent: true})
	}
	renewed, err := r.ask(ctx, c.private)
	_, refused := errors.AsType[*RefusedError](err)
	switch {
	case err == nil:
		r.tell(Refreshed)
		return r.keep(ctx, c, renewed)
	case !refused:
		r.tell(Troubled)
		return errors.Join(err, r.giveBack(ctx, c, err))
	case c.row.doubtful():
		r.tell(Lapsed)
		return errors.Join(err, r.lapse(ctx, c))
	default:
		r.tell(Refused)
		return errors.Join(err, r.end(ctx, c))
	}
}

func (r *Refresher) ask(ctx context.Context, private Private) (Renewed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return r.OP.Refresh(ctx, private)
}

var errLate = errors.New("the claim is too old to ask the OP under")

func (r *Refresher) tell(outcome Outcome) {
	if r.Told != nil {
		r.Told(outcome)
	}
}

// claim claims a session, and returns nothing if somebody else is at it, or it
// has ended, or has been refreshed.
func (r *Refresher) claim(ctx context.Context, id events.SessionID) (*taken, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	var seen events.Position
	for {
		now := r.Now()
		row, verdict := r.Registry.Get(id, now)
		if verdict != Alive || !row.fading(InstantOf(now)) || !row.claimable(r.Stored.now()) {
			return nil, nil
		}
		private, err := r.Rows.Private(id)
		if err != nil {
			return nil, err
		}
		fact := events.Claimed{
			Session: id, Replica: r.Replica, Instance: r.Instance, At: now,
			Wait: row.waited().Milliseconds(), Doubt: row.doubtful(),
		}
		last := max(row.Newest(), seen)
		at, err := r.append(ctx, events.NewEvent(fact, r.Replica, now), events.IfLast(last))
		conflict, beaten := errors.AsType[*events.ConflictError](err)
		if !beaten {
			return &taken{at, row, private}, err
		}
		if seen, err = r.catchUp(ctx, conflict, last); err != nil {
			return nil, err
		}
	}
}

// catchUp waits until what stood in the way of an append has been applied, and
// returns where that is: it may be of a kind that the row knows nothing of.
func (r *Refresher) catchUp(ctx context.Context, conflict *events.ConflictError, last events.Position) (events.Position, error) {
	if conflict.Last <= last {
		return 0, fmt.Errorf("sessions: refresh: %w what it had at %d: %w", errForgotten, last, conflict)
	}
	log, err := r.logID(ctx)
	if err != nil {
		return 0, err
	}
	return conflict.Last, r.Registry.Await(ctx, events.Mark{Log: log, At: conflict.Last})
}

// logID asks the log itself: a registry that has applied nothing yet does not
// know.
func (r *Refresher) logID(ctx context.Context) (id events.LogID, err error) {
	err = untilAnswered(ctx, func(ctx context.Context) error {
		status, err := r.Log.Status(ctx)
		id = status.ID
		return err
	})
	return id, err
}

// errForgotten says that the log is another by now.
var errForgotten = errors.New("the log has lost")

// append tries again, with the same event, until the log has answered or ctx
// ends.
func (r *Refresher) append(ctx context.Context, event events.Event, when events.Condition) (at events.Position, err error) {
	err = untilAnswered(ctx, func(ctx context.Context) error {
		at, err = r.Log.Append(ctx, event, when)
		return err
	})
	return at, err
}

// untilAnswered asks the log until it answers or ctx ends.
func untilAnswered(ctx context.Context, ask func(context.Context) error) error {
	for again := askAgain; ; again = min(2*again, askAgainMost) {
		try, done := context.WithTimeout(ctx, askTry)
		err := ask(try)
		done()
		if err == nil || !errors.Is(err, events.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return err
		}
	}
}
