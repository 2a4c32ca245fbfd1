package sessions

import (
	"fmt"
	"time"

	"curfew/events"
)

func sessionOfClaim(f events.Claimed) events.SessionID     { return f.Session }
func sessionOfRefresh(f events.Refreshed) events.SessionID { return f.Session }
func sessionOfStart(f events.Started) events.SessionID     { return f.Session }

// fading is the contract's "in the last fifth of its life (at most its last
// minute), or past it", and its "at most once a second per session".
func (m model) fading(id events.SessionID, now time.Time) bool {
	start := latest(m, id, sessionOfStart)
	given, ends, renewable := start.fact.At, start.fact.Access, start.fact.Renewable
	if last := latest(m, id, sessionOfRefresh); last.position > start.position {
		given, ends, renewable = last.fact.At, last.fact.Access, last.fact.Renewable
	}
	if !renewable || ends.IsZero() {
		return false
	}
	life := ends.Sub(given)
	lastFifth := ends.Add(-life / 5)
	if lastMinute := ends.Add(-time.Minute); lastFifth.Before(lastMinute) {
		lastFifth = lastMinute
	}
	if life < 0 {
		lastFifth = ends
	}
	return !now.Before(lastFifth) && !now.Before(given.Add(time.Second))
}

// claimable: nobody has claimed since the last tokens came, or did so long
// enough ago.
func (m model) claimable(id events.SessionID, clock time.Time) bool {
	claim := latest(m, id, sessionOfClaim)
	if claim.position <= m.written(id) {
		return true
	}
	over := m.stored(claim.position).Add(30 * time.Second)
	if claim.fact.Returned {
		over = m.stored(claim.position).Add(time.Duration(claim.fact.Wait) * time.Millisecond)
	}
	return !clock.Before(over)
}

// doubtful: the newest claim since the tokens were written was not given back,
// or says so.
func (m model) doubtful(id events.SessionID) bool {
	claim := latest(m, id, sessionOfClaim)
	return claim.position > m.written(id) && (claim.fact.Doubt || !claim.fact.Returned)
}

// written is where the session's tokens were last written.
func (m model) written(id events.SessionID) events.Position {
	return max(latest(m, id, sessionOfStart).position, latest(m, id, sessionOfRefresh).position)
}

func (m model) stored(position events.Position) (at time.Time) {
	for _, record := range m.records {
		if record.Position == position {
			at = record.Stored
		}
	}
	return at
}

// newest is where the log last says anything of a session.
func (m model) newest(id events.SessionID) (last events.Position) {
	for _, record := range m.records {
		if about(record.Fact) == id {
			last = max(last, record.Position)
		}
	}
	return last
}

func about(fact events.Fact) events.SessionID {
	switch fact := fact.(type) {
	case events.Started:
		return fact.Session
	case events.Refreshed:
		return fact.Session
	case events.Claimed:
		return fact.Session
	case events.Seen:
		return fact.Session
	case events.Ended:
		return fact.Session
	default:
		return events.SessionID{}
	}
}

// claims counts what the model was asked about claims, and answered yes.
type claims struct{ fading, claimable, held, doubtful int }

func (c *claims) add(more claims) {
	c.fading += more.fading
	c.claimable += more.claimable
	c.held += more.held
	c.doubtful += more.doubtful
}

// compareClaims holds what a row says of refreshes against the model.
func (h *history) compareClaims(r *Registry, m model, seen *claims) string {
	for _, id := range h.ids {
		row, verdict := r.Get(id, h.times[0])
		if verdict == Unknown && row.Started == 0 {
			continue
		}
		if got, want := row.Newest(), m.newest(id); got != want {
			return fmt.Sprintf("session %s: the newest is at %d, want %d", id, got, want)
		}
		if got, want := row.doubtful(), m.doubtful(id); got != want {
			return fmt.Sprintf("session %s: doubtful %t, want %t", id, got, want)
		} else if got {
			seen.doubtful++
		}
		for _, now := range h.times {
			if got, want := row.fading(InstantOf(now)), m.fading(id, now); got != want {
				return fmt.Sprintf("session %s at %v: fading %t, want %t", id, now, got, want)
			} else if got {
				seen.fading++
			}
			clock := now.Truncate(time.Second)
			if got, want := row.claimable(InstantOf(clock), 0), m.claimable(id, clock); got != want {
				return fmt.Sprintf("session %s at %v: claimable %t, want %t", id, clock, got, want)
			} else if got {
				seen.claimable++
			} else {
				seen.held++
			}
		}
	}
	return ""
}
