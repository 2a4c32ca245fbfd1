package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// house is a store in a folder of its own, and what it logs.
type house struct {
	testing.TB
	config Config
	log    *bytes.Buffer
}

func newHouse(t testing.TB) *house {
	log := new(bytes.Buffer)
	return &house{t, Config{
		Path:   filepath.Join(t.TempDir(), "data", "store.db"),
		Ring:   newRing(t, keyA),
		Now:    func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) },
		Logger: slog.New(slog.NewTextHandler(log, nil)),
		Spoilt: func(*DamagedError) error { return nil },
		boot:   func() string { return "this start" },
	}, log}
}

func (h *house) open() *Store {
	h.Helper()
	s, err := Open(h.config)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = s.Close() })
	return s
}

func (h *house) close(s *Store) {
	h.Helper()
	if err := s.Close(); err != nil {
		h.Fatal(err)
	}
}

// crash ends a store as a process does that is killed: the file is left as it
// is, unlocked.
func (h *house) crash(s *Store) {
	h.Helper()
	// What is mapped keeps the lock, until the process ends.
	if err := errors.Join(syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN), s.file.Close()); err != nil {
		h.Fatal(err)
	}
	s.db, s.file, s.fault = nil, nil, errClosed
}

// restart is the machine starting anew.
func (h *house) restart() { h.config.boot = func() string { return "the next start" } }

// read returns the file without the room at its end that nothing is in yet.
func (h *house) read() []byte {
	h.Helper()
	content, err := os.ReadFile(h.config.Path)
	if err != nil {
		h.Fatal(err)
	}
	used := len(bytes.TrimRight(content, "\x00"))
	return content[:min(len(content), used+4096-used%4096)]
}

func (h *house) write(content []byte) {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(h.config.Path), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.config.Path, content, 0o600); err != nil {
		h.Fatal(err)
	}
}

// aside lists the files that were moved aside.
func (h *house) aside() []string {
	h.Helper()
	found, err := filepath.Glob(h.config.Path + ".*")
	if err != nil {
		h.Fatal(err)
	}
	return found
}

// filled is a house whose store holds a history, closed.
func filledHouse(t testing.TB, sessions int) (*house, *past) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 1, sessions)
	s := h.open()
	p.fill(s, 50)
	h.close(s)
	return h, p
}

func TestOpenMakesWhatItNeeds(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	if got := s.Mark(); got != (events.Mark{}) {
		t.Errorf("mark of an empty store: %v", got)
	}
	for path, want := range map[string]fs.FileMode{h.config.Path: 0o600, filepath.Dir(h.config.Path): fs.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info.Mode(), err, want)
		}
	}
	h.close(s)
	if err := os.Chmod(h.config.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	h.open()
	if info, err := os.Stat(h.config.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("opened again: %v, %v", info.Mode(), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := newHouse(t).config
	tests := map[string]func(*Config){
		"no path":      func(c *Config) { c.Path = "" },
		"no ring":      func(c *Config) { c.Ring = nil },
		"empty ring":   func(c *Config) { c.Ring = new(Keyring) },
		"no clock":     func(c *Config) { c.Now = nil },
		"no logger":    func(c *Config) { c.Logger = nil },
		"a folder":     func(c *Config) { c.Path = t.TempDir() },
		"under a file": func(c *Config) { c.Path = filepath.Join(os.Args[0], "store.db") },
	}
	for name, spoil := range tests {
		config := good
		spoil(&config)
		if s, err := Open(config); err == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
		}
	}
	if _, err := os.Stat(filepath.Dir(good.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}

func TestOnlyOneProcess(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	before := h.read()
	if _, err := Open(h.config); err == nil || !strings.Contains(err.Error(), "another process holds it") {
		t.Errorf("opened twice: %v", err)
	}
	if len(h.aside()) != 0 || !bytes.Equal(before, h.read()) {
		t.Error("the file of a running process was touched")
	}
	h.close(s)
	h.open()
}

func TestReopen(t *testing.T) {
	ends := map[string]func(*house, *Store){
		"closed":                func(h *house, s *Store) { h.close(s) },
		"killed":                func(h *house, s *Store) { h.crash(s) },
		"closed, then restart":  func(h *house, s *Store) { h.close(s); h.restart() },
		"killed, then restart":  func(h *house, s *Store) { h.crash(s); h.restart() },
		"restart, then killed":  func(h *house, s *Store) { h.close(s); h.restart(); h.crash(h.open()) },
		"machine tells nothing": func(h *house, s *Store) { h.crash(s); h.config.boot = func() string { return "" } },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := newPast(t, h.config.Ring, 1, 60)
			s := h.open()
			p.fill(s, 20)
			hasher, digest := s.Hasher(), digestOf(t, s)
			h.close(s)
			end(h, h.open())
			again := h.open()
			if len(h.aside()) != 0 {
				t.Fatalf("moved aside: %s", h.log)
			}
			if again.Mark() != p.end() || again.Hasher() != hasher || digestOf(t, again) != digest {
				t.Errorf("mark %v, want %v; same hasher: %v", again.Mark(), p.end(), again.Hasher() == hasher)
			}
			if err := again.Check(); err != nil {
				t.Error(err)
			}
			if doubted := strings.Contains(h.log.String(), "checking it"); doubted != (name == "killed, then restart" || name == "machine tells nothing") {
				t.Errorf("checked at the start: %v", doubted)
			}
		})
	}
}

func TestWrongKeyTouchesNothing(t *testing.T) {
	for _, clean := range []bool{true, false} {
		h, _ := filledHouse(t, 40)
		if !clean {
			h.crash(h.open())
			h.restart()
		}
		past := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(h.config.Path, past, past); err != nil {
			t.Fatal(err)
		}
		before := h.read()
		right := h.config.Ring
		h.config.Ring = newRing(t, keyB, specKey)
		_, err := Open(h.config)
		if _, ok := errors.AsType[*KeyError](err); !ok || !strings.Contains(err.Error(), "OIDC_TOKEN_ENCRYPTION_KEY") {
			t.Errorf("clean %v: got %v, want a *KeyError", clean, err)
		}
		info, err := os.Stat(h.config.Path)
		if err != nil || !info.ModTime().Equal(past) || !bytes.Equal(before, h.read()) || len(h.aside()) != 0 {
			t.Errorf("clean %v: touched: %v, %v, %v", clean, info, err, h.aside())
		}
		h.config.Ring = right
		if s := h.open(); s.Check() != nil || len(h.aside()) != 0 {
			t.Errorf("clean %v: not usable with the right key", clean)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	h, p := filledHouse(t, 20)
	h.config.Ring = newRing(t, keyB, keyA)
	s := h.open()
	if _, err := s.Private(p.started[0]); err != nil {
		t.Error(err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestAside(t *testing.T) {
	h, p := filledHouse(t, 20)
	s := h.open()
	old := s.Hasher()
	for i := range 3 {
		if err := s.Aside("the log is another one"); err != nil {
			t.Fatal(err)
		}
		if s.Mark() != (events.Mark{}) || s.Hasher() == old {
			t.Errorf("%d: mark %v, same hasher %v", i, s.Mark(), s.Hasher() == old)
		}
		if got := changes(t, s); len(got) != 0 {
			t.Errorf("%d: %d things are left", i, len(got))
		}
		if got := len(h.aside()); got != i+1 {
			t.Errorf("%d files aside, want %d", got, i+1)
		}
	}
	if !strings.Contains(h.log.String(), "the log is another one") || !strings.Contains(h.log.String(), "store.db.20261122T120000Z") {
		t.Errorf("log: %s", h.log)
	}
	p.fill(s, 7)
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	// What was moved is a whole store.
	h.config.Path = h.aside()[0]
	kept := h.open()
	if digestOf(t, kept) != digestOf(t, s) {
		t.Error("the file that was moved aside holds something else")
	}
}

// TestHeard keeps the newest that was heard with what was committed.
func TestHeard(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	if got := s.Heard(); !got.IsZero() {
		t.Errorf("an empty store has heard at %s", got)
	}
	newest := time.Date(2026, 11, 22, 12, 0, 0, 123, time.UTC)
	for i, at := range []time.Time{newest.Add(-time.Second), newest, newest.Add(-time.Hour), {}} {
		s.Hear(at)
		if err := s.Commit(nil, events.Mark{Log: events.LogID{1}, At: events.Position(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	h.close(s)
	s = h.open()
	if got := s.Heard(); !got.Equal(newest) {
		t.Errorf("heard at %s, want %s", got, newest)
	}
	if err := s.Aside("a test"); err != nil || !s.Heard().IsZero() {
		t.Errorf("aside: %v, heard at %s", err, s.Heard())
	}
}

func TestClosed(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	h.close(s)
	h.close(s)
	_, digestErr := s.Digest()
	_, sealedErr := s.Sealed(events.NewSessionID())
	for i, err := range []error{
		s.Commit(nil, events.Mark{At: 1}), s.Load(func(sessions.Change) {}), s.Aside("x"),
		s.Check(), digestErr, sealedErr, s.Sweep(sessions.Swept{}),
	} {
		if !errors.Is(err, errClosed) {
			t.Errorf("%d: got %v, want %v", i, err, errClosed)
		}
	}
}

func TestRunSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		s := h.open()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		for range 3 {
			if err := s.Commit(nil, events.Mark{Log: events.LogID{1}, At: s.Mark().At + 1}); err != nil {
				t.Fatal(err)
			}
			if !s.dirty.Load() {
				t.Fatal("nothing to sync after a commit")
			}
			<-time.After(syncEvery + time.Millisecond)
			synctest.Wait()
			if s.dirty.Load() {
				t.Error("a second later it is not synced")
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
}

// TestSyncThatFailsSpoilsTheStore closes the file under bbolt's feet.
func TestSyncThatFailsSpoilsTheStore(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	newPast(t, h.config.Ring, 1, 5).fill(s, 5)
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*DamagedError](s.sync()); !ok {
		t.Error("a sync that did not succeed is no damage")
	}
	if _, ok := errors.AsType[*DamagedError](s.Commit(nil, events.Mark{At: 9})); !ok || len(h.aside()) != 1 {
		t.Errorf("the next commit is not told, or the file still there: %v", h.aside())
	}
}

func changes(t testing.TB, s *Store) (list []sessions.Change) {
	t.Helper()
	if err := s.Load(func(c sessions.Change) { list = append(list, c) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func digestOf(t testing.TB, s *Store) [32]byte {
	t.Helper()
	digest, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// meddle changes the file of a closed store.
func (h *house) meddle(fn func(*bbolt.Tx) error) {
	h.Helper()
	db, err := bbolt.Open(h.config.Path, 0o600, nil)
	if err != nil {
		h.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		h.Fatal(err)
	}
}
