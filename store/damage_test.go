package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

func TestPutAsideAtTheStart(t *testing.T) {
	bolt := func(fn func(*bbolt.Tx) error) func(*house) {
		return func(h *house) {
			h.write(nil)
			h.meddle(fn)
		}
	}
	own := func(fn func(*bbolt.Tx) error) func(*house) {
		return func(h *house) {
			h.close(h.open())
			h.meddle(fn)
		}
	}
	put := func(key, value []byte) func(*house) {
		return own(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(key, value) })
	}
	tests := []struct {
		name   string
		make   func(*house)
		reason string
	}{
		{"a text", func(h *house) { h.write([]byte("not a database\n")) }, ""},
		{"a long text", func(h *house) { h.write(bytes.Repeat([]byte("not a database\n"), 10000)) }, ""},
		{"zeroes", func(h *house) { h.write(make([]byte, 1<<16)) }, ""},
		{"an empty bbolt file", bolt(func(*bbolt.Tx) error { return nil }), "not a store"},
		{"another's bbolt file", bolt(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err }), "not a store"},
		{"another's meta", bolt(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucketMeta); return err }), "index key is missing"},
		{"a newer schema", put(metaSchema, []byte("curfew store 2")), "curfew store 2"},
		{"no schema", own(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaSchema) }), "schema"},
		{"a spoilt canary", put(metaIndexKey, []byte("12345678gAAAA")), "index key is spoilt"},
		{"half an index key", own(func(tx *bbolt.Tx) error {
			sealed, err := newRing(t, keyA).Seal(make([]byte, 31))
			check := sha256.Sum256([]byte(sealed))
			return errors.Join(err, tx.Bucket(bucketMeta).Put(metaIndexKey, append(check[:canarySumLen], sealed...)))
		}), "index key has 31 bytes"},
		{"half a mark", put(metaState, []byte("1234")), "its mark is spoilt"},
		{"another mark", put(metaState, make([]byte, stateLen)), "its mark is spoilt"},
		{"a bucket lost", own(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketSub) }), "bucket by_sub is missing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			test.make(h)
			before := h.read()
			s := h.open()
			if got := changes(t, s); len(got) != 0 || s.Mark() != (events.Mark{}) {
				t.Errorf("the new store holds %d things, up to %v", len(got), s.Mark())
			}
			aside := h.aside()
			if len(aside) != 1 {
				t.Fatalf("aside: %v", aside)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.HasPrefix(kept, before) {
				t.Errorf("what was moved aside is not what was there: %v", err)
			}
			if log := h.log.String(); !strings.Contains(log, test.reason) || !strings.Contains(log, aside[0]) {
				t.Errorf("log: %s", log)
			}
			newPast(t, h.config.Ring, 1, 5).fill(s, 2)
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// survive opens whatever the file has become, uses it, and wants it to be either
// exactly the store it was at one of its checkpoints, or put aside.
func (h *house) survive(p *past, was [][32]byte) (kept bool) {
	h.Helper()
	s, err := Open(h.config)
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	defer func() { _ = s.Close() }()
	load := s.Load(func(sessions.Change) {})
	var spoilt *DamagedError
	switch {
	case load == nil && s.Mark() != events.Mark{}:
		digest, err := s.Digest()
		kept = err == nil
		if err != nil && !errors.As(err, &spoilt) {
			h.Fatalf("digest: %v", err)
		}
		if kept && !slices.Contains(was, digest) {
			h.Fatal("another store than was committed")
		}
	case load != nil && !errors.As(load, &spoilt):
		h.Fatalf("load: %v", load)
	}
	h.use(s, p)
	if len(h.aside()) == 0 && !kept {
		h.Fatal("neither kept nor put aside")
	}
	return kept
}

// use reads and writes here and there, and goes on with an empty store if this
// one turns out to be spoilt.
func (h *house) use(s *Store, p *past) {
	h.Helper()
	fail := func(err error) {
		if _, ok := errors.AsType[*DamagedError](err); !ok && err != nil && !errors.Is(err, ErrNotFound) {
			h.Fatal(err)
		}
	}
	for _, id := range p.started {
		_, err := s.Sealed(id)
		fail(err)
		login := p.logins[id]
		_, err = s.BySid(s.Hasher().Sid(login.Issuer, login.Sid))
		fail(err)
	}
	_, err := s.All(events.SessionID{}, 1000)
	fail(err)
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	mark := events.Mark{Log: pastLog, At: p.end().At + 1}
	if err := s.Commit(registry.Apply(p.batch(0, len(p.records))), mark); err == nil {
		return
	} else {
		fail(err)
	}
	if err := s.Aside("it is spoilt"); err != nil {
		h.Fatal(err)
	}
	p.fill(s, 100)
	if err := s.Check(); err != nil {
		h.Fatal(err)
	}
}

func (h *house) tidy() {
	h.Helper()
	for _, path := range append(h.aside(), h.config.Path) {
		if err := os.Remove(path); err != nil {
			h.Fatal(err)
		}
	}
	h.log.Reset()
}

// spoiltStores is a store that was closed, killed, and killed with its machine.
// Only the last is checked at the start; a fault in the others is met in use.
func spoiltStores(t *testing.T, fn func(*testing.T, *house, *past, [][32]byte)) {
	for _, ending := range []string{"closed", "killed", "restarted"} {
		t.Run(ending, func(t *testing.T) {
			h := newHouse(t)
			p := newPast(t, h.config.Ring, 5, 50)
			s := h.open()
			digests := [][32]byte{digestOf(t, s)}
			registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
			for at := 0; at < len(p.records); at += 20 {
				p.apply(s, registry, p.batch(at, min(at+20, len(p.records))))
				digests = append(digests, digestOf(t, s))
			}
			if ending == "closed" {
				h.close(s)
			} else {
				h.crash(s)
			}
			if ending == "restarted" {
				h.restart()
			}
			fn(t, h, p, digests)
		})
	}
}

func TestTornFile(t *testing.T) {
	spoiltStores(t, func(t *testing.T, h *house, p *past, digests [][32]byte) {
		whole := h.read()
		cuts := []int{1, 15, 64, 4095, 4097, 8192, 8191, len(whole) - 1}
		for n := 1; n < 40; n++ {
			cuts = append(cuts, len(whole)*n/40)
		}
		for _, cut := range cuts {
			h.write(whole[:cut])
			h.survive(p, digests)
			h.tidy()
		}
	})
}

func TestFlippedBits(t *testing.T) {
	spoiltStores(t, func(t *testing.T, h *house, p *past, digests [][32]byte) {
		whole := h.read()
		random := rand.New(rand.NewPCG(1, 2))
		kept := 0
		const tries = 60
		for range tries {
			at := random.IntN(len(whole))
			if random.IntN(2) == 0 {
				at = at/4096*4096 + random.IntN(64) // pages' heads matter most
			}
			spoilt := bytes.Clone(whole)
			spoilt[at] ^= 1 << random.IntN(8)
			h.write(spoilt)
			if h.survive(p, digests) {
				kept++
			}
			h.tidy()
		}
		t.Logf("%d of %d flips were in places that matter to nobody", kept, tries)
		if kept == 0 || kept == tries {
			t.Errorf("%d of %d kept", kept, tries)
		}
	})
}

func TestShuffledPages(t *testing.T) {
	spoiltStores(t, func(t *testing.T, h *house, p *past, digests [][32]byte) {
		whole := h.read()
		random := rand.New(rand.NewPCG(1, 3))
		pages := len(whole) / 4096
		for range 25 {
			spoilt := bytes.Clone(whole)
			from, to := random.IntN(pages)*4096, random.IntN(pages)*4096
			copy(spoilt[to:to+4096], whole[from:])
			if random.IntN(2) == 0 { // so that it is what it says it is
				copy(spoilt[to:to+8], whole[to:to+8])
			}
			h.write(spoilt)
			h.survive(p, digests)
			h.tidy()
		}
	})
}

// TestPowerCut mixes the pages of a file as two commits left it, as a disk does
// that had not yet got all of them. Each page is sound; the store must still be
// the one of a checkpoint or none, and never one in which some sessions have
// ended and others not yet.
func TestPowerCut(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 9, 80)
	s := h.open()
	registry := p.fill(s, 20)
	var files [][]byte
	var digests [][32]byte
	take := func() {
		files, digests = append(files, h.read()), append(digests, digestOf(t, s))
	}
	take()
	for i := range 12 {
		from := len(p.records)
		p.say(events.Ended{Session: p.started[i], Reason: events.SignedOut, At: p.now()})
		p.apply(s, registry, p.batch(from, from+1))
		take()
	}
	h.crash(s)
	h.restart()
	random := rand.New(rand.NewPCG(4, 4))
	kept := 0
	const cuts = 60
	for range cuts {
		newest := 1 + random.IntN(len(files)-1)
		mixed := bytes.Clone(files[newest])
		old := files[max(0, newest-1-random.IntN(4))]
		for page := 0; page < len(old); page += 4096 {
			if random.IntN(4) == 0 {
				copy(mixed[page:page+4096], old[page:])
			}
		}
		h.write(mixed)
		if h.survive(p, digests) {
			kept++
		}
		h.tidy()
	}
	t.Logf("%d of %d power cuts left a store that adds up", kept, cuts)
	if kept == 0 || kept == cuts {
		t.Errorf("%d of %d kept", kept, cuts)
	}
}
