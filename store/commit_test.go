package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// content is everything in a store that its index key has no part in.
func content(t testing.TB, s *Store, p *past) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, c := range changes(t, s) {
		switch {
		case c.Tombstone != nil:
			all[fmt.Sprintf("tombstone %d", c.Tombstone.Position)] = string(c.Tombstone.Reason())
		case c.Member != nil:
			all["member "+c.Member.Instance] = fmt.Sprintf("%+v", *c.Member)
		default:
			sealed, err := s.Sealed(c.Session)
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			c.Row.Issuer, c.Row.Sid, c.Row.Sub = sessions.Key{}, sessions.Key{}, sessions.Key{}
			all["session "+c.Session.String()] = fmt.Sprintf("%+v %s", c.Row, sealed)
		}
	}
	for i := range 20 {
		name := fmt.Sprintf("sid-%d-of-a-history", i)
		all[name] = fmt.Sprint(s.BySid(s.Hasher().Sid(issuer, name)))
		name = fmt.Sprintf("sub-%d-of-a-history", i)
		all[name] = fmt.Sprint(s.BySub(s.Hasher().Sub(issuer, name)))
	}
	all["all"] = fmt.Sprint(s.All(events.SessionID{}, len(p.records)))
	return all
}

func wantSame(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Fatalf("%s:\n got %s\nwant %s", key, got[key], want[key])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d things, want %d", len(got), len(want))
	}
}

// TestHistories fills stores with one log in different ways: in one batch; in
// random batches, with restarts, and parts of the log applied again; and from
// what of the log is left when only the last of each subject is kept.
func TestHistories(t *testing.T) {
	for seed := range uint64(30) {
		whole := newHouse(t)
		p := newPast(t, whole.config.Ring, seed, 60)
		first := whole.open()
		p.fill(first, len(p.records))
		want, digest := content(t, first, p), digestOf(t, first)
		if err := first.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}

		pieces := newHouse(t)
		second := pieces.fillInPieces(p, rand.New(rand.NewPCG(seed, 1)))
		wantSame(t, content(t, second, p), want)
		if digestOf(t, second) != digest {
			t.Fatalf("seed %d: digests differ", seed)
		}
		if second.Hasher() == first.Hasher() {
			t.Fatal("two stores, one index key")
		}

		compact := newHouse(t).open()
		p.records = compacted(p.records)
		registry := sessions.NewRegistry(compact.Hasher(), sessions.Policy{})
		batch := events.Batch{Log: pastLog, Records: p.records, Position: first.Mark().At}
		p.apply(compact, registry, batch)
		got := content(t, compact, p)
		for _, m := range []map[string]string{want, got} {
			maps.DeleteFunc(m, func(key, _ string) bool { return strings.HasPrefix(key, "member") })
		}
		wantSame(t, got, want)
		if digestOf(t, compact) != digest {
			t.Fatalf("seed %d: digests of a whole and a compacted log differ", seed)
		}
	}
}

// fillInPieces commits a past as an unlucky replica does.
func (h *house) fillInPieces(p *past, random *rand.Rand) *Store {
	s, registry := h.load()
	for at := 0; at < len(p.records); {
		to := min(at+1+random.IntN(40), len(p.records))
		from := max(0, at-random.IntN(20)) // some have been seen before
		made := registry.Apply(p.batch(from, to))
		for range 1 + random.IntN(2) {
			if err := s.Commit(made, events.Mark{Log: pastLog, At: events.Position(to)}); err != nil {
				h.Fatal(err)
			}
		}
		at = to
		if random.IntN(4) == 0 {
			if random.IntN(2) == 0 {
				h.close(s)
			} else {
				h.crash(s)
				h.config.boot = func() string { return fmt.Sprint(random.IntN(2)) }
			}
			s, registry = h.load()
			at = int(s.Mark().At)
		}
	}
	if err := s.Check(); err != nil {
		h.Fatal(err)
	}
	if len(h.aside()) > 0 {
		h.Fatalf("moved aside: %s", h.log)
	}
	return s
}

// load is how a replica starts.
func (h *house) load() (*Store, *sessions.Registry) {
	h.Helper()
	s := h.open()
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	if err := s.Load(registry.Load); err != nil {
		h.Fatal(err)
	}
	registry.LoadMark(s.Mark())
	return s, registry
}

func compacted(records []events.Record) (kept []events.Record) {
	last := make(map[string]events.Position)
	for _, r := range records {
		last[r.Fact.Subject()] = r.Position
	}
	for _, r := range records {
		if last[r.Fact.Subject()] == r.Position {
			kept = append(kept, r)
		}
	}
	return kept
}

// TestDigestTells changes one thing at a time.
func TestDigestTells(t *testing.T) {
	build := func(edit func(*past)) [32]byte {
		h := newHouse(t)
		s := h.open()
		p := &past{TB: t, ring: h.config.Ring, random: rand.New(rand.NewPCG(1, 1)), logins: make(map[events.SessionID]events.Started)}
		id := events.SessionID{15: 1}
		p.logins[id] = events.Started{
			Session: id, Issuer: issuer, Sub: "ada", Sid: "1", Secret: events.SecretHash{1},
			BegunAt: pastTime, At: pastTime, Expires: pastTime.Add(time.Hour),
		}
		p.say(p.logins[id])
		p.say(events.LogoutReceived{Issuer: issuer, Sub: "bob", JTI: "1", Reason: events.Admin})
		edit(p)
		p.sealAll()
		p.fill(s, 1)
		return digestOf(t, s)
	}
	login := func(p *past, edit func(*events.Started)) {
		f := p.records[0].Fact.(events.Started)
		edit(&f)
		p.records[0].Fact, p.logins[f.Session] = f, f
	}
	logout := func(p *past, edit func(*events.LogoutReceived)) {
		f := p.records[1].Fact.(events.LogoutReceived)
		edit(&f)
		p.records[1].Fact = f
	}
	id := events.SessionID{15: 1}
	edits := map[string]func(*past){
		"issuer":      func(p *past) { login(p, func(f *events.Started) { f.Issuer = "https://other.example" }) },
		"sub":         func(p *past) { login(p, func(f *events.Started) { f.Sub = "eve" }) },
		"sid":         func(p *past) { login(p, func(f *events.Started) { f.Sid = "" }) },
		"secret":      func(p *past) { login(p, func(f *events.Started) { f.Secret[0]++ }) },
		"expires":     func(p *past) { login(p, func(f *events.Started) { f.Expires = f.At }) },
		"renewable":   func(p *past) { login(p, func(f *events.Started) { f.Renewable = true }) },
		"end":         func(p *past) { p.say(events.Ended{Session: id, Reason: events.Idle, At: pastTime}) },
		"its reason":  func(p *past) { p.say(events.Ended{Session: id, Reason: events.Admin, At: pastTime}) },
		"a refresh":   func(p *past) { p.say(events.Refreshed{Session: id, At: pastTime}) },
		"a use":       func(p *past) { p.say(events.Seen{Session: id, At: pastTime}) },
		"its bound":   func(p *past) { logout(p, func(f *events.LogoutReceived) { f.Until = pastTime }) },
		"all":         func(p *past) { logout(p, func(f *events.LogoutReceived) { f.Sub, f.All = "", true }) },
		"by sid":      func(p *past) { logout(p, func(f *events.LogoutReceived) { f.Sub, f.Sid = "", "1" }) },
		"for backch.": func(p *past) { logout(p, func(f *events.LogoutReceived) { f.Reason = events.Backchannel }) },
		"the mark":    func(p *past) { p.say(events.Alive{Replica: "a", Instance: "b", Lease: 1}) },
	}
	seen := map[[32]byte]string{build(func(*past) {}): "nothing"}
	if again := build(func(*past) {}); seen[again] == "" {
		t.Fatal("the same log, another digest")
	}
	for name, edit := range edits {
		digest := build(edit)
		if other, found := seen[digest]; found {
			t.Errorf("%s: the digest is that of %s", name, other)
		}
		seen[digest] = name
	}
}

func TestNothingStandsInClear(t *testing.T) {
	h, p := filledHouse(t, 200)
	raw := h.read()
	if len(raw) < 100_000 {
		t.Fatalf("the file has %d bytes", len(raw))
	}
	for _, id := range p.started {
		login := p.logins[id]
		for _, secret := range []string{
			login.Sub, login.Issuer, "of-a-history", "@example.com", "id-token", "access-token", "refresh-token",
			login.Client.Address, login.Client.UserAgent, "op.example.com", keyA,
		} {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))} {
				if form != "" && bytes.Contains(raw, []byte(form)) {
					t.Fatalf("%q stands in the file", form)
				}
			}
		}
	}
	// The search can find what is there.
	for _, present := range [][]byte{p.started[0][:], []byte("by_sid"), []byte("instance-")} {
		if !bytes.Contains(raw, present) {
			t.Errorf("%q is not in the file", present)
		}
	}
}

// TestFailedCommit fills the file to its limit: what did not fit goes along with
// the next commit that does.
func TestFailedCommit(t *testing.T) {
	h := newHouse(t)
	h.config.maxSize = 1 << 18
	p := newPast(t, h.config.Ring, 3, 400)
	s := h.open()
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	failed := 0
	var kept events.Mark
	for from := 0; from < len(p.records); from += 25 {
		batch := p.batch(from, min(from+25, len(p.records)))
		before := digestOf(t, s)
		err := s.Commit(registry.Apply(batch), events.Mark{Log: batch.Log, At: batch.Position})
		if err == nil {
			kept = s.Mark()
			continue
		}
		failed++
		if s.Mark() != kept || digestOf(t, s) != before {
			t.Fatalf("%v, but it has changed", err)
		}
	}
	if failed == 0 || len(h.aside()) > 0 {
		t.Fatalf("%d commits did not fit, aside: %v", failed, h.aside())
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = 0
	// The follower comes again with what it thinks is missing, of which the
	// registry says that nothing changes.
	p.apply(s, registry, p.batch(int(kept.At), len(p.records)))
	want := newHouse(t).open()
	p.fill(want, 1000)
	wantSame(t, content(t, s, p), content(t, want, p))
	h.close(s)
	h.restart()
	h.open()
}

func TestCommitKeepsToOneLog(t *testing.T) {
	h := newHouse(t)
	p := newPast(t, h.config.Ring, 1, 10)
	s := h.open()
	p.fill(s, 5)
	before := digestOf(t, s)
	if err := s.Commit(nil, events.Mark{Log: events.LogID{9}, At: 1000}); err == nil {
		t.Error("another log's mark was taken")
	}
	if err := s.Commit(nil, events.Mark{Log: pastLog, At: 1}); err != nil || s.Mark() != p.end() || digestOf(t, s) != before {
		t.Errorf("%v, or the mark went back to %v", err, s.Mark())
	}
}

// TestIndexesFollow changes a row's names, which the log does not but a merge
// of late events could.
func TestIndexesFollow(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	id, other := events.NewSessionID(), events.NewSessionID()
	at := events.Position(0)
	commit := func(row sessions.Row) {
		t.Helper()
		at++
		err := s.Commit([]sessions.Change{{Session: id, Row: row}, {Session: other, Row: sessions.Row{Started: 1, Sub: sessions.Key{1}}}}, events.Mark{At: at})
		if err != nil {
			t.Fatal(err)
		}
		err = s.view(func(tx *bbolt.Tx) error {
			return agree(tx, func(events.SessionID, entry) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rows := []sessions.Row{
		{Ended: 3},
		{Started: 2, Ended: 3, Sid: sessions.Key{1}, Sub: sessions.Key{1}},
		{Started: 2, Ended: 3, Sid: sessions.Key{2}, Sub: sessions.Key{1}},
		{Started: 2, Ended: 3, Sub: sessions.Key{2}},
		{Started: 2, Ended: 3, Sid: sessions.Key{1}, Sub: sessions.Key{1}},
		{Ended: 3},
	}
	for i, row := range rows {
		commit(row)
		for n := byte(1); n <= 2; n++ {
			bySid, err := s.BySid(sessions.Key{n})
			bySub, err2 := s.BySub(sessions.Key{n})
			bySub = slices.DeleteFunc(bySub, func(x events.SessionID) bool { return x == other })
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if got, want := len(bySid) == 1, row.Sid == (sessions.Key{n}); got != want {
				t.Errorf("%d: listed under sid %d: %v, want %v", i, n, got, want)
			}
			if got, want := len(bySub) == 1, row.Sub == (sessions.Key{n}); got != want {
				t.Errorf("%d: listed under sub %d: %v, want %v", i, n, got, want)
			}
		}
	}
}
