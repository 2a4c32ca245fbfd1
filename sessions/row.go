package sessions

import (
	"math"
	"time"

	"curfew/events"
)

// Instant is a time in milliseconds since 1970, small and free of pointers.
// Zero means unknown.
type Instant int64

// InstantOf converts a time; the zero time is the zero Instant.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMilli())
}

// Time converts back, in UTC; the zero Instant is the zero time.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}

// grace is what two well-kept clocks may differ by.
const grace = time.Minute

// Row is what the log adds up to for one session. It holds no pointer and no
// name, so that a million of them cost the collector nothing and the disk may
// have them in clear.
type Row struct {
	// Secret is the hash of the cookie's secret.
	Secret events.SecretHash
	// Issuer, Sid and Sub are keys; Sid is zero if the ID token bore none.
	Issuer, Sid, Sub Key
	// Begun is how far the log had come when the login began.
	Begun events.Position
	// Started is where the session's start is; zero if it was not yet seen.
	Started events.Position
	// Sealed is where the event is whose tokens and claims are the newest.
	Sealed events.Position
	// Claimed is where the newest claim of a refresh is; zero if there is none.
	Claimed events.Position
	// Used is where the newest use is; zero if there is none since the start.
	Used events.Position
	// Ended is where the session's end is; zero if there is none.
	Ended events.Position
	// Over is when that end was written, by its writer's clock; zero while there
	// is none. It is for people to read: nothing is decided by it.
	Over Instant
	// Authenticated is the latest moment that a logout by sub alone must name
	// to cover the session: see authenticated.
	Authenticated Instant
	// At is when the login was finished.
	At Instant
	// Seen is when the log took the newest use in it; zero if there is none
	// since the start.
	Seen Instant
	// Expires is the absolute end.
	Expires Instant
	// Access is when the newest access token ends; zero if unknown.
	Access Instant
	// Renewed is when it was given.
	Renewed Instant
	// Asked is when the log took the newest claim, by the log's clock.
	Asked Instant
	// Renewable says that there is a refresh token.
	Renewable bool

	why cause
	// Of the newest claim, as events.Claimed has them; wait is in milliseconds.
	returned, doubt bool
	wait            uint32
}

// Reason is why the session has ended; empty while it has not.
func (r Row) Reason() events.Reason { return r.why.reason() }

// LastSeen is when the session was last known to be used: at its start, if not
// since.
func (r Row) LastSeen() Instant { return max(r.At, r.Seen) }

// over is the verdict on a session that somebody or something has ended.
func (r Row) over(now Instant) Verdict {
	switch {
	case r.why == causeOf(events.Expired):
		return Expired
	case now >= r.Expires:
		return Unknown
	case r.why == causeOf(events.Idle):
		return Idle
	default:
		return Ended
	}
}

// cause is an events.Reason without the string.
type cause uint8

var causes = [...]events.Reason{
	1: events.SignedOut,
	2: events.Backchannel,
	3: events.Admin,
	4: events.RefreshRefused,
	5: events.Expired,
	6: events.Idle,
}

func causeOf(reason events.Reason) cause {
	for i, known := range causes {
		if i > 0 && known == reason {
			return cause(i)
		}
	}
	return 0
}

func (c cause) reason() events.Reason {
	if int(c) >= len(causes) {
		return ""
	}
	return causes[c]
}

// authenticated tells when a session's user proved who they are, for a logout
// by sub alone: by auth_time where that is plausible. An auth_time that is
// missing, zero (Glewlwyd sends that), or after the login was finished is not:
// then it is when our login began, less the grace two clocks are given, since
// the logout's time is the OP's and this one is ours.
//
// A plausible auth_time counts as it is, though it be ahead of our clock, and so
// does the iat that it is compared with: both are by the OP's clock. To hold
// either against a clock of ours would have a logout miss its user where two of
// our replicas' clocks differ.
func authenticated(f events.Started) Instant {
	if f.AuthTime.Unix() > 0 && !f.AuthTime.After(f.At.Add(grace)) {
		return InstantOf(f.AuthTime)
	}
	return InstantOf(f.BegunAt.Add(-grace))
}

// Tombstone is what remains of a logout: it covers sessions, those it finds and
// those still to come whose login had begun.
type Tombstone struct {
	// Position is where the logout is in the log.
	Position events.Position
	// Issuer is always set. Sid and Sub are zero where the logout did not name
	// them; both are zero in a logout of all.
	Issuer, Sid, Sub Key
	// Until bounds a logout by sub alone to users who had authenticated by
	// then. Zero means no bound.
	Until Instant
	// Stored is when the log took the logout, by the log's clock.
	Stored Instant

	why cause
}

// Reason is what the covered sessions end for.
func (t Tombstone) Reason() events.Reason { return t.why.reason() }

// NamesAll reports whether the logout is of all that the issuer has.
func (t Tombstone) NamesAll() bool { return t.Sid.IsZero() && t.Sub.IsZero() }

// Covers reports whether the logout ends the session.
//
// Only what began before the logout reached the log is covered, by place in
// the log. Of that: with a sid, the sessions with that sid, or those that have
// none and are the named sub's; with a sub beside it, no other user's; with a
// sub alone, those of the sub who had authenticated by the token's iat; with
// neither, all of the issuer. So a session without a sid, of a logout that names
// both, goes by the rule of a sub alone, its bound by the iat included.
func (t Tombstone) Covers(r Row) bool {
	if r.Started == 0 || r.Begun >= t.Position || r.Issuer != t.Issuer {
		return false
	}
	switch {
	case t.NamesAll():
		return true
	case t.Sid.IsZero() || r.Sid.IsZero():
		return !t.Sub.IsZero() && r.Sub == t.Sub && r.Authenticated <= t.bound()
	default:
		return r.Sid == t.Sid && (t.Sub.IsZero() || r.Sub == t.Sub)
	}
}

// bound is Until with its zero spelled out.
func (t Tombstone) bound() Instant {
	if t.Until == 0 {
		return math.MaxInt64
	}
	return t.Until
}

// outdoes reports whether t covers whatever u covers, both having been found
// under one key.
func (t Tombstone) outdoes(u Tombstone) bool {
	return t.Sid == u.Sid && t.Sub == u.Sub && t.Position >= u.Position && t.bound() >= u.bound()
}
