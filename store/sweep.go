package store

import (
	"bytes"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// Sweep drops what the registry has found to matter no more. Where it has been
// dropped already, nothing happens.
func (s *Store) Sweep(swept sessions.Swept) error {
	s.commits.Lock()
	defer s.commits.Unlock()
	ids := slices.SortedFunc(slices.Values(swept.Sessions), events.SessionID.Compare)
	return s.with(func(db *bbolt.DB) error {
		err := db.Update(func(tx *bbolt.Tx) error { return sweep(tx, ids, swept, s.Mark()) })
		if err != nil {
			return fmt.Errorf("store: sweep: %w", err)
		}
		s.dirty.Store(true)
		return nil
	})
}

func sweep(tx *bbolt.Tx, ids []events.SessionID, swept sessions.Swept, mark events.Mark) error {
	w, err := newWriter(tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.dropRow(id); err != nil {
			return err
		}
	}
	var gone [][]byte
	cursor := w.tombstones.Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		t, err := parseTombstone(key, value)
		if err != nil {
			return err
		}
		if t.Position > swept.Oldest {
			break // those that follow are later still
		}
		if swept.Covers(t) {
			gone = append(gone, bytes.Clone(key))
		}
	}
	for _, key := range gone {
		if err := w.dropTombstone(key, w.tombstones.Get(key)); err != nil {
			return err
		}
	}
	return w.finish(tx, mark)
}
