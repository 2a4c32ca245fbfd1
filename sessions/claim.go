package sessions

import (
	"time"

	"curfew/events"
)

const (
	// claimHolds is how long a claim keeps others from asking the OP, by the
	// log's clock. It is longer than claimTime and the OP's answer together, so
	// that whoever claims next does not ask while the OP still answers.
	claimHolds = 30 * time.Second
	// leadMost bounds how long before its end an access token is replaced.
	leadMost = time.Minute
	// waitFirst and waitMost bound the wait after an OP that was in trouble,
	// which doubles each time; askedMost is the most that an OP may ask for.
	waitFirst = time.Second
	waitMost  = time.Minute
	askedMost = 5 * time.Minute
)

// claim takes the claim that is latest in the log. What it says of those before
// it is all that is known of them, whether or not the log still has them.
func (r *Registry) claim(record events.Record, f events.Claimed) (Change, bool) {
	row, _ := r.rows.get(f.Session)
	if row.Claimed >= record.Position {
		return Change{}, false
	}
	row.Claimed, row.Asked = record.Position, InstantOf(record.Stored)
	row.wait, row.returned, row.doubt = milliseconds(f.Wait), f.Returned, f.Doubt
	return r.put(Change{Session: f.Session}, row), true
}

// milliseconds keeps within its bounds what another hand may have written.
func milliseconds(wait int64) uint32 { return uint32(min(max(wait, 0), askedMost.Milliseconds())) }

// Newest is where the newest event about the session is, of the kinds known.
func (r Row) Newest() events.Position {
	return max(r.Started, r.Sealed, r.Claimed, r.Used, r.Ended)
}

// fading reports whether the access token is to be replaced: in the last fifth
// of its life, at most its last minute, or past it, and not within a second of
// the last time.
func (r Row) fading(now Instant) bool {
	if !r.Renewable || r.Access == 0 || now < r.Renewed+Instant(waitFirst.Milliseconds()) {
		return false
	}
	lead := min((r.Access-r.Renewed)/5, Instant(leadMost.Milliseconds()))
	return now >= r.Access-max(lead, 0)
}

// claimed reports whether there is a claim since the tokens were last written.
func (r Row) claimed() bool { return r.Claimed > r.Sealed }

// claimable reports whether somebody may claim, at a time of the log's clock.
// A claim that was not given back holds on after the log was away, since back:
// who made it may have an answer that the log is to have first.
func (r Row) claimable(log, back Instant) bool {
	switch {
	case !r.claimed():
		return true
	case r.returned:
		return log >= r.Asked+Instant(r.wait)
	default:
		return log >= max(r.Asked, back)+Instant(claimHolds.Milliseconds())
	}
}

// doubtful reports whether the refresh token may have been spent by somebody
// who did not get to write the answer down: a claim that was not given back, or
// was while an earlier one, or the OP's answer to it, was in doubt.
func (r Row) doubtful() bool { return r.claimed() && (!r.returned || r.doubt) }

// waited is how long the last wait was; zero if none is due to be longer.
func (r Row) waited() time.Duration {
	if !r.claimed() {
		return 0
	}
	return time.Duration(r.wait) * time.Millisecond
}

// nextWait doubles a wait, or heeds an OP that asks for a longer one.
func nextWait(last, asked time.Duration) time.Duration {
	return max(min(max(2*last, waitFirst), waitMost), min(asked, askedMost))
}
