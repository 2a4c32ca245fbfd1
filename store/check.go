package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// Check proves that what is kept is what was committed, that the indexes list
// every session under the names it has and under no other, and that every token
// opens, is its session's, and bears those names. It changes nothing, whatever
// it finds, and reads everything: while it does, a commit that needs a larger
// file waits.
func (s *Store) Check() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fault != nil {
		return s.fault
	}
	err := contained(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			return agree(tx, func(id events.SessionID, e entry) error {
				_, err := s.genuine(id, e)
				return err
			})
		})
	})
	if err != nil {
		return fmt.Errorf("store: check: %w", err)
	}
	return nil
}

// agree proves the sum, the checksums and the indexes, and asks each about every
// session.
func agree(tx *bbolt.Tx, each func(events.SessionID, entry) error) error {
	var total sum
	sid, sub := lister{cursor: tx.Bucket(bucketSid).Cursor()}, lister{cursor: tx.Bucket(bucketSub).Cursor()}
	err := tx.Bucket(bucketSessions).ForEach(func(key, value []byte) error {
		id, e, err := parseSession(key, value)
		if err != nil {
			return err
		}
		total.add(bucketSessions, key, value[:e.head])
		sidKey, subKey := e.keys(id)
		switch {
		case !intact(value, e):
			return errToken(id)
		case !sid.lists(sidKey):
			return damaged("session %s: not listed under its sid", id)
		case !sub.lists(subKey):
			return damaged("session %s: not listed under its sub", id)
		}
		return each(id, e)
	})
	if err != nil {
		return err
	}
	if more := sid.rest() + sub.rest(); more != 0 {
		return damaged("%d index entries that belong to no session", more)
	}
	err = tx.Bucket(bucketTombstones).ForEach(func(key, value []byte) error {
		total.add(bucketTombstones, key, value)
		_, err := parseTombstone(key, value)
		return err
	})
	if err != nil {
		return err
	}
	return wantSum(tx, total)
}

// lister looks up index entries and counts those it found. Each is asked for
// once, so if it has found as many as there are, there are no others.
type lister struct {
	cursor *bbolt.Cursor
	found  int
}

// lists reports whether key is there; no key is.
func (l *lister) lists(key []byte) bool {
	if key == nil {
		return true
	}
	at, _ := l.cursor.Seek(key)
	if !bytes.Equal(at, key) {
		return false
	}
	l.found++
	return true
}

// rest is how many entries there are beside those found.
func (l *lister) rest() int {
	n := -l.found
	for key, _ := l.cursor.First(); key != nil; key, _ = l.cursor.Next() {
		n++
	}
	return n
}

// genuine opens a session's token and compares the names and the secret's hash in
// it with those it is kept under. It returns what was sealed; nothing, for a session without token.
// What it finds is no damage: the log may have brought it so.
func (s *Store) genuine(id events.SessionID, e entry) ([]byte, error) {
	if len(e.sealed) == 0 {
		if e.row.Started != 0 {
			return nil, fmt.Errorf("session %s: it has started without a token", id)
		}
		return nil, nil
	}
	sealed := events.Sealed(e.sealed)
	private, err := sessions.OpenPrivate(s.config.Ring, id, sealed)
	if err != nil {
		return nil, err
	}
	h := s.hasher
	named := e.row.Secret == private.Secret && e.row.Issuer == h.Issuer(private.Issuer) &&
		e.row.Sid == h.Sid(private.Issuer, private.Sid) && e.row.Sub == h.Sub(private.Issuer, private.Sub)
	if e.row.Started != 0 && !named {
		return nil, fmt.Errorf("session %s: what its token says it is, is not what it is kept as", id)
	}
	return s.config.Ring.Open(sealed)
}

// Digest is equal on replicas that have applied the log up to the same position
// and forgotten the same: it is made of what the log said, and of nothing that
// each replica makes up for itself, such as keys of names, or how a token was
// sealed. It opens every token; while it does, a commit that needs a larger file
// waits.
func (s *Store) Digest() ([32]byte, error) {
	digest := sha256.New()
	err := s.view(func(tx *bbolt.Tx) error {
		at, err := readState(tx)
		if err != nil {
			return err
		}
		fmt.Fprintf(digest, "mark %s %d\n", at.mark.Log, at.mark.At)
		err = tx.Bucket(bucketSessions).ForEach(func(key, value []byte) error {
			return s.digestSession(digest, key, value)
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketTombstones).ForEach(func(key, value []byte) error {
			return digestTombstone(digest, key, value)
		})
	})
	if err != nil {
		return [32]byte{}, fmt.Errorf("store: digest: %w", err)
	}
	return [32]byte(digest.Sum(nil)), nil
}

func (s *Store) digestSession(digest io.Writer, key, value []byte) error {
	id, e, err := parseSession(key, value)
	if err != nil {
		return err
	}
	if !intact(value, e) {
		return errToken(id)
	}
	plain, err := s.genuine(id, e)
	if err != nil {
		return err
	}
	e.row.Issuer, e.row.Sid, e.row.Sub = sessions.Key{}, sessions.Key{}, sessions.Key{}
	row, err := e.row.AppendBinary(nil)
	fmt.Fprintf(digest, "session %s %x %x\n", id, row, sha256.Sum256(plain))
	return err
}

func digestTombstone(digest io.Writer, key, value []byte) error {
	t, err := parseTombstone(key, value)
	if err != nil {
		return err
	}
	bySid, bySub := !t.Sid.IsZero(), !t.Sub.IsZero()
	t.Issuer, t.Sid, t.Sub = sessions.Key{}, sessions.Key{}, sessions.Key{}
	bounds, err := t.AppendBinary(nil)
	fmt.Fprintf(digest, "tombstone %x %v %v\n", bounds, bySid, bySub)
	return err
}
