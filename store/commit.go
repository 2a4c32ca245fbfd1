package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// Commit keeps changes, in the order the registry made them, and how far the log
// has then been applied: all of it or, if it returns an error, nothing. What it
// keeps is on the disk a second later, see Run.
//
// The changes of a commit that was not taken go along with the next one, so the
// registry, which will not report them again, need not. The mark never goes
// back, and must stay in one log: Aside is for another.
//
// The error is a *DamagedError if the file turned out to be spoilt.
func (s *Store) Commit(changes []sessions.Change, mark events.Mark) error {
	s.commits.Lock()
	defer s.commits.Unlock()
	s.owed.add(changes)
	s.owed.settle()
	return s.with(func(db *bbolt.DB) error {
		have := s.Mark()
		switch {
		case have.Log != events.LogID{} && have.Log != mark.Log:
			return fmt.Errorf("store: commit: it keeps log %s, not %s", have.Log, mark.Log)
		case have.Log == mark.Log && mark.At < have.At:
			mark = have
		}
		if s.owed.empty() && mark == have {
			return nil
		}
		err := db.Update(func(tx *bbolt.Tx) error {
			return errors.Join(s.owed.write(tx, mark), s.keepHeard(tx))
		})
		if err != nil {
			return fmt.Errorf("store: commit up to %d: %w", mark.At, err)
		}
		s.owed = batch{}
		s.mark.Store(&mark)
		s.dirty.Store(true)
		return nil
	})
}

func (s *Store) keepHeard(tx *bbolt.Tx) error {
	return tx.Bucket(bucketMeta).Put(metaHeard, binary.BigEndian.AppendUint64(nil, uint64(s.heard.Load())))
}

// heardIn reads what keepHeard wrote; a store of before has none.
func heardIn(tx *bbolt.Tx) int64 {
	if b := tx.Bucket(bucketMeta).Get(metaHeard); len(b) == 8 {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// batch is what one transaction changes.
type batch struct {
	rows       []sessions.Change
	tombstones []sessions.Tombstone
	members    []sessions.Member
}

func (b *batch) empty() bool { return len(b.rows)+len(b.tombstones)+len(b.members) == 0 }

func (b *batch) add(changes []sessions.Change) {
	for _, change := range changes {
		switch {
		case change.Tombstone != nil:
			b.tombstones = append(b.tombstones, *change.Tombstone)
		case change.Member != nil:
			b.members = append(b.members, *change.Member)
		case !change.Session.IsZero():
			b.rows = append(b.rows, change)
		}
	}
}

// settle leaves of each thing its last state, in the order of the keys, in
// which bbolt is several times as fast as out of it.
func (b *batch) settle() {
	slices.SortStableFunc(b.rows, func(a, b sessions.Change) int { return a.Session.Compare(b.Session) })
	rows := b.rows[:0]
	for _, change := range b.rows {
		last := len(rows) - 1
		if last < 0 || rows[last].Session != change.Session {
			rows = append(rows, change)
			continue
		}
		rows[last].Row = change.Row
		if change.Sealed != "" {
			rows[last].Sealed = change.Sealed
		}
	}
	b.rows = rows
	slices.SortStableFunc(b.tombstones, func(a, b sessions.Tombstone) int { return cmp.Compare(a.Position, b.Position) })
	b.tombstones = slices.CompactFunc(b.tombstones, func(a, b sessions.Tombstone) bool { return a.Position == b.Position })
	slices.SortStableFunc(b.members, func(a, b sessions.Member) int { return cmp.Compare(a.Heard, b.Heard) })
	newest := make(map[string]int, len(b.members))
	for i, m := range b.members {
		newest[m.Instance] = i
	}
	members := b.members[:0]
	for i, m := range b.members {
		if newest[m.Instance] == i {
			members = append(members, m)
		}
	}
	b.members = members
}

// filled is how full pages are left into which keys come in ascending order, as
// sessions and tombstones do: nothing will be put between them.
const filled = 0.95

func (b *batch) write(tx *bbolt.Tx, mark events.Mark) error {
	w, err := newWriter(tx)
	if err != nil {
		return err
	}
	for _, change := range b.rows {
		if err := w.row(change.Session, change.Row, change.Sealed); err != nil {
			return err
		}
	}
	for _, t := range b.tombstones {
		if err := w.tombstone(t); err != nil {
			return err
		}
	}
	if err := writeMembers(tx.Bucket(bucketMembers), b.members); err != nil {
		return err
	}
	return w.finish(tx, mark)
}

// writer changes sessions and tombstones, and keeps the indexes and the sum
// right with them.
type writer struct {
	sessions, tombstones *bbolt.Bucket
	sum                  sum
	sid, sub             index
}

func newWriter(tx *bbolt.Tx) (*writer, error) {
	at, err := readState(tx)
	w := &writer{sessions: tx.Bucket(bucketSessions), tombstones: tx.Bucket(bucketTombstones), sum: at.sum}
	w.sessions.FillPercent, w.tombstones.FillPercent = filled, filled
	return w, err
}

func (w *writer) row(id events.SessionID, row sessions.Row, sealed events.Sealed) error {
	old, before, err := w.find(id)
	if err != nil {
		return err
	}
	after := entry{row: row, sealed: []byte(sealed)}
	if sealed == "" {
		after.sealed = before.sealed
	}
	value, err := after.value()
	if err != nil {
		return err
	}
	if bytes.Equal(old, value) {
		return nil
	}
	if old != nil {
		w.sum.sub(bucketSessions, id[:], old[:before.head])
	}
	w.sum.add(bucketSessions, id[:], value[:len(value)-len(after.sealed)])
	oldSid, oldSub := before.keys(id)
	newSid, newSub := after.keys(id)
	w.sid.exchange(oldSid, newSid)
	w.sub.exchange(oldSub, newSub)
	return w.sessions.Put(id[:], value)
}

func (w *writer) dropRow(id events.SessionID) error {
	old, before, err := w.find(id)
	if err != nil || old == nil {
		return err
	}
	w.sum.sub(bucketSessions, id[:], old[:before.head])
	sid, sub := before.keys(id)
	w.sid.exchange(sid, nil)
	w.sub.exchange(sub, nil)
	return w.sessions.Delete(id[:])
}

func (w *writer) find(id events.SessionID) (value []byte, e entry, err error) {
	if value = w.sessions.Get(id[:]); value != nil {
		e, err = parseEntry(value)
	}
	return value, e, err
}

func (w *writer) tombstone(t sessions.Tombstone) error {
	value, err := t.AppendBinary(nil)
	if err != nil {
		return err
	}
	key := positionKey(t.Position)
	if old := w.tombstones.Get(key); old != nil {
		w.sum.sub(bucketTombstones, key, old)
	}
	w.sum.add(bucketTombstones, key, value)
	return w.tombstones.Put(key, value)
}

func (w *writer) dropTombstone(key, value []byte) error {
	w.sum.sub(bucketTombstones, key, value)
	return w.tombstones.Delete(key)
}

// finish writes what was put off until all rows were known.
func (w *writer) finish(tx *bbolt.Tx, mark events.Mark) error {
	if err := w.sid.write(tx.Bucket(bucketSid)); err != nil {
		return err
	}
	if err := w.sub.write(tx.Bucket(bucketSub)); err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(metaState, state{mark, w.sum}.bytes())
}

// index gathers changes to an index, to be made in the order of its keys.
type index []indexChange

type indexChange struct {
	key  []byte
	drop bool
}

func (x *index) exchange(before, after []byte) {
	if bytes.Equal(before, after) {
		return
	}
	if before != nil {
		*x = append(*x, indexChange{before, true})
	}
	if after != nil {
		*x = append(*x, indexChange{after, false})
	}
}

func (x index) write(bucket *bbolt.Bucket) error {
	slices.SortFunc(x, func(a, b indexChange) int { return bytes.Compare(a.key, b.key) })
	for _, change := range x {
		var err error
		if change.drop {
			err = bucket.Delete(change.key)
		} else {
			err = bucket.Put(change.key, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
