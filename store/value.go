package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// schemaVersion is this package's own part of the schema.
const schemaVersion = 1

// schema names the form in which everything here is written, the core's rows
// and tombstones included. A file of another schema is not converted: the log
// makes a new one.
func schema() ([]byte, error) {
	row, err := sessions.Row{}.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	tombstone, err := sessions.Tombstone{}.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "curfew store %d, row %d of %d bytes, tombstone %d of %d bytes",
		schemaVersion, row[0], len(row), tombstone[0], len(tombstone)), nil
}

// entry is what is kept of a session. On disk it is the row's length in two
// bytes, the row, a checksum of the token in four, and the token as it came.
type entry struct {
	row sessions.Row
	// sealed is empty if no event with a token was seen yet.
	sealed []byte
	// head is how much of the value comes before the token.
	head int
}

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (e entry) value() ([]byte, error) {
	const guess = 256
	b := make([]byte, 2, guess+len(e.sealed))
	b, err := e.row.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(e.sealed, castagnoli))
	return append(b, e.sealed...), nil
}

// parseEntry reads a value. The token stays where it is, and its checksum is
// not looked at: see intact.
func parseEntry(value []byte) (e entry, err error) {
	if len(value) < 2 {
		return entry{}, damaged("a session's value of %d bytes", len(value))
	}
	e.head = 2 + int(binary.BigEndian.Uint16(value)) + 4
	if len(value) < e.head {
		return entry{}, damaged("a session's value of %d bytes, less than %d", len(value), e.head)
	}
	if err := e.row.UnmarshalBinary(value[2 : e.head-4]); err != nil {
		return entry{}, damaged("%v", err)
	}
	e.sealed = value[e.head:]
	return e, nil
}

// intact reports whether the token of a value is the one that was written.
func intact(value []byte, e entry) bool {
	return binary.BigEndian.Uint32(value[e.head-4:]) == crc32.Checksum(e.sealed, castagnoli)
}

// keys are the index entries of a session that has started; nil where it has
// none.
func (e entry) keys(id events.SessionID) (sid, sub []byte) {
	if e.row.Started == 0 {
		return nil, nil
	}
	return indexKey(e.row.Sid, id), indexKey(e.row.Sub, id)
}

// indexKey is a name's key and the session's id: many sessions bear one name.
func indexKey(key sessions.Key, id events.SessionID) []byte {
	if key.IsZero() {
		return nil
	}
	return append(key[:], id[:]...)
}

// sum adds up what a store holds, each part by its hash, so that it can be kept
// up with each change and proves in the end that no part was lost or is an
// older one. Pages of a file that was not synced come to the disk in any order:
// after a power cut a page may well be a sound one of last minute's, and the
// session in it not have ended yet. It is a safeguard against chance, not
// against someone who writes to the file.
type sum [4]uint64

func (s *sum) add(kind, key, value []byte) {
	for i, lane := range lanes(kind, key, value) {
		s[i] += lane
	}
}

func (s *sum) sub(kind, key, value []byte) {
	for i, lane := range lanes(kind, key, value) {
		s[i] -= lane
	}
}

func lanes(kind, key, value []byte) (lanes [4]uint64) {
	hash := sha256.New()
	hash.Write(kind)
	hash.Write(key) // of one length within a kind
	hash.Write(value)
	var digest [sha256.Size]byte
	hash.Sum(digest[:0])
	for i := range lanes {
		lanes[i] = binary.BigEndian.Uint64(digest[8*i:])
	}
	return lanes
}

// state is what a commit leaves: how far the log has been applied, and the sum
// of what it has added up to. On disk a checksum follows.
type state struct {
	mark events.Mark
	sum  sum
}

const stateLen = 8 + 8 + 4*8 + 4

func (at state) bytes() []byte {
	b := append(make([]byte, 0, stateLen), at.mark.Log[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.mark.At))
	for _, lane := range at.sum {
		b = binary.BigEndian.AppendUint64(b, lane)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func readState(tx *bbolt.Tx) (at state, err error) {
	b := tx.Bucket(bucketMeta).Get(metaState)
	const checked = stateLen - 4
	if len(b) != stateLen || binary.BigEndian.Uint32(b[checked:]) != crc32.Checksum(b[:checked], castagnoli) {
		return state{}, damaged("its mark is spoilt")
	}
	b = b[copy(at.mark.Log[:], b):]
	at.mark.At = events.Position(binary.BigEndian.Uint64(b))
	for i := range at.sum {
		at.sum[i] = binary.BigEndian.Uint64(b[8+8*i:])
	}
	return at, nil
}

// positionKey sorts as positions do.
func positionKey(at events.Position) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(at))
}
