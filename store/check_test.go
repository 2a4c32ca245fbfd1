package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// TestSumTells changes one thing in a store at a time, leaving bbolt's own
// structure sound.
func TestSumTells(t *testing.T) {
	first := func(bucket []byte, fn func(b *bbolt.Bucket, key, value []byte) error) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			key, value := b.Cursor().First()
			return fn(b, bytes.Clone(key), bytes.Clone(value))
		}
	}
	flip := func(at int) func(b *bbolt.Bucket, key, value []byte) error {
		return func(b *bbolt.Bucket, key, value []byte) error {
			value[(at+len(value))%len(value)] ^= 1
			return b.Put(key, value)
		}
	}
	drop := func(b *bbolt.Bucket, key, _ []byte) error { return b.Delete(key) }
	again := func(b *bbolt.Bucket, key, value []byte) error {
		key[len(key)-1] ^= 1
		return b.Put(key, value)
	}
	edits := map[string]func(*bbolt.Tx) error{
		"a row's secret":         first(bucketSessions, flip(10)),
		"a row lost":             first(bucketSessions, drop),
		"a row twice":            first(bucketSessions, again),
		"a token":                first(bucketSessions, flip(-2)),
		"a tombstone's position": first(bucketTombstones, flip(56)),
		"a tombstone's time":     first(bucketTombstones, flip(70)),
		"a tombstone lost":       first(bucketTombstones, drop),
		"a tombstone twice":      first(bucketTombstones, again),
		"a sid lost":             first(bucketSid, drop),
		"a sid too many":         first(bucketSid, again),
		"a sub lost":             first(bucketSub, drop),
		"a sub too many":         first(bucketSub, again),
		"the sum": func(tx *bbolt.Tx) error {
			at, err := readState(tx)
			at.sum[0]++
			return errors.Join(err, tx.Bucket(bucketMeta).Put(metaState, at.bytes()))
		},
		"a member that is none":    func(tx *bbolt.Tx) error { return tx.Bucket(bucketMembers).Put([]byte("x"), []byte("{")) },
		"a session's key too long": func(tx *bbolt.Tx) error { return tx.Bucket(bucketSessions).Put(make([]byte, 17), nil) },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			h, p := filledHouse(t, 30)
			h.meddle(func(tx *bbolt.Tx) error {
				return errors.Join(edit(tx), tx.Bucket(bucketMeta).Delete(metaClean))
			})
			// In the same start it is only looked at by one who asks. Members
			// matter for a logout's wait alone, and are not in the check.
			s := h.open()
			if err := s.Check(); err == nil && name != "a member that is none" {
				t.Error("check finds nothing")
			}
			if len(h.aside()) != 0 {
				t.Error("a check put the file aside")
			}
			if strings.Contains(fmt.Sprint(s.Check()), p.logins[p.started[0]].Sub) {
				t.Error("the error names a user")
			}
			h.crash(s)
			h.restart()
			h.open()
			if len(h.aside()) != 1 && name != "a member that is none" {
				t.Error("after a restart of the machine it is trusted")
			}
		})
	}
}

// TestCheckOpensTokens swaps what no checksum can tell.
func TestCheckOpensTokens(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	p := newPast(t, h.config.Ring, 1, 4)
	p.fill(s, 10)
	id, other := p.started[0], p.started[1]
	var row sessions.Row
	for _, c := range changes(t, s) {
		if c.Session == id {
			row = c.Row
		}
	}
	stranger, err := p.private(id).Seal(newRing(t, keyB))
	if err != nil {
		t.Fatal(err)
	}
	renamed := p.private(id)
	renamed.Sub = "someone-else"
	misnamed, err := renamed.Seal(h.config.Ring)
	if err != nil {
		t.Fatal(err)
	}
	resecreted := p.private(id)
	resecreted.Secret[0]++
	stolen, err := resecreted.Seal(h.config.Ring)
	if err != nil {
		t.Fatal(err)
	}
	for name, sealed := range map[string]events.Sealed{
		"with another secret": stolen,
		"another session's":   p.seal(other), "another key's": stranger, "with another's name": misnamed, "none": "gAAA",
	} {
		if err := s.Commit([]sessions.Change{{Session: id, Row: row, Sealed: sealed}}, p.end()); err != nil {
			t.Fatal(err)
		}
		if s.Check() == nil {
			t.Errorf("%s: check finds nothing", name)
		}
		if _, err := s.Digest(); err == nil {
			t.Errorf("%s: digest finds nothing", name)
		}
		if err := s.Commit([]sessions.Change{{Session: id, Row: row, Sealed: p.seal(id)}}, p.end()); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
}
