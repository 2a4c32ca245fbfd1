package store

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// TestFullDisk lets the system refuse writes half-way through a transaction, as
// it does on a full disk: here the limit is one for the size of files. It is one
// for a whole process, so there is one for it.
func TestFullDisk(t *testing.T) {
	const name = "CURFEW_TEST_FULL_DISK"
	if os.Getenv(name) != "" {
		fillDisk(t)
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$")
	child.Env = append(os.Environ(), name+"=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func fillDisk(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 8, 300)
	s := h.open()
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	p.apply(s, registry, p.batch(0, 100))
	digest := digestOf(t, s)
	limitFiles(t, uint64(len(h.read()))+3*4096)
	failed := 0
	for range 3 {
		err := s.Commit(registry.Apply(p.batch(100, len(p.records))), p.end())
		if errors.Is(err, syscall.EFBIG) {
			failed++
		}
		if s.Mark().At != 100 || digestOf(t, s) != digest || s.Check() != nil {
			t.Errorf("%v, but it has changed", err)
		}
	}
	if failed != 3 || len(h.aside()) != 0 {
		t.Fatalf("%d of 3 commits were refused by the system, aside %v", failed, h.aside())
	}
	limitFiles(t, math.MaxInt64)
	p.apply(s, registry, p.batch(100, len(p.records)))
	want := newHouse(t).open()
	p.fill(want, 1000)
	wantSame(t, content(t, s, p), content(t, want, p))
	h.crash(s)
	h.restart()
	if again := h.open(); again.Check() != nil || len(h.aside()) != 0 {
		t.Error("after a full disk the file does not add up")
	}
}

// limitFiles limits how long a file this process may write.
func limitFiles(t *testing.T, size uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = min(size, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

// TestSpoiltInUse truncates the file under a running store, so that what bbolt
// has mapped is not there.
func TestSpoiltInUse(t *testing.T) {
	h, p := filledHouse(t, 100)
	s := h.open()
	if err := os.Truncate(h.config.Path, 2*4096); err != nil {
		t.Fatal(err)
	}
	_, err := s.Private(p.started[0])
	spoilt, ok := errors.AsType[*DamagedError](err)
	if !ok || spoilt.Moved == "" || len(h.aside()) != 1 || h.aside()[0] != spoilt.Moved {
		t.Fatalf("got %v, aside %v", err, h.aside())
	}
	if _, err := os.Stat(h.config.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	for i, err := range []error{
		s.Commit(nil, events.Mark{Log: pastLog, At: 1 << 20}), s.Load(func(sessions.Change) {}), s.Check(), s.Sweep(sessions.Swept{}),
	} {
		if !errors.Is(err, spoilt) {
			t.Errorf("%d: got %v, want %v", i, err, spoilt)
		}
	}
	if err := s.Aside("damaged"); err != nil {
		t.Fatal(err)
	}
	p.fill(s, 50)
	if err := s.Check(); err != nil || len(h.aside()) != 1 {
		t.Errorf("%v, aside %v", err, h.aside())
	}
}

// TestSpoiltAndClosed ends the process instead: the next one finds no file.
func TestSpoiltAndClosed(t *testing.T) {
	h, p := filledHouse(t, 100)
	s := h.open()
	if err := os.Truncate(h.config.Path, 2*4096); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit([]sessions.Change{{Session: p.started[0], Row: sessions.Row{Ended: 1}}}, events.Mark{Log: pastLog, At: 1 << 20}); err == nil {
		t.Fatal("committed into nothing")
	}
	h.close(s)
	if again := h.open(); again.Mark() != (events.Mark{}) {
		t.Errorf("mark %v", again.Mark())
	}
}

// TestAnotherToken changes a token behind the store's back: it is noticed when it
// is asked for.
func TestAnotherToken(t *testing.T) {
	h, p := filledHouse(t, 20)
	id := p.started[0]
	h.meddle(func(tx *bbolt.Tx) error {
		value := bytes.Clone(tx.Bucket(bucketSessions).Get(id[:]))
		value[len(value)-10] ^= 1
		return tx.Bucket(bucketSessions).Put(id[:], value)
	})
	for name, ask := range map[string]func(*Store) error{
		"private": func(s *Store) error { _, err := s.Private(id); return err },
		"digest":  func(s *Store) error { _, err := s.Digest(); return err },
	} {
		whole := h.read()
		s := h.open()
		if _, ok := errors.AsType[*DamagedError](ask(s)); !ok || len(h.aside()) != 1 {
			t.Errorf("%s: nothing noticed, aside %v", name, h.aside())
		}
		h.close(s)
		h.write(whole)
		if err := os.Remove(h.aside()[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAsideOwesNothing fails a commit, and then starts over.
func TestAsideOwesNothing(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 3, 20)
	s := h.open()
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	p.apply(s, registry, p.batch(0, 1))
	if err := s.Commit(registry.Apply(p.batch(1, len(p.records))), events.Mark{Log: events.LogID{1}}); err == nil {
		t.Fatal("another log's mark was taken")
	}
	if err := s.Aside("a test"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(nil, events.Mark{Log: events.LogID{1}, At: 1}); err != nil {
		t.Fatal(err)
	}
	if got := changes(t, s); len(got) != 0 {
		t.Errorf("%d things of what was put aside are in the new store", len(got))
	}
}

// TestMovedUnderUs leaves alone what has taken the place of our file.
func TestMovedUnderUs(t *testing.T) {
	h, _ := filledHouse(t, 10)
	s := h.open()
	if err := os.Rename(h.config.Path, h.config.Path+".by-hand"); err != nil {
		t.Fatal(err)
	}
	h.write([]byte("somebody's"))
	if err := s.Aside("x"); err == nil || string(h.read()[:10]) != "somebody's" {
		t.Errorf("moved aside another's file: %v", err)
	}
}

// TestTogether uses a store from many sides at once, for the race detector, and
// puts it aside meanwhile.
func TestTogether(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 6, 100)
	s := h.open()
	p.fill(s, 1000)
	ctx, stop := context.WithCancel(t.Context())
	var readers, runner sync.WaitGroup
	runner.Go(func() { _ = s.Run(ctx) })
	refuse := func(err error) {
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	for range 4 {
		readers.Go(func() {
			for i := range 200 {
				_, err := s.Private(p.started[i%len(p.started)])
				refuse(err)
				_, err = s.BySub(s.Hasher().Sub(issuer, p.logins[p.started[i%len(p.started)]].Sub))
				refuse(err)
				_, err = s.All(events.SessionID{}, 5)
				refuse(err)
				s.Mark()
			}
		})
	}
	readers.Go(func() {
		for range 5 {
			refuse(s.Aside("a test"))
			refuse(s.Check())
			p.fill(s, 40)
			refuse(s.Sweep(sessions.Swept{Sessions: p.started[:10]}))
		}
	})
	readers.Wait()
	stop()
	runner.Wait()
	refuse(s.Check())
	if len(h.aside()) != 5 {
		t.Errorf("%d files aside, want 5", len(h.aside()))
	}
}

// TestContained holds what bbolt does with a page number beyond the file.
func TestContained(t *testing.T) {
	h, p := filledHouse(t, 100)
	db, err := bbolt.Open(h.config.Path, 0o600, &bbolt.Options{ReadOnly: true, InitialMmapSize: mapped})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(h.config.Path, 4*4096); err != nil {
		t.Fatal(err)
	}
	err = contained(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			tx.Bucket(bucketSessions).Get(p.started[50][:])
			return nil
		})
	})
	if _, ok := errors.AsType[*damage](err); !ok {
		t.Errorf("got %v, want damage", err)
	}
	want := errors.New("x")
	if err := contained(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}
