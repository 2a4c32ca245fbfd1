package store

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"curfew/events"
)

// TestPagesInACircle makes a branch lead back to itself, in which bbolt would go
// on until the stack is full.
func TestPagesInACircle(t *testing.T) {
	h, _ := filledHouse(t, 300)
	file, err := os.OpenFile(h.config.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	whole := h.read()
	circles := 0
	for at := 2 * 4096; at+4096 <= len(whole); at += 4096 {
		p, _ := parsePage(whole[at : at+4096])
		if p.flags != flagBranch || p.id != uint64(at/4096) {
			continue
		}
		element, _ := p.element(p.count-1, branchElement)
		copy(element[8:], whole[at:at+8])
		circles++
	}
	if circles == 0 {
		t.Fatal("no branch in the file")
	}
	h.write(whole)
	if s := h.open(); s.Mark() != (events.Mark{}) || len(h.aside()) != 1 {
		t.Errorf("mark %v, aside %v", s.Mark(), h.aside())
	}
}

// TestFreePages spoils the list of free pages, where nothing but the list itself
// can tell.
func TestFreePages(t *testing.T) {
	h, _ := filledHouse(t, 100)
	whole := h.read()
	meta := h.newest()
	order := binary.NativeEndian
	at := meta.freelist * meta.pageSize
	count := order.Uint16(whole[at+10:])
	if count < 2 {
		t.Fatalf("%d pages are free", count)
	}
	last := at + pageHeader + 8*uint64(count-1)
	tests := map[string]struct {
		spoil func()
		want  string
	}{
		"one in use":  {func() { order.PutUint64(whole[last:], meta.root) }, "used twice"},
		"one twice":   {func() { copy(whole[last:last+8], whole[last-8:]) }, "used twice"},
		"one missing": {func() { order.PutUint16(whole[at+10:], count-1) }, "neither in use nor free"},
		"one beyond":  {func() { order.PutUint64(whole[last:], meta.pages) }, "page"},
		"a meta page": {func() { order.PutUint64(whole[last:], 0) }, "used twice"},
		"too many": {func() {
			order.PutUint16(whole[at+10:], manyFree)
			order.PutUint64(whole[at+pageHeader:], 1<<60)
		}, "no list"},
		"no list": {func() { order.PutUint16(whole[at+8:], flagLeaf) }, "no list"},
	}
	// From 65,535 on the number comes first in the list itself.
	list := whole[at+pageHeader:]
	order.PutUint16(whole[at+10:], manyFree)
	copy(list[8:], list[:8*count])
	order.PutUint64(list, uint64(count))
	before := h.read()
	h.write(whole)
	if err := h.walk(); err != nil {
		t.Errorf("a long list: %v", err)
	}
	h.write(before)
	for name, test := range tests {
		whole = h.read()
		test.spoil()
		h.write(whole)
		if err := h.walk(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want ...%s...", name, err, test.want)
		}
		h.write(before)
	}
	if err := h.walk(); err != nil {
		t.Error(err)
	}
}

// TestNewestMeta compares with what bbolt takes for the newest.
func TestNewestMeta(t *testing.T) {
	h, _ := filledHouse(t, 10)
	for range 4 {
		h.meddle(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("x"), []byte("x")) })
		db, err := bbolt.Open(h.config.Path, 0o600, &bbolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bbolt.Tx) error {
			if meta := h.newest(); meta.tx != uint64(tx.ID()) || meta.pageSize != uint64(db.Info().PageSize) {
				t.Errorf("got %+v, want transaction %d", meta, tx.ID())
			}
			return nil
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPageSizes walks what machines with larger pages write, with the first meta
// page and without it.
func TestPageSizes(t *testing.T) {
	for size := 1024; size <= maxPageSize; size *= 2 {
		h := newHouse(t)
		h.write(nil)
		db, err := bbolt.Open(h.config.Path, 0o600, &bbolt.Options{PageSize: size})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			err = errors.Join(err, db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte("x"))
				for i := range 500 {
					key := events.NewSessionID()
					err = errors.Join(err, b.Put(key[:], make([]byte, i*7)))
				}
				return err
			}))
		}
		if err := errors.Join(err, db.Close(), h.walk()); err != nil {
			t.Fatalf("pages of %d bytes: %v", size, err)
		}
		file, err := os.OpenFile(h.config.Path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		newest := h.newest()
		for _, offset := range []int64{0, int64(size)} {
			if meta, sound := metaAt(file, offset); sound && meta.tx == newest.tx {
				continue
			}
			if _, err := file.WriteAt(make([]byte, minMetaPageLen), offset); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(file.Close(), h.walk()); err != nil {
			t.Errorf("pages of %d bytes, without the older meta page: %v", size, err)
		}
	}
}

func (h *house) newest() boltMeta {
	h.Helper()
	file, err := os.Open(h.config.Path)
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	meta, err := newestMeta(file)
	if err != nil {
		h.Fatal(err)
	}
	return meta
}

func (h *house) walk() error {
	h.Helper()
	file, err := os.Open(h.config.Path)
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	return checkPages(file)
}
