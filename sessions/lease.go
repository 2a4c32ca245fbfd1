package sessions

import (
	"sync"
	"time"
)

// Reading is one look at the clocks.
type Reading struct {
	// Boot is how long the machine has been up, suspension included
	// (CLOCK_BOOTTIME).
	Boot time.Duration
	// Wall is the time of day, with no monotonic part.
	Wall time.Time
}

// Clock reads the clocks. A lease needs two of them: Go's own monotonic clock
// stands still while a machine is suspended, and the time of day can be set.
type Clock func() Reading

// since is how long ago then was, at the most: by whichever clock has gone
// further. It is never negative. It bounds what this replica may do.
func (c Clock) since(then Reading) time.Duration {
	now := c()
	return max(now.Boot-then.Boot, now.Wall.Sub(then.Wall), 0)
}

// elapsed is how long ago then was, at the least: by the clock that nobody can
// set. It bounds what another replica may do, whose time goes by unchanged when
// the time of day is corrected here.
func (c Clock) elapsed(then Reading) time.Duration { return max(c().Boot-then.Boot, 0) }

// Lease is this replica's proof that it has missed no logout. A heartbeat that
// comes back through the log proves that everything before it was applied; a
// logout acknowledged since may still be on its way, but for no longer than the
// lease. While it is not fresh, nobody may be let in.
type Lease struct {
	// Length is how long a proof holds.
	Length time.Duration
	Clock  Clock

	mu     sync.Mutex
	sent   map[string]Reading // heartbeats on their way, by event id
	proof  Reading
	proven bool
}

// rate is what two clocks may differ by in speed: 1 %, counted against us.
const rate = 100

// Sending must be called just before a heartbeat is appended: the proof it will
// be counts from here. One that is sent again counts from the first time, since
// that may be when the log took it; one that is older than the lease proves
// nothing any more, and the next must be a new event.
func (l *Lease) Sending(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent == nil {
		l.sent = make(map[string]Reading)
	}
	if _, again := l.sent[id]; again {
		return
	}
	for old, reading := range l.sent {
		if l.Clock.since(reading) > l.Length {
			delete(l.sent, old)
		}
	}
	l.sent[id] = l.Clock()
}

// Heard must be called when a heartbeat has come back and all before it has
// been applied. One that this process has not sent is ignored.
func (l *Lease) Heard(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, mine := l.sent[id]
	if !mine {
		return
	}
	delete(l.sent, id)
	if !l.proven || l.Clock.since(sent) < l.Clock.since(l.proof) {
		l.proof, l.proven = sent, true
	}
}

// Fresh reports whether the proof still holds.
func (l *Lease) Fresh() bool {
	age, proven := l.Age()
	return proven && age < l.Length-l.Length/rate
}

// Age is how old the newest proof is; false if there is none.
func (l *Lease) Age() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.proven {
		return 0, false
	}
	return l.Clock.since(l.proof), true
}

// Drop gives the lease up, as a replica does that leaves or finds that its log
// is gone.
func (l *Lease) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proven = false
	clear(l.sent)
}
