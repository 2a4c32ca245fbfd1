package sessions

import (
	"time"

	"curfew/events"
)

// model is the contract read aloud: a heap of facts, gone through from the
// start at each question, in plain names and times. It shares no code with the
// registry and is as slow as it is plain.
type model struct {
	policy  Policy
	records []events.Record
}

func (m model) verdict(id events.SessionID, now time.Time) Verdict {
	started := latest[events.Started](m, id, func(f events.Started) events.SessionID { return f.Session })
	if started.position == 0 {
		return Unknown
	}
	session := started.fact
	past := !now.Before(session.Expires)

	ended := latest[events.Ended](m, id, func(f events.Ended) events.SessionID { return f.Session })
	if ended.position != 0 && ended.fact.Reason == events.Expired {
		return Expired
	}
	if ended.position != 0 || m.loggedOut(session) {
		switch {
		case past:
			return Unknown // "ended for as long as the session could have lived, then no_session"
		case ended.position != 0 && ended.fact.Reason == events.Idle:
			return Idle
		default:
			return Ended
		}
	}
	if past || m.accessOver(session, started.position, now) {
		return Expired
	}
	if m.idle(session, now) {
		return Idle
	}
	return Alive
}

// found is a fact and where it was: at zero if there was none.
type found[F events.Fact] struct {
	fact     F
	position events.Position
}

// latest finds the fact of one kind about a session that is furthest on in the
// log.
func latest[F events.Fact](m model, id events.SessionID, of func(F) events.SessionID) (last found[F]) {
	for _, record := range m.records {
		fact, ok := record.Fact.(F)
		if ok && of(fact) == id && record.Position > last.position {
			last = found[F]{fact, record.Position}
		}
	}
	return last
}

// loggedOut: some logout in the log ends the session.
func (m model) loggedOut(session events.Started) bool {
	for _, record := range m.records {
		if logout, ok := record.Fact.(events.LogoutReceived); ok && ends(logout, record.Position, session) {
			return true
		}
	}
	return false
}

// ends is the contract's "What ends".
func ends(logout events.LogoutReceived, at events.Position, session events.Started) bool {
	if session.Begun >= at { // the login began after the logout had reached the log
		return false
	}
	if session.Issuer != logout.Issuer {
		return false
	}
	if logout.All {
		return true
	}
	if logout.Sid != "" && session.Sid != "" {
		if logout.Sub != "" && logout.Sub != session.Sub {
			return false
		}
		return logout.Sid == session.Sid
	}
	if logout.Sub == "" || logout.Sub != session.Sub {
		return false
	}
	if logout.Until.IsZero() { // an operator's
		return true
	}
	who := session.AuthTime
	missing := who.IsZero() || who.Unix() <= 0
	ahead := who.Sub(session.At) > time.Minute
	if missing || ahead {
		who = session.BegunAt.Add(-time.Minute)
	}
	return !who.After(logout.Until)
}

// accessOver: CURFEW_SESSION_UNTIL=access_token, and the newest access token
// has ended and cannot be refreshed.
func (m model) accessOver(session events.Started, started events.Position, now time.Time) bool {
	access, renewable := session.Access, session.Renewable
	last := latest[events.Refreshed](m, session.Session, func(f events.Refreshed) events.SessionID { return f.Session })
	if last.position > started {
		access, renewable = last.fact.Access, last.fact.Renewable
	}
	return m.policy.UntilAccess && !renewable && !access.IsZero() && !now.Before(access)
}

func (m model) idle(session events.Started, now time.Time) bool {
	if m.policy.Idle == 0 {
		return false
	}
	used := session.At
	last := latest[events.Seen](m, session.Session, func(f events.Seen) events.SessionID { return f.Session })
	if stored := m.stored(last.position); last.position != 0 && stored.After(used) {
		used = stored
	}
	return now.Sub(used) >= m.policy.Idle
}
