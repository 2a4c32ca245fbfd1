package proof

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"curfew/events"
	"curfew/store"
)

// owed waits until the end of every session that was surely ended has been
// written, as subscribers may expect, and says which has not.
func (h *house) owed(t *testing.T) (violations []violation) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		missing := h.unwritten()
		if len(missing) == 0 {
			return nil
		}
		pause(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			for _, l := range missing {
				violations = append(violations, violation{4, fmt.Sprintf("the end of session %s (login %d) is not written%s",
					l.session, l.id, h.history.story(replicaSession{l, 0}))})
			}
			return violations
		}
		if err := h.witness.read(ctx); err != nil {
			t.Logf("the stream is not read: %v", err)
		}
	}
}

// unwritten lists sessions of this log that were surely ended, and have no end
// in it.
func (h *house) unwritten() (missing []*login) {
	written := make(map[string]bool)
	for _, told := range h.witness.log() {
		if ended, ok := told.event.Fact.(events.Ended); ok {
			written[ended.Session.String()] = true
		}
	}
	v := h.history // nobody adds to it any more
	lost := v.lastLoss()
	named := newDirectory(v.logins)
	seen := make(map[*login]bool)
	for _, e := range v.endings {
		if !e.complete || e.door == byLoss {
			continue
		}
		for _, l := range named.of(e) {
			// One that was finished only after it never was a session.
			if e.covers(l) == covered && l.finished.ret < e.call && l.begun.call > lost && !written[l.session] && !seen[l] {
				seen[l] = true
				missing = append(missing, l)
			}
		}
	}
	return missing
}

// closeDown has every replica go in good order, and looks into what each has
// left on its disk.
func (h *house) closeDown(t *testing.T) {
	ring, err := store.ParseKeyring(h.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range h.replicas {
		r.stop()
		s, err := store.Open(store.Config{
			Path: filepath.Join(r.data, "store.db"), Ring: ring, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Errorf("replica %d: %v", r.number, err)
			continue
		}
		if err := s.Check(); err != nil {
			t.Errorf("replica %d: its store does not add up: %v", r.number, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("replica %d: %v", r.number, err)
		}
	}
}
