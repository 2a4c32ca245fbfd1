package events

import (
	"errors"
	"time"
)

// Claimed says that a process is about to ask the OP for a session's new
// tokens, so that no other does: a refresh token may be good for one use only.
// It is appended IfLast. The claim is over when the session is Refreshed, when
// the process has given it back, or some time after the log took it.
type Claimed struct {
	Session SessionID `json:"session"`
	// Replica and Instance are the process that claims.
	Replica  string    `json:"replica"`
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
	// Returned says that the claim is given back: the OP was asked, or was to
	// be, and gave nothing.
	Returned bool `json:"returned,omitempty"`
	// Wait is for how long, in milliseconds from when the log took it, a claim
	// that is given back keeps everybody from the next. In a claim it is what
	// the last one waited, from which the next wait follows.
	Wait int64 `json:"wait_ms,omitempty"`
	// Doubt says that somebody may have spent the refresh token since the
	// session's tokens were last written, and not have lived to say so.
	Doubt bool `json:"doubt,omitempty"`
}

// Type returns TypeClaimed.
func (Claimed) Type() Type { return TypeClaimed }

// Subject is curfew.session.<id>.claimed.
func (f Claimed) Subject() string { return sessionSubject(f.Session, "claimed") }

func (f Claimed) about() string { return f.Session.String() }

func (f Claimed) validate() error {
	switch {
	case f.Session.IsZero():
		return missing("session")
	case f.At.IsZero():
		return missing("at")
	case f.Wait < 0:
		return errors.New("wait_ms is less than zero")
	}
	return validateReplica(f.Replica, f.Instance)
}
