package sessions

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"curfew/events"
)

// Ticket is what the session cookie holds. It never changes during a session's
// life.
type Ticket struct {
	Session events.SessionID
	Secret  Secret
	// Mark is where the session's start is in the log, so that a replica which
	// is not there yet waits for it instead of turning its user away.
	Mark events.Mark
}

// Secret is what opens a session: 32 random bytes that only its cookie holds.
type Secret [32]byte

// NewSecret makes a secret.
func NewSecret() Secret {
	var s Secret
	rand.Read(s[:])
	return s
}

// Hash is all that curfew keeps of the secret.
func (s Secret) Hash() events.SecretHash { return events.SecretHash(sha256.Sum256(s[:])) }

// String hides the secret.
func (Secret) String() string { return "[secret]" }

// Format hides the secret whatever the verb: %d and %#v ask no String.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the secret from JSON, and so from logs written in it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Signer makes and checks message authentication codes that any replica can
// check.
type Signer interface {
	// MAC returns the code of message under the newest key.
	MAC(message []byte) [32]byte
	// CheckMAC reports whether mac, or a prefix of at least 16 bytes, is the
	// code of message under any key of the ring.
	CheckMAC(message, mac []byte) bool
}

// The parts of a ticket's bytes, in order.
const (
	ticketVersion = 1

	atSession = 1
	atSecret  = atSession + 16
	atLog     = atSecret + 32
	atMark    = atLog + 8
	atSigned  = atMark + 8
	atSelf    = atSigned + 16
	ticketLen = atSelf + 16
)

var ticketText = base64.RawURLEncoding.Strict()

// ErrTicket is what ParseTicket returns for anything that Encode did not write.
var ErrTicket = errors.New("sessions: not a session cookie of ours")

// Encode writes a ticket as a cookie's value. Two codes cover it: the signer's,
// so that nobody can make up a position for replicas to wait for, and one keyed
// by the secret itself, so that a changed cookie is told from a good one even
// after the signer's key has been retired.
func (t Ticket) Encode(s Signer) string {
	raw := make([]byte, ticketLen)
	raw[0] = ticketVersion
	copy(raw[atSession:], t.Session[:])
	copy(raw[atSecret:], t.Secret[:])
	copy(raw[atLog:], t.Mark.Log[:])
	binary.BigEndian.PutUint64(raw[atMark:], uint64(t.Mark.At))
	signed := s.MAC(signedPart(raw))
	copy(raw[atSigned:], signed[:16])
	self := selfCode(raw)
	copy(raw[atSelf:], self[:])
	return ticketText.EncodeToString(raw)
}

// ParseTicket reads a cookie's value. The second result tells whether the
// signer's code holds: if not, the Mark must not be waited for. Whether there is
// such a session is not checked.
func ParseTicket(text string, s Signer) (t Ticket, signed func() bool, err error) {
	var raw [ticketLen]byte
	if len(text) != ticketText.EncodedLen(ticketLen) {
		return Ticket{}, nil, ErrTicket
	}
	n, err := ticketText.Decode(raw[:], []byte(text))
	if err != nil || n != ticketLen || raw[0] != ticketVersion {
		return Ticket{}, nil, ErrTicket
	}
	self := selfCode(raw[:])
	if subtle.ConstantTimeCompare(self[:], raw[atSelf:]) != 1 {
		return Ticket{}, nil, ErrTicket
	}
	copy(t.Session[:], raw[atSession:])
	copy(t.Secret[:], raw[atSecret:])
	copy(t.Mark.Log[:], raw[atLog:])
	t.Mark.At = events.Position(binary.BigEndian.Uint64(raw[atMark:]))
	return t, func() bool { return s.CheckMAC(signedPart(raw[:]), raw[atSigned:atSelf]) }, nil
}

// signedPart is what the signer's code covers, under a prefix that keeps it
// apart from whatever else the signer signs.
func signedPart(raw []byte) []byte {
	return append([]byte("curfew ticket\x00"), raw[:atSigned]...)
}

// selfCode is keyed by the secret inside raw. The length of what is hashed is
// fixed, so a plain hash is as good as an HMAC here.
func selfCode(raw []byte) [16]byte {
	sum := sha256.Sum256(raw[:atSelf])
	return [16]byte(sum[:16])
}
