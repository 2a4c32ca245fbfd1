package main

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
	"curfew/store"
)

func newTestStore(t *testing.T) (*store.Store, *store.Keyring) {
	t.Helper()
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
	return s, ring
}

// What has come and is not in the store yet is found by its names, also when a
// refresh has come after it, or the same once more.
func TestRowsThatHaveArrived(t *testing.T) {
	r := newRows(newTestStore(t))
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

// A logout finds what bears its sid, and what has none by its sub.
func TestNamedByALogout(t *testing.T) {
	r := newRows(newTestStore(t))
	hasher := r.Hasher()
	key := func(of func(string, string) sessions.Key, name string) sessions.Key {
		return of("https://id.example.com", name)
	}
	ids := map[string]events.SessionID{}
	var changes []sessions.Change
	for name, row := range map[string]sessions.Row{
		"both":       {Sid: key(hasher.Sid, "s1"), Sub: key(hasher.Sub, "ada")},
		"no sid":     {Sub: key(hasher.Sub, "ada")},
		"other's":    {Sid: key(hasher.Sid, "s2"), Sub: key(hasher.Sub, "eve")},
		"other sid":  {Sid: key(hasher.Sid, "s3"), Sub: key(hasher.Sub, "ada")},
		"other user": {Sid: key(hasher.Sid, "s1"), Sub: key(hasher.Sub, "eve")},
	} {
		ids[name], row.Started = events.NewSessionID(), 1
		changes = append(changes, sessions.Change{Session: ids[name], Row: row, Sealed: "x"})
	}
	if err := r.Commit(changes, events.Mark{Log: events.LogID{1}, At: 1}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, sid, sub string
		want           []string
	}{
		{"sid", "s1", "", []string{"both", "other user"}},
		{"sub", "", "ada", []string{"both", "no sid", "other sid"}},
		{"both", "s1", "ada", []string{"both", "no sid", "other sid", "other user"}},
	} {
		got, err := r.Named(sessions.Tombstone{Sid: hasher.Sid("https://id.example.com", tt.sid), Sub: hasher.Sub("https://id.example.com", tt.sub)})
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("%s: got %d, want %d, %v", tt.what, len(got), len(tt.want), err)
		}
		for _, name := range tt.want {
			if !slices.Contains(got, ids[name]) {
				t.Errorf("%s: %s is missing", tt.what, name)
			}
		}
	}
}
