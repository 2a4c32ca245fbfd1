package store

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"go.etcd.io/bbolt"
)

var errKeep = errors.New("keep it")

// TestSpoiltIsAsked has whoever opens a file decide what becomes of a spoilt one,
// and nothing touched unless they let it.
func TestSpoiltIsAsked(t *testing.T) {
	put := func(key, value []byte) func(*house) {
		return func(h *house) {
			h.meddle(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(key, value) })
		}
	}
	for _, file := range []struct {
		name string
		make func(*house) error
		open func(*house) error
	}{
		{
			"store", func(h *house) error { h.close(h.open()); return nil },
			func(h *house) error { _, err := Open(h.config); return err },
		},
		{
			"outbox", func(h *house) error { return h.openOutbox().Close() },
			func(h *house) error { _, err := OpenOutbox(h.config); return err },
		},
	} {
		for name, test := range map[string]struct {
			spoil func(*house)
			want  Flaw
		}{
			"torn":          {func(h *house) { h.write([]byte("not a database")) }, Torn},
			"foreign":       {func(h *house) { h.meddle(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) }) }, Foreign},
			"other version": {put(metaSchema, []byte("curfew 9")), OtherVersion},
		} {
			h := newHouse(t)
			if err := file.make(h); err != nil {
				t.Fatal(err)
			}
			test.spoil(h)
			before := h.read()
			var asked *DamagedError
			for want, spoilt := range map[error]func(*DamagedError) error{
				errKeep: func(d *DamagedError) error { asked = d; return errKeep },
				nil:     nil, // nobody is asked
			} {
				h.config.Spoilt = spoilt
				err := file.open(h)
				damaged, _ := errors.AsType[*DamagedError](err)
				if want != nil && !errors.Is(err, want) || want == nil && (damaged == nil || damaged.Flaw != test.want) {
					t.Errorf("%s %s: got %v", file.name, name, err)
				}
				if !bytes.Equal(h.read(), before) || len(h.aside()) != 0 {
					t.Errorf("%s %s: touched, aside %v", file.name, name, h.aside())
				}
			}
			if asked == nil || asked.Flaw != test.want || asked.Reason == "" || asked.Moved != "" {
				t.Errorf("%s %s: asked about %+v", file.name, name, asked)
			}
		}
	}
}

// TestHalfMadeIsUnmade leaves nothing behind of a file that there was no room
// for: what would be found the next time would be taken for a spoilt one.
func TestHalfMadeIsUnmade(t *testing.T) {
	for name, open := range map[string]func(*house) error{
		"store":  func(h *house) error { _, err := Open(h.config); return err },
		"outbox": func(h *house) error { _, err := OpenOutbox(h.config); return err },
	} {
		h := newHouse(t)
		h.config.maxSize = 4 * 4096
		if err := open(h); err == nil {
			t.Fatalf("%s: made on a full disk", name)
		}
		if _, err := os.Stat(h.config.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it is there: %v", name, err)
		}
		h.config.maxSize = 0
		if err := open(h); err != nil || len(h.aside()) != 0 {
			t.Errorf("%s: then %v, aside %v", name, err, h.aside())
		}
	}
}

// TestAsideOnAFullDisk goes on when there is room again.
func TestAsideOnAFullDisk(t *testing.T) {
	h, p := filledHouse(t, 20)
	s := h.open()
	s.config.maxSize = 4 * 4096
	for range 2 {
		if err := s.Aside("a test"); err == nil {
			t.Fatal("made on a full disk")
		}
	}
	s.config.maxSize = 0
	if err := s.Aside("a test"); err != nil {
		t.Fatal(err)
	}
	p.fill(s, 50)
	if err := s.Check(); err != nil || len(h.aside()) != 1 {
		t.Errorf("%v, aside %v", err, h.aside())
	}
}

// TestSalvageIsFoundAgain keeps what was read of a spoilt outbox where the next
// start finds it, if there was no room for another.
func TestSalvageIsFoundAgain(t *testing.T) {
	h := newBox(t)
	o := h.openOutbox()
	first, second := logoutEvent(1), logoutEvent(2)
	wantPut(t, o, first, second)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	h.meddle(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketOutbox).Put(positionKey(1), []byte("1234567"))
	})
	h.config.maxSize = 4 * 4096
	if _, err := OpenOutbox(h.config); err == nil {
		t.Fatal("made on a full disk")
	}
	h.config.maxSize = 0
	wantKept(t, h.openOutbox(), second)
	if len(h.aside()) != 1 {
		t.Errorf("aside %v", h.aside())
	}
}
