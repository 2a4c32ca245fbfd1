package natslog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"curfew/events"
)

// TestFirstSince asks before, between and after events, superseded ones among
// them.
func TestFirstSince(t *testing.T) {
	log := open(t, embeddedConfig(t))
	wantSince := func(after time.Time, want events.Position) {
		t.Helper()
		if got, err := log.FirstSince(t.Context(), after); got != want || err != nil {
			t.Errorf("after %s: %d, %v; want %d", after, got, err, want)
		}
	}
	wantSince(time.Unix(1, 0), 0)
	for _, name := range []string{"a", "b", "c", "b"} {
		if _, err := log.Append(t.Context(), alive(name), events.Always()); err != nil {
			t.Fatal(err)
		}
	}
	stored := map[events.Position]time.Time{}
	err := log.Follow(t.Context(), events.Mark{}, func(batch events.Batch) error {
		for _, record := range batch.Records {
			stored[record.Position] = record.Stored
		}
		if last := len(batch.Records) - 1; last >= 0 && !batch.Stored.Equal(batch.Records[last].Stored) {
			t.Errorf("the batch was stored %s, its last record %s", batch.Stored, batch.Records[last].Stored)
		}
		if batch.Position == batch.Last {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	wantSince(stored[1].Add(-time.Hour), 1)
	wantSince(stored[1], 3)
	wantSince(stored[3], 4)
	wantSince(stored[4], 0)
	wantSince(stored[4].Add(time.Hour), 0)
}

var errDone = errors.New("done")

// TestWrittenAnewUnderAFollower puts an older copy of the log in its place while
// the server is away, and has others write it on past where a follower is before
// that is back.
func TestWrittenAnewUnderAFollower(t *testing.T) {
	r := newRemote(t, nil)
	log := open(t, remoteConfig(r.server.ClientURL()))
	fill(t, log, 1, 2)
	r.stop()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(r.options.StoreDir)); err != nil {
		t.Fatal(err)
	}
	r.start()
	await(t, log, true)
	reader := read(t.Context(), log, events.Mark{})
	fill(t, log, 3, 4)
	reader.to(t, 4)
	r.stop()
	r.options.StoreDir, r.options.DontListen = before, true
	r.start()
	_, js := r.admin()
	for _, name := range []string{"x", "y", "z"} {
		message, err := events.Encode(alive(name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, js, message)
	}
	r.stop()
	r.options.DontListen = false
	r.start()
	select {
	case err := <-reader.over:
		lost, ok := errors.AsType[*events.LostError](err)
		if !ok || lost.Want.At != 4 || lost.Have.Last != 5 || lost.Since != 3 {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the follower goes on")
	}
}
