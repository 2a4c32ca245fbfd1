package store

import (
	"bytes"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// Sealed returns the newest token that the log brought for a session, as it
// came. The error is ErrNotFound if there is none.
func (s *Store) Sealed(id events.SessionID) (sealed events.Sealed, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		value := tx.Bucket(bucketSessions).Get(id[:])
		if value == nil {
			return ErrNotFound
		}
		e, err := parseEntry(value)
		switch {
		case err != nil:
			return err
		case !intact(value, e):
			return errToken(id)
		case len(e.sealed) == 0:
			return ErrNotFound
		}
		sealed = events.Sealed(e.sealed)
		return nil
	})
	return sealed, err
}

// Private opens what is sealed for a session. The error is ErrNotFound if there
// is none, and another if no key of the ring opens it.
func (s *Store) Private(id events.SessionID) (sessions.Private, error) {
	sealed, err := s.Sealed(id)
	if err != nil {
		return sessions.Private{}, err
	}
	return sessions.OpenPrivate(s.config.Ring, id, sealed)
}

// BySid lists the sessions that bear a sid, in the order of their ids, whether
// they have ended or not.
func (s *Store) BySid(key sessions.Key) ([]events.SessionID, error) { return s.named(bucketSid, key) }

// BySub lists the sessions of a user, in the order of their ids, whether they
// have ended or not.
func (s *Store) BySub(key sessions.Key) ([]events.SessionID, error) { return s.named(bucketSub, key) }

func (s *Store) named(bucket []byte, key sessions.Key) (ids []events.SessionID, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(bucket).Cursor()
		for at, _ := cursor.Seek(key[:]); bytes.HasPrefix(at, key[:]); at, _ = cursor.Next() {
			id, err := parseID(at[len(key):])
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// All lists at most limit sessions in the order of their ids, beginning after
// one; the zero id begins with the first. Ended ones are among them, those whose
// start was not yet seen are not.
func (s *Store) All(after events.SessionID, limit int) (ids []events.SessionID, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(bucketSessions).Cursor()
		for key, value := cursor.Seek(after[:]); key != nil && len(ids) < limit; key, value = cursor.Next() {
			id, e, err := parseSession(key, value)
			if err != nil {
				return err
			}
			if id != after && e.row.Started != 0 {
				ids = append(ids, id)
			}
		}
		return nil
	})
	return ids, err
}

func parseID(key []byte) (id events.SessionID, err error) {
	if len(key) != len(id) {
		return id, damaged("a session's key of %d bytes", len(key))
	}
	return events.SessionID(key), nil
}

func parseSession(key, value []byte) (id events.SessionID, e entry, err error) {
	if id, err = parseID(key); err == nil {
		e, err = parseEntry(value)
	}
	return id, e, err
}

func parseTombstone(key, value []byte) (t sessions.Tombstone, err error) {
	if err := t.UnmarshalBinary(value); err != nil {
		return t, damaged("%v", err)
	}
	if !bytes.Equal(key, positionKey(t.Position)) {
		return t, damaged("the tombstone of position %d under the key of another", t.Position)
	}
	return t, nil
}

// loadChunk is how many sessions are taken out of the file at a time. The
// receiver of a chunk is called when no transaction is open.
const loadChunk = 4096

// Load hands over everything that is kept, for a registry and a fleet that
// start: sessions in the order of their ids, without their tokens, then
// tombstones and members. It must not run beside Commit.
//
// It proves on the way that every row is there and is the one that was last
// committed. If it returns a *DamagedError, what it has handed over is worth
// nothing.
func (s *Store) Load(receive func(sessions.Change)) error {
	chunk := make([]sessions.Change, 0, loadChunk)
	var total sum
	for after := (events.SessionID{}); ; after = chunk[len(chunk)-1].Session {
		chunk = chunk[:0]
		err := s.view(func(tx *bbolt.Tx) error { return loadRows(tx, after, &chunk, &total) })
		if err != nil {
			return err
		}
		if len(chunk) == 0 {
			break
		}
		for _, change := range chunk {
			receive(change)
		}
	}
	if err := s.view(func(tx *bbolt.Tx) error { return loadRest(tx, &chunk, &total) }); err != nil {
		return err
	}
	for _, change := range chunk {
		receive(change)
	}
	return nil
}

func loadRows(tx *bbolt.Tx, after events.SessionID, chunk *[]sessions.Change, total *sum) error {
	cursor := tx.Bucket(bucketSessions).Cursor()
	for key, value := cursor.Seek(after[:]); key != nil && len(*chunk) < loadChunk; key, value = cursor.Next() {
		id, e, err := parseSession(key, value)
		if err != nil {
			return err
		}
		switch id.Compare(after) {
		case 0:
			continue
		case -1: // never in a sound file; in another it would go on for ever
			return damaged("session %s stands after %s", id, after)
		}
		after = id
		total.add(bucketSessions, key, value[:e.head])
		*chunk = append(*chunk, sessions.Change{Session: id, Row: e.row})
	}
	return nil
}

func loadRest(tx *bbolt.Tx, chunk *[]sessions.Change, total *sum) error {
	err := tx.Bucket(bucketTombstones).ForEach(func(key, value []byte) error {
		t, err := parseTombstone(key, value)
		if err != nil {
			return err
		}
		total.add(bucketTombstones, key, value)
		*chunk = append(*chunk, sessions.Change{Tombstone: &t})
		return nil
	})
	if err != nil {
		return err
	}
	if err := wantSum(tx, *total); err != nil {
		return err
	}
	return tx.Bucket(bucketMembers).ForEach(func(_, value []byte) error {
		m, err := parseMember(value)
		*chunk = append(*chunk, sessions.Change{Member: &m})
		return err
	})
}

// wantSum compares what was found with what was committed.
func wantSum(tx *bbolt.Tx, have sum) error {
	at, err := readState(tx)
	if err != nil {
		return err
	}
	if have != at.sum {
		return damaged("what it holds is not what was committed")
	}
	return nil
}

func errToken(id events.SessionID) error {
	return damaged("session %s: its token is not the one that was kept", id)
}
