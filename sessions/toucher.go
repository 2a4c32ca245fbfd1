package sessions

import (
	"context"
	"log/slog"
	"time"

	"curfew/events"
)

// Toucher writes into the log that sessions are used, so that every replica
// knows which are idle. It writes at most once a quarter of the idle time for
// each; a session therefore ends after three quarters to the whole of the idle
// time without use, and never later.
type Toucher struct {
	Log events.Log
	// Idle is after how long without use a session ends.
	Idle    time.Duration
	Replica string
	Logger  *slog.Logger

	used chan use
}

type use struct {
	session events.SessionID
	at      time.Time
}

// maxUses is how many uses may wait to be written. One that finds no room is
// written at the session's next use.
const maxUses = 4096

// NewToucher returns t, ready to run.
func NewToucher(t Toucher) *Toucher {
	t.used = make(chan use, maxUses)
	return &t
}

// Touch notes that a session was used. It does not block.
func (t *Toucher) Touch(id events.SessionID, row Row, now time.Time) {
	if t.Idle <= 0 || InstantOf(now) < row.LastSeen()+Instant(t.Idle.Milliseconds()/4) {
		return
	}
	select {
	case t.used <- use{id, now}:
	default:
	}
}

// Run writes uses until ctx ends, whose error it returns.
func (t *Toucher) Run(ctx context.Context) error {
	written := make(map[events.SessionID]time.Time)
	for {
		select {
		case u := <-t.used:
			if u.at.Sub(written[u.session]) < t.Idle/4 {
				continue
			}
			t.write(ctx, u, written)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write appends one use, and forgets the others when there are many.
func (t *Toucher) write(ctx context.Context, u use, written map[events.SessionID]time.Time) {
	fact := events.Seen{Session: u.session, At: u.at}
	if _, err := t.Log.Append(ctx, events.NewEvent(fact, t.Replica, u.at), events.Always()); err != nil {
		t.Logger.DebugContext(ctx, "use of a session not written", "session", u.session, "error", err)
		return
	}
	if len(written) >= maxUses {
		// At worst a use is written that need not have been. To look for those
		// that can be spared would take longer than writing them.
		clear(written)
	}
	written[u.session] = u.at
}
