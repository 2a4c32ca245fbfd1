package sessions

import (
	"encoding/binary"
	"errors"

	"curfew/events"
)

// A row and a tombstone on disk: a version, then the members in a fixed order,
// numbers big-endian. There is nothing in them to seal.
const (
	rowVersion = 2
	rowLen     = 1 + 32 + 3*16 + 6*8 + 8*8 + 4 + 2

	tombstoneVersion = 1
	tombstoneLen     = 1 + 3*16 + 3*8 + 1
)

var (
	errRowBytes       = errors.New("sessions: not a row of this version")
	errTombstoneBytes = errors.New("sessions: not a tombstone of this version")
)

// AppendBinary writes r for a store.
func (r Row) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, rowVersion)
	b = append(b, r.Secret[:]...)
	b = appendKeys(b, r.Issuer, r.Sid, r.Sub)
	for _, at := range []events.Position{r.Begun, r.Started, r.Sealed, r.Claimed, r.Used, r.Ended} {
		b = binary.BigEndian.AppendUint64(b, uint64(at))
	}
	for _, at := range []Instant{r.Authenticated, r.At, r.Seen, r.Expires, r.Access, r.Over, r.Renewed, r.Asked} {
		b = binary.BigEndian.AppendUint64(b, uint64(at))
	}
	b = binary.BigEndian.AppendUint32(b, r.wait)
	return append(b, flags(r.Renewable, r.returned, r.doubt), byte(r.why)), nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (r *Row) UnmarshalBinary(b []byte) error {
	if len(b) != rowLen || b[0] != rowVersion || b[rowLen-2] >= 1<<3 || int(b[rowLen-1]) >= len(causes) {
		return errRowBytes
	}
	b = b[1:]
	b = b[copy(r.Secret[:], b):]
	b = cutKeys(b, &r.Issuer, &r.Sid, &r.Sub)
	for _, at := range []*events.Position{&r.Begun, &r.Started, &r.Sealed, &r.Claimed, &r.Used, &r.Ended} {
		*at, b = events.Position(binary.BigEndian.Uint64(b)), b[8:]
	}
	for _, at := range []*Instant{&r.Authenticated, &r.At, &r.Seen, &r.Expires, &r.Access, &r.Over, &r.Renewed, &r.Asked} {
		*at, b = Instant(binary.BigEndian.Uint64(b)), b[8:]
	}
	r.wait, b = binary.BigEndian.Uint32(b), b[4:]
	r.Renewable, r.returned, r.doubt = b[0]&1 != 0, b[0]&2 != 0, b[0]&4 != 0
	r.why = cause(b[1])
	return nil
}

// AppendBinary writes t for a store.
func (t Tombstone) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, tombstoneVersion)
	b = appendKeys(b, t.Issuer, t.Sid, t.Sub)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Position))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Until))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Stored))
	return append(b, byte(t.why)), nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (t *Tombstone) UnmarshalBinary(b []byte) error {
	if len(b) != tombstoneLen || b[0] != tombstoneVersion || int(b[tombstoneLen-1]) >= len(causes) {
		return errTombstoneBytes
	}
	b = cutKeys(b[1:], &t.Issuer, &t.Sid, &t.Sub)
	t.Position = events.Position(binary.BigEndian.Uint64(b))
	t.Until = Instant(binary.BigEndian.Uint64(b[8:]))
	t.Stored = Instant(binary.BigEndian.Uint64(b[16:]))
	t.why = cause(b[24])
	return nil
}

func appendKeys(b []byte, keys ...Key) []byte {
	for _, key := range keys {
		b = append(b, key[:]...)
	}
	return b
}

func cutKeys(b []byte, keys ...*Key) []byte {
	for _, key := range keys {
		b = b[copy(key[:], b):]
	}
	return b
}

// flags are bits, the first the lowest.
func flags(set ...bool) (b byte) {
	for i, is := range set {
		if is {
			b |= 1 << i
		}
	}
	return b
}
