package events

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Position is a place in the log: the stream sequence of an event, 1 for the
// first. Zero is the place before every event. Before and after are told by
// positions and by nothing else; no clock is asked.
type Position uint64

// LogID tells one log from another, so that a position in a log that was lost
// is never taken for a position in the one that replaced it. The zero value
// names no log.
type LogID [8]byte

// ParseLogID reads the text form of a LogID: sixteen hexadecimal digits.
func ParseLogID(text string) (LogID, error) {
	var id LogID
	if len(text) != hex.EncodedLen(len(id)) {
		return LogID{}, fmt.Errorf("events: log id %q: want %d hexadecimal digits", text, hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return LogID{}, fmt.Errorf("events: log id %q: %w", text, err)
	}
	return id, nil
}

// String is the text form that ParseLogID reads.
func (id LogID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes String the JSON form.
func (id LogID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseLogID for JSON.
func (id *LogID) UnmarshalText(text []byte) error {
	parsed, err := ParseLogID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Mark is a position as it is carried outside the log, in a cookie for
// example: it says which log it is a place in.
type Mark struct {
	Log LogID
	At  Position
}

// In returns the mark's position if it is a place in log, and otherwise zero,
// the beginning: a session begun in a log that was lost counts as begun before
// everything in the new one.
func (m Mark) In(log LogID) Position {
	if m.Log != log {
		return 0
	}
	return m.At
}

// Before reports whether m and other are places in one log, and m is the earlier.
func (m Mark) Before(other Mark) bool { return m.Log == other.Log && m.At < other.At }

// SessionID is a session's public, time-ordered name (a UUIDv7, RFC 9562
// section 5.7). It opens nothing by itself and may be logged and shown. The
// zero value names no session.
type SessionID [16]byte

var errSessionID = errors.New("want a lower-case UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")

// NewSessionID makes an id that sorts after those made before it in this
// process.
func NewSessionID() SessionID { return SessionID(uuid.Must(uuid.NewV7())) }

// ParseSessionID reads an id in the one form String writes; uuid.Parse's other
// spellings are refused, so that one session has one name. The version bits
// are not checked.
func ParseSessionID(text string) (SessionID, error) {
	parsed, err := uuid.Parse(text)
	if err != nil || parsed.String() != text || parsed == uuid.Nil {
		return SessionID{}, fmt.Errorf("events: session id %q: %w", text, errSessionID)
	}
	return SessionID(parsed), nil
}

// String is the canonical text of a UUID.
func (id SessionID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id names no session.
func (id SessionID) IsZero() bool { return id == SessionID{} }

// Compare is -1, 0 or 1, as of two numbers; of ids that were not made in one
// millisecond it tells which was the first.
func (id SessionID) Compare(other SessionID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText makes String the JSON form.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseSessionID for JSON.
func (id *SessionID) UnmarshalText(text []byte) error {
	parsed, err := ParseSessionID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// SecretHash is the SHA-256 of a session's secret. The secret itself is known
// to the cookie alone.
type SecretHash [32]byte

// MarshalText writes hexadecimal digits.
func (h SecretHash) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (h *SecretHash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("events: secret hash of %d characters: want %d", len(text), hex.EncodedLen(len(h)))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return fmt.Errorf("events: secret hash: %w", err)
	}
	return nil
}

// NewID makes an event's id.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }
