package sessions

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"curfew/events"
)

// Private is what is known of a session that must not be read: it goes into the
// log and onto the disk sealed, and nowhere else.
type Private struct {
	// Session is whose it is, so that what is sealed for one session is never
	// taken for another's.
	Session events.SessionID `json:"session"`
	Issuer  string           `json:"issuer"`
	Sub     string           `json:"sub"`
	Sid     string           `json:"sid,omitempty"`
	// Secret is the hash of the session's secret: who can write to the log, but
	// cannot seal, must not put a secret of their own in its place.
	Secret  events.SecretHash `json:"secret"`
	User    Identity          `json:"user"`
	Tokens  Tokens            `json:"tokens"`
	Client  events.Client     `json:"client,omitzero"`
	Started time.Time         `json:"started"`
}

// Identity is who a user is, as applications are told.
type Identity struct {
	Username          string   `json:"username"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	Email             string   `json:"email,omitempty"`
	Name              string   `json:"name,omitempty"`
	Groups            []string `json:"groups,omitempty"`
}

// Tokens are what the OP gave for a session. Any but the ID token may be empty.
type Tokens struct {
	ID      string `json:"id_token"`
	Access  string `json:"access_token,omitempty"`
	Refresh string `json:"refresh_token,omitempty"`
	// Revocable says that the OP may have them back when the session has ended.
	// Tokens for access while nobody is there outlive it (OpenID Connect Core
	// 1.0 section 11).
	Revocable bool `json:"revocable,omitempty"`
}

// Sealer seals what must not be read and opens what it sealed.
type Sealer interface {
	// Seal returns a Fernet token of plain.
	Seal(plain []byte) (events.Sealed, error)
	// Open returns what was sealed, with any key of the ring.
	Open(sealed events.Sealed) ([]byte, error)
}

// Seal seals p.
func (p Private) Seal(s Sealer) (events.Sealed, error) {
	plain, err := json.Marshal(p) //nolint:gosec // the secret in it is a hash, and it is sealed
	if err != nil {
		return "", fmt.Errorf("sessions: seal %s: %w", p.Session, err)
	}
	sealed, err := s.Seal(plain)
	if err != nil {
		return "", fmt.Errorf("sessions: seal %s: %w", p.Session, err)
	}
	return sealed, nil
}

// ErrUnreadable is wrapped by what OpenPrivate returns: what was sealed will not
// be read again, unless with a key that is not in the ring.
var ErrUnreadable = errors.New("what is sealed is not readable")

var errOtherSession = errors.New("it was sealed for another session")

// OpenPrivate opens what was sealed for a session, and refuses what was sealed
// for another.
func OpenPrivate(s Sealer, id events.SessionID, sealed events.Sealed) (Private, error) {
	plain, err := s.Open(sealed)
	if err != nil {
		return Private{}, fmt.Errorf("sessions: open %s: %w: %w", id, ErrUnreadable, err)
	}
	var p Private
	if err := json.Unmarshal(plain, &p); err != nil {
		return Private{}, fmt.Errorf("sessions: open %s: %w: %w", id, ErrUnreadable, err)
	}
	if p.Session != id {
		return Private{}, fmt.Errorf("sessions: open %s: %w: %w", id, ErrUnreadable, errOtherSession)
	}
	return p, nil
}
