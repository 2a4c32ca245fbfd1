package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"curfew/events"
)

// Logouts ends sessions everywhere: it puts the end into the log and waits until
// no replica can still honour what it ended.
type Logouts struct {
	Log      events.Log
	Registry *Registry
	Fleet    *Fleet
	// Backlog keeps what the log does not take. Nil keeps nothing.
	Backlog *Backlog
	// Wait bounds the wait for the other replicas.
	Wait time.Duration
	// Replica is this replica's name.
	Replica string
	Now     func() time.Time
}

// Fence says how far a logout has got. The zero value claims nothing.
type Fence bool

// How far a logout has got.
const (
	// Pending: some replica may honour the session until its lease ends.
	Pending Fence = false
	// Complete: no replica honours the session.
	Complete Fence = true
)

// String is the value of the header Curfew-Fence.
func (f Fence) String() string {
	if f == Complete {
		return "complete"
	}
	return "pending"
}

const (
	// promptly is how long the log may take before a logout is kept on disk as
	// well: longer than a log that is well ever takes, and no longer, since
	// whoever kills the process within this time has its logout forgotten.
	promptly = 100 * time.Millisecond
	// patience is how long the log may take from there. Some OPs give up after
	// two and a half seconds, and count it as done no sooner than we answer.
	patience = 900 * time.Millisecond
)

// Receive ends what a logout names. A logout that the log already has is no
// error.
//
// The error is what keeps the log from taking it. Whether the log has it is then
// not known, and it may be given again. Even so nobody on this replica is let in
// any more whom it names, and the Backlog gives it to the log later: unless the
// error wraps ErrOutboxFull too, or another error of its Letters.
func (l *Logouts) Receive(ctx context.Context, logout events.LogoutReceived) (Fence, error) {
	logout.Replica = l.Replica
	return l.append(ctx, logout)
}

// End ends sessions by their ids, as Receive does by name. One that has ended
// before is no error, and one that the log does not take keeps none of the others
// from it. There is one wait for the other replicas, for all of them. Without any
// it is Complete.
func (l *Logouts) End(ctx context.Context, ended ...events.Ended) (Fence, error) {
	if len(ended) == 0 {
		return Complete, nil
	}
	facts := make([]events.Fact, len(ended))
	for i, fact := range ended {
		facts[i] = fact
	}
	return l.append(ctx, facts...)
}

// append does not stop half-way when the asker hangs up: an OP that gives up
// after two seconds still wants its user out.
func (l *Logouts) append(ctx context.Context, facts ...events.Fact) (Fence, error) {
	ctx = context.WithoutCancel(ctx)
	var last events.Position
	var faults error
	take := l.take
	for _, fact := range facts {
		event := events.NewEvent(fact, l.Replica, l.Now())
		if _, err := events.Encode(event); err != nil {
			// No log will ever take it, so it is not kept either.
			faults = errors.Join(faults, fmt.Errorf("sessions: logout: %w", err))
			continue
		}
		position, err := take(ctx, event)
		if err != nil && faults == nil {
			// A log that is away is waited for once, and not for each.
			hurried, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			take = func(_ context.Context, event events.Event) (events.Position, error) {
				return l.takeAtOnce(hurried, event)
			}
		}
		last, faults = max(last, position), errors.Join(faults, err)
	}
	if faults != nil {
		return Pending, faults
	}
	return l.fence(ctx, last), nil
}

// fence waits until no replica honours what has been appended up to a position.
func (l *Logouts) fence(ctx context.Context, position events.Position) Fence {
	ctx, cancel := context.WithTimeout(ctx, l.Wait)
	defer cancel()
	// Which log has taken it is asked only now: the one that this replica has
	// applied may have been lost since, and another have taken the logout.
	status, err := l.Log.Status(ctx)
	if err != nil {
		return Pending // it is in the log, and that is all that is known
	}
	mark := events.Mark{Log: status.ID, At: position}
	members, err := l.Registry.catchUp(ctx, mark)
	if err != nil {
		return Pending
	}
	for _, member := range members {
		l.Fleet.Hear(member)
	}
	return Fence(l.Fleet.Await(ctx, mark))
}

// take has the log take an event, and keeps it first if that is not done
// promptly, for whatever reason: what a log refuses today, being full, or too
// small for it, it takes when somebody has seen to that. One that is kept stays
// so until it is drained: nothing else may forget it.
func (l *Logouts) take(ctx context.Context, event events.Event) (events.Position, error) {
	position, err := l.takeAtOnce(ctx, event)
	if err == nil {
		return position, nil
	}
	if position, again := l.try(ctx, event, patience); again == nil {
		return position, nil
	}
	return 0, err
}

// takeAtOnce has the log take an event, or keeps it.
func (l *Logouts) takeAtOnce(ctx context.Context, event events.Event) (events.Position, error) {
	position, err := l.try(ctx, event, promptly)
	if err != nil {
		err = errors.Join(err, l.keep(event))
	}
	return position, err
}

func (l *Logouts) keep(event events.Event) error {
	if l.Backlog != nil {
		return l.Backlog.Keep(event)
	}
	return nil
}

func (l *Logouts) try(ctx context.Context, event events.Event, limit time.Duration) (events.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return appendFirst(ctx, l.Log, event)
}
