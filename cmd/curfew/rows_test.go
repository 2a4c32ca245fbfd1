package main

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"curfew/events"
	"curfew/store"
)

// What has come and is not in the store yet is found by its names, also when a
// refresh has come after it, or the same once more.
func TestRowsThatHaveArrived(t *testing.T) {
	ring, err := store.ParseKeyring(store.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store.db"), Ring: ring, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := newRows(s, ring)
	id := events.NewSessionID()
	came := func(at events.Position, fact events.Fact) {
		r.arrive(events.Batch{Records: []events.Record{{Event: events.Event{Fact: fact}, Position: at}}})
	}
	want := func(what string, found bool) {
		t.Helper()
		for name, ask := range map[string]func() ([]events.SessionID, error){
			"sid": func() ([]events.SessionID, error) { return r.OfSid("https://id.example.com", "s1") },
			"sub": func() ([]events.SessionID, error) { return r.OfSub("https://id.example.com", "ada") },
		} {
			ids, err := ask()
			if err != nil || slices.Contains(ids, id) != found || len(ids) > 1 {
				t.Errorf("%s, by %s: %v %v", what, name, ids, err)
			}
		}
		for _, ask := range []func() ([]events.SessionID, error){
			func() ([]events.SessionID, error) { return r.OfSid("https://other.example.com", "s1") },
			func() ([]events.SessionID, error) { return r.OfSub("https://id.example.com", "eve") },
		} {
			if ids, err := ask(); err != nil || len(ids) != 0 {
				t.Errorf("%s, by another name: %v %v", what, ids, err)
			}
		}
	}
	started := events.Started{Session: id, Issuer: "https://id.example.com", Sub: "ada", Sid: "s1", Sealed: "first"}
	want("before", false)
	came(4, started)
	want("started", true)
	came(9, events.Refreshed{Session: id, Sealed: "second"})
	want("refreshed", true)
	came(4, started)
	want("started once more", true)
	if got := r.arrived[id].sealed; got != "second" {
		t.Errorf("the newest is %q, want second", got)
	}
	r.settle()
	want("settled", false)
}
