package events

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Type is a fact's CloudEvents type. Its last part is the major version: within
// one, members and kinds are only ever added.
type Type string

// The kinds of fact.
const (
	TypeStarted        Type = "curfew.session.started.v1"
	TypeRefreshed      Type = "curfew.session.refreshed.v1"
	TypeClaimed        Type = "curfew.session.claimed.v1"
	TypeSeen           Type = "curfew.session.seen.v1"
	TypeEnded          Type = "curfew.session.ended.v1"
	TypeLogoutReceived Type = "curfew.logout.received.v1"
	TypeAlive          Type = "curfew.replica.alive.v1"
	TypeLeft           Type = "curfew.replica.left.v1"
)

// Subjects of the log, and the subjects outside it.
const (
	// SubjectSessions, SubjectLogouts and SubjectReplicas are all that the
	// stream takes.
	SubjectSessions = "curfew.session.>"
	SubjectLogouts  = "curfew.logout.>"
	SubjectReplicas = "curfew.replica.>"

	// SubjectEnded is where the log publishes each stored end of a session
	// once more, for plain subscribers: one subject a session.
	SubjectEnded = "curfew.ended."
	// SubjectApplied is where a replica says, outside the log, how far it has
	// applied it: one subject a replica.
	SubjectApplied = "curfew.applied."
)

// Fact is one of the kinds of this package: Started, Refreshed, Claimed, Seen,
// Ended, LogoutReceived, Alive, Left. All are used by value.
type Fact interface {
	// Type is the fact's kind.
	Type() Type
	// Subject is the subject in the log under which the fact is kept; of
	// each subject the log keeps the last.
	Subject() string

	about() string   // the CloudEvents subject
	validate() error // what no writer may leave out
}

// Client is what is known of the browser that signed in. It is for people to
// recognise a session by; nothing is decided by it.
type Client struct {
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

// Started says that a user has signed in. It is appended IfFirst: a session
// starts once.
type Started struct {
	Session SessionID `json:"session"`
	Issuer  string    `json:"issuer"`
	Sub     string    `json:"sub"`
	// Sid is the OP's session id; empty if the ID token bore none.
	Sid string `json:"sid,omitempty"`
	// Secret is the hash of the cookie's secret.
	Secret SecretHash `json:"secret"`
	// Begun is how far the log had come when the login began: only logouts
	// after it cover the session.
	Begun Position `json:"begun"`
	// BegunAt is when the login began, by the clock of the replica it began at.
	BegunAt time.Time `json:"begun_at"`
	// At is when the login was finished, by the clock of the replica that
	// finished it.
	At time.Time `json:"at"`
	// AuthTime is when the user proved who they are, by the OP's clock
	// (auth_time, OpenID Connect Core section 2); zero if the OP does not say.
	AuthTime time.Time `json:"auth_time,omitzero"`
	// Expires is the session's absolute end.
	Expires time.Time `json:"expires"`
	// Access is when the access token ends; zero if the OP does not say.
	Access time.Time `json:"access_expires,omitzero"`
	// Renewable says that there is a refresh token.
	Renewable bool   `json:"renewable,omitempty"`
	Client    Client `json:"client,omitzero"`
	Sealed    Sealed `json:"sealed"`
}

// Refreshed says that the OP has given a session new tokens. It replaces what
// was sealed before, whole.
type Refreshed struct {
	Session SessionID `json:"session"`
	At      time.Time `json:"at"`
	// Access and Renewable are as in Started, of the new tokens.
	Access    time.Time `json:"access_expires,omitzero"`
	Renewable bool      `json:"renewable,omitempty"`
	// Claim is where the claim is under which the OP was asked.
	Claim  Position `json:"claim,omitempty"`
	Sealed Sealed   `json:"sealed"`
}

// Seen says that a session was used. It is written now and then, and only where
// sessions end by not being used.
type Seen struct {
	Session SessionID `json:"session"`
	At      time.Time `json:"at"`
}

// Reason says why a session ended.
type Reason string

// Why sessions end.
const (
	SignedOut      Reason = "signed_out"      // the user signed out, here or in a frame of the OP's
	Backchannel    Reason = "backchannel"     // the OP said so
	Admin          Reason = "admin"           // an operator said so
	RefreshRefused Reason = "refresh_refused" // the OP gives no new tokens
	Expired        Reason = "expired"         // its time was up
	Idle           Reason = "idle"            // nobody used it
)

// Valid reports whether r is one of the reasons of this package.
func (r Reason) Valid() bool {
	switch r {
	case SignedOut, Backchannel, Admin, RefreshRefused, Expired, Idle:
		return true
	}
	return false
}

// Ended says that a session is over. It is appended IfFirst, so that a session
// ends once however many replicas see it end.
type Ended struct {
	Session SessionID `json:"session"`
	Issuer  string    `json:"issuer"`
	Sub     string    `json:"sub"`
	Sid     string    `json:"sid,omitempty"`
	Reason  Reason    `json:"reason"`
	At      time.Time `json:"at"`
}

// LogoutReceived says that every session it names is over. It needs no list of
// them: whoever applies the log strikes what it covers. It is appended IfFirst,
// on a subject made of issuer, jti, iat, sub and sid, so that the same logout
// delivered again changes nothing.
type LogoutReceived struct {
	Issuer string `json:"issuer"`
	// Sub and Sid name whose sessions end; at least one is set, unless All.
	Sub string `json:"sub,omitempty"`
	Sid string `json:"sid,omitempty"`
	// All ends every session of the issuer. An OP cannot say this, an
	// operator can.
	All bool   `json:"all,omitempty"`
	JTI string `json:"jti"`
	// IssuedAt is the token's iat, to the letter: it is part of the logout's
	// identity.
	IssuedAt time.Time `json:"iat,omitzero"`
	// Until bounds a logout by sub alone to those who had authenticated by then:
	// the iat in whole seconds, by the OP's clock as auth_time is. Zero means no
	// such bound: an operator's logout is never delivered late.
	Until time.Time `json:"until,omitzero"`
	// Reason is what the sessions end for, Backchannel or Admin.
	Reason  Reason `json:"reason"`
	Replica string `json:"replica"`
}

// Alive is a replica's heartbeat. Its coming back through the log is the proof
// that the replica has missed nothing before it.
type Alive struct {
	Replica string `json:"replica"`
	// Position is how far the replica had applied the log.
	Position Position `json:"position"`
	// Instance tells two processes of one name apart, and a process from the
	// one it was before a restart.
	Instance string `json:"instance"`
	// Lease is how long, in milliseconds, the replica may go on without
	// another heartbeat.
	Lease int64 `json:"lease_ms"`
	// Log is the log in which Position is a place. Without it, Position says
	// nothing.
	Log LogID `json:"log,omitzero"`
}

// Left says that a process honours no session any more and need not be waited
// for.
type Left struct {
	Replica  string `json:"replica"`
	Instance string `json:"instance"`
}

// Type returns TypeStarted.
func (Started) Type() Type { return TypeStarted }

// Type returns TypeRefreshed.
func (Refreshed) Type() Type { return TypeRefreshed }

// Type returns TypeSeen.
func (Seen) Type() Type { return TypeSeen }

// Type returns TypeEnded.
func (Ended) Type() Type { return TypeEnded }

// Type returns TypeLogoutReceived.
func (LogoutReceived) Type() Type { return TypeLogoutReceived }

// Type returns TypeAlive.
func (Alive) Type() Type { return TypeAlive }

// Type returns TypeLeft.
func (Left) Type() Type { return TypeLeft }

// Subject is curfew.session.<id>.started.
func (f Started) Subject() string { return sessionSubject(f.Session, "started") }

// Subject is curfew.session.<id>.refreshed.
func (f Refreshed) Subject() string { return sessionSubject(f.Session, "refreshed") }

// Subject is curfew.session.<id>.seen.
func (f Seen) Subject() string { return sessionSubject(f.Session, "seen") }

// Subject is curfew.session.<id>.ended.
func (f Ended) Subject() string { return sessionSubject(f.Session, "ended") }

// Subject is curfew.logout.<hash>, whatever characters the logout's own names
// hold.
func (f LogoutReceived) Subject() string { return "curfew.logout." + f.hash() }

// Subject is curfew.replica.<name>.alive.
func (f Alive) Subject() string { return "curfew.replica." + f.Replica + ".alive" }

// Subject is curfew.replica.<name>.left.
func (f Left) Subject() string { return "curfew.replica." + f.Replica + ".left" }

// SessionScope is the wildcard subject over everything said of one session.
func SessionScope(id SessionID) string { return sessionSubject(id, ">") }

func sessionSubject(id SessionID, kind string) string {
	return "curfew.session." + id.String() + "." + kind
}

// hash is the logout's identity. Each part is preceded by its length, so that
// no two logouts share one by running together.
func (f LogoutReceived) hash() string {
	sum := sha256.New()
	for _, part := range []string{f.Issuer, f.JTI, issuedText(f.IssuedAt), f.Sub, f.Sid} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		sum.Write(size[:])
		sum.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18])
}

func issuedText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

func (f Started) about() string        { return f.Session.String() }
func (f Refreshed) about() string      { return f.Session.String() }
func (f Seen) about() string           { return f.Session.String() }
func (f Ended) about() string          { return f.Session.String() }
func (f LogoutReceived) about() string { return f.hash() }
func (f Alive) about() string          { return f.Replica }
func (f Left) about() string           { return f.Replica }

func (f Started) validate() error {
	switch {
	case f.Session.IsZero():
		return missing("session")
	case f.Issuer == "":
		return missing("issuer")
	case f.Sub == "":
		return missing("sub")
	case f.Secret == SecretHash{}:
		return missing("secret")
	case f.BegunAt.IsZero(), f.At.IsZero(), f.Expires.IsZero():
		return missing("begun_at, at or expires")
	}
	return f.Sealed.validate()
}

func (f Refreshed) validate() error {
	switch {
	case f.Session.IsZero():
		return missing("session")
	case f.At.IsZero():
		return missing("at")
	}
	return f.Sealed.validate()
}

func (f Seen) validate() error {
	switch {
	case f.Session.IsZero():
		return missing("session")
	case f.At.IsZero():
		return missing("at")
	}
	return nil
}

func (f Ended) validate() error {
	switch {
	case f.Session.IsZero():
		return missing("session")
	case !f.Reason.Valid():
		return fmt.Errorf("reason %q is not known", f.Reason)
	case f.At.IsZero():
		return missing("at")
	}
	return nil
}

func (f LogoutReceived) validate() error {
	switch {
	case f.Issuer == "":
		return missing("issuer")
	case f.Sub == "" && f.Sid == "" && !f.All:
		return errors.New("names nobody: sub, sid and all are missing")
	case f.All && (f.Sub != "" || f.Sid != ""):
		return errors.New("names all and somebody")
	case f.JTI == "":
		return missing("jti")
	case f.Reason != Backchannel && f.Reason != Admin && f.Reason != SignedOut:
		return fmt.Errorf("reason %q is none a logout has", f.Reason)
	}
	return nil
}

func (f Alive) validate() error {
	if f.Lease <= 0 {
		return missing("lease_ms")
	}
	return validateReplica(f.Replica, f.Instance)
}

func (f Left) validate() error { return validateReplica(f.Replica, f.Instance) }

func validateReplica(name, instance string) error {
	if instance == "" {
		return missing("instance")
	}
	return CheckReplicaName(name)
}

func missing(member string) error { return fmt.Errorf("%s is missing", member) }

// maxReplicaName keeps names fit for a subject, a header and a column.
const maxReplicaName = 63

// CheckReplicaName refuses a name that cannot stand in a subject: it must be 1
// to 63 letters, digits, hyphens or underscores.
func CheckReplicaName(name string) error {
	if name == "" || len(name) > maxReplicaName {
		return fmt.Errorf("replica name %q: want 1 to %d letters, digits, - or _", name, maxReplicaName)
	}
	for _, c := range []byte(name) {
		if !isNameByte(c) {
			return fmt.Errorf("replica name %q: want letters, digits, - or _, not %q", name, c)
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
