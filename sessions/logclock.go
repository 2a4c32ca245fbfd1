package sessions

import (
	"sync"
	"time"
)

// LogClock tells the time by the log's clock, as far as it is known here: the
// time of the newest record and what has passed since it came, never more. It is
// zero until a record has come. What must be the same for every replica goes by
// it, since the time of day at one of them may be wrong.
//
// It goes back when the log's does: whoever leads the stream may have been ahead,
// and is right again by the next record. It must not stay ahead for that.
type LogClock struct {
	Clock Clock
	// Lull is how long the log may be silent while it is there: replicas append
	// heartbeats more often.
	Lull time.Duration

	mu   sync.Mutex
	last time.Time // of the newest record
	came Reading   // when that came
	back time.Time // of the newest that came after a silence
}

// Heard must be called with the time of the newest record each time that one has
// been applied. A silence longer than the heartbeats allow, in the log or on the
// way here, means that the log was away, or that we were. So does a clock that
// has been set by as much, ahead or back.
func (c *LogClock) Heard(stored time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stored.Sub(c.last).Abs() > c.Lull || c.Clock.elapsed(c.came) > c.Lull {
		c.back = stored
	}
	c.last, c.came = stored, c.Clock()
}

// now is the log's time, and since when there has been no silence: in a silence,
// since now.
func (c *LogClock) now() (now, back Instant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Clock.elapsed(c.came) > c.Lull {
		return InstantOf(c.read()), InstantOf(c.read())
	}
	return InstantOf(c.read()), InstantOf(c.back)
}

// earlier is the log's time or now, whichever is earlier: what is over by that is
// over by both.
func (c *LogClock) earlier(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if log := c.read(); log.Before(now) {
		return log
	}
	return now
}

func (c *LogClock) read() time.Time {
	if c.last.IsZero() {
		return c.last
	}
	return c.last.Add(c.Clock.elapsed(c.came))
}
