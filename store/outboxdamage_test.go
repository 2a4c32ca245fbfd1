package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// letterOf is a value as it stands in the file.
func letterOf(t testing.TB, plain string) []byte {
	t.Helper()
	sealed, err := newRing(t, keyA).Seal([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(sealed))
	return append(sum[:letterSumLen:letterSumLen], sealed...)
}

func TestOutboxPutAsideAtTheStart(t *testing.T) {
	put := func(bucket, key, value []byte) func(*house) {
		return func(h *house) {
			h.meddle(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, value) })
		}
	}
	second := positionKey(2)
	tests := []struct {
		name   string
		spoil  func(*house)
		saved  []int // of the three in the box
		reason string
	}{
		{"a text", func(h *house) { h.write([]byte("not a database\n")) }, nil, ""},
		{"zeroes", func(h *house) { h.write(make([]byte, 1<<16)) }, nil, ""},
		{"cut short", func(h *house) {
			if err := os.Truncate(h.config.Path, 3*4096); err != nil {
				t.Fatal(err)
			}
		}, nil, ""},
		{"a newer schema", put(bucketMeta, metaSchema, []byte("curfew outbox 2")), nil, "curfew outbox 2"},
		{"a store", func(h *house) {
			if err := os.Remove(h.config.Path); err != nil {
				t.Fatal(err)
			}
			h.close(h.open())
		}, nil, "not an outbox"},
		{"a letter cut off", put(bucketOutbox, second, []byte("1234567")), []int{0, 2}, "cut off"},
		{"a letter spoilt", put(bucketOutbox, second, append(letterOf(t, "{}"), 'x')), []int{0, 2}, "is spoilt"},
		{"no event", put(bucketOutbox, second, letterOf(t, "{}")), []int{0, 2}, "specversion"},
		{"no letter", put(bucketOutbox, second, letterOf(t, "hello")), []int{0, 2}, "invalid character"},
		{"a bucket", func(h *house) {
			h.meddle(func(tx *bbolt.Tx) error { _, err := tx.Bucket(bucketOutbox).CreateBucket([]byte("x")); return err })
		}, []int{0, 1, 2}, "cut off"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newBox(t)
			o := h.openOutbox()
			list := []events.Event{logoutEvent(1), logoutEvent(2), logoutEvent(3)}
			wantPut(t, o, list...)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			test.spoil(h)
			spoilt := h.read()
			o = h.openOutbox()
			var saved []events.Event
			for _, i := range test.saved {
				saved = append(saved, list[i])
			}
			wantKept(t, o, saved...)
			h.crashOutbox(o)
			wantKept(t, h.openOutbox(), saved...)
			aside := h.aside()
			if len(aside) != 1 || !strings.HasSuffix(aside[0], ".20261122T120000Z") {
				t.Fatalf("aside %v, want one dated file", aside)
			}
			if moved, err := os.ReadFile(aside[0]); err != nil || !bytes.HasPrefix(moved, bytes.TrimRight(spoilt, "\x00")) {
				t.Errorf("what was moved is not what was there: %v", err)
			}
			if said := h.log.String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, test.reason) || strings.Count(said, "\n") != 1 {
				t.Errorf("said %s, want %q", said, test.reason)
			}
		})
	}
}

func TestOutboxNotOpened(t *testing.T) {
	h := newBox(t)
	h.openOutbox()
	if _, err := OpenOutbox(h.config); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("in use: %v", err)
	}
	if _, err := OpenOutbox(Config{}); err == nil {
		t.Error("a config without anything is taken")
	}
	folder := h.config
	folder.Path = filepath.Dir(folder.Path)
	if _, err := OpenOutbox(folder); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a folder: %v", err)
	}
	if len(h.aside()) != 0 {
		t.Errorf("aside %v", h.aside())
	}
}

// A process may be killed when bbolt has made its file and nobody's buckets are
// in it: nothing can have been lost.
func TestOutboxKilledWhileMade(t *testing.T) {
	h := newBox(t)
	h.write(nil)
	h.meddle(func(*bbolt.Tx) error { return nil })
	o := h.openOutbox()
	wantPut(t, o, logoutEvent(1))
	if len(h.aside()) != 0 || h.log.Len() != 0 {
		t.Errorf("aside %v, said %s", h.aside(), h.log)
	}
}

// What the disk has no room for is kept in memory, and written when there is.
func TestOutboxOnAFullDisk(t *testing.T) {
	h := newBox(t)
	h.config.maxSize = 1 << 16
	o := h.openOutbox()
	var kept []events.Event
	for n := 0; ; n++ {
		event := logoutEvent(n)
		kept = append(kept, event)
		err := o.Put(event)
		if errors.Is(err, sessions.ErrOutboxFull) || n > 1000 {
			t.Fatalf("%d: %v", n, err)
		}
		if err != nil {
			break
		}
	}
	last := kept[len(kept)-1]
	if err := o.Put(last); err == nil {
		t.Error("what is not on the disk is said to be there the second time")
	}
	wantKept(t, o, kept...)
	for _, event := range kept[:len(kept)/2] {
		if err := o.Drop(event.ID); err != nil {
			t.Fatal(err)
		}
	}
	wantPut(t, o, last)
	h.crashOutbox(o)
	h.config.maxSize = 0
	wantKept(t, h.openOutbox(), kept[len(kept)/2:]...)
}

// The file is truncated under a running process.
func TestOutboxSpoiltInUse(t *testing.T) {
	h := newBox(t)
	o := h.openOutbox()
	first, second := logoutEvent(1), logoutEvent(2)
	wantPut(t, o, first)
	if err := os.Truncate(h.config.Path, 2*4096); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, spoilt := errors.AsType[*DamagedError](o.Put(second))
		if !spoilt {
			t.Error("put into nothing")
		}
	}
	wantKept(t, o, first, second)
	if err := o.Drop(first.ID); err == nil {
		t.Error("dropped from nothing")
	}
	wantKept(t, o, second)
	// What is mapped keeps the lock, until the process ends.
	if err := errors.Join(syscall.Flock(int(o.file.Fd()), syscall.LOCK_UN), o.Close(), o.Close()); err != nil {
		t.Error(err)
	}
	if err := o.Put(second); err == nil {
		t.Error("put into a closed outbox")
	}
	wantKept(t, h.openOutbox())
	if len(h.aside()) != 1 {
		t.Errorf("aside %v", h.aside())
	}
}

func TestOutboxTakesEventsOnly(t *testing.T) {
	o := newBox(t).openOutbox()
	if err := o.Put(events.Event{}); err == nil || errors.Is(err, sessions.ErrOutboxFull) {
		t.Errorf("got %v", err)
	}
	wantKept(t, o)
}
