package sessions

import (
	stdflag "flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"curfew/events"
)

var (
	seedFlag      = stdflag.Uint64("seed", 0, "replay random tests with this seed; 0 takes a new one")
	historiesFlag = stdflag.Int("histories", 0, "how many random histories to try; 0 takes the usual number")
)

// seedOf returns the seed for a random test and tells how to replay it.
func seedOf(t testing.TB) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -seed=%d", seed)
	return seed
}

// TestRandomHistories compares the registry with the model after each event of
// thousands of histories, and the registry with itself, applied in other ways.
func TestRandomHistories(t *testing.T) {
	count := *historiesFlag
	if count == 0 {
		count = 10_000
		if testing.Short() {
			count = 1_000
		}
	}
	seed := seedOf(t)
	var seen [len(verdictNames)]int
	var asked claims
	// The race detector takes ten times as long: it gets as far as it gets.
	enough := time.Now().Add(20 * time.Second)
	for n := range count {
		if time.Now().After(enough) && *historiesFlag == 0 {
			t.Logf("%d histories tried", n)
			break
		}
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		h := newHistory(rng)
		if fault := h.check(&seen); fault != "" {
			t.Fatalf("seed %d, history %d: %s\n%s", seed, n, fault, h)
		}
		asked.add(h.claims)
	}
	for verdict, times := range seen {
		if times == 0 {
			t.Errorf("no history ever led to %s", verdictNames[verdict])
		}
	}
	if asked.fading == 0 || asked.claimable == 0 || asked.held == 0 || asked.doubtful == 0 {
		t.Errorf("no history ever led to one of these: %+v", asked)
	}
	t.Logf("claims compared: %+v", asked)
	t.Logf("verdicts compared: %v %v", verdictNames, seen)
}

// history is one life of a log, and the policy it is looked at with.
type history struct {
	rng     *rand.Rand
	policy  Policy
	records []events.Record
	ids     []events.SessionID
	times   []time.Time
	claims  claims
}

func newHistory(rng *rand.Rand) *history {
	c := newChance(rng)
	h := &history{rng: rng, records: c.history(4 + rng.IntN(20)), ids: c.ids}
	h.policy.UntilAccess = rng.IntN(3) == 0
	h.policy.Idle = pick(rng, 0, 0, 80*time.Second)
	for range 3 {
		h.times = append(h.times, c.around(c.second()))
	}
	for _, record := range h.records {
		if started, ok := record.Fact.(events.Started); ok {
			h.times = append(h.times, started.Expires, started.Expires.Add(-time.Millisecond))
			break
		}
	}
	return h
}

func (h *history) String() string {
	text := fmt.Sprintf("policy %+v\n", h.policy)
	for _, record := range h.records {
		text += fmt.Sprintf("%3d %T%+v\n", record.Position, record.Fact, record.Fact)
	}
	return text
}

// check returns what is wrong, or nothing.
func (h *history) check(seen *[len(verdictNames)]int) string {
	r := NewRegistry(testHasher(), h.policy)
	for i, record := range h.records {
		r.Apply(batchOf(record))
		if fault := h.compare(r, h.records[:i+1], seen); fault != "" {
			return fmt.Sprintf("after %d: %s", record.Position, fault)
		}
	}
	want := snapshotOf(r)
	for name, other := range h.otherWays() {
		if difference := snapshotOf(other).differs(want); difference != "" {
			return name + ": " + difference
		}
	}
	return h.sweep(r, seen)
}

// compare holds every session's verdict, at several times, against the model's.
func (h *history) compare(r *Registry, records []events.Record, seen *[len(verdictNames)]int) string {
	m := model{h.policy, records}
	if fault := h.compareClaims(r, m, &h.claims); fault != "" {
		return fault
	}
	for _, id := range h.ids {
		for _, now := range h.times {
			if !begun(records, id) && now != h.times[0] {
				continue // unknown once is unknown enough
			}
			want := m.verdict(id, now)
			_, got := r.Look(id, secretOf(id[15]), now)
			if got != want {
				return fmt.Sprintf("session %s at %v: %s, want %s", id, now, verdictNames[got], verdictNames[want])
			}
			seen[got]++
		}
	}
	return ""
}

func begun(records []events.Record, id events.SessionID) bool {
	return slices.ContainsFunc(records, func(record events.Record) bool {
		started, ok := record.Fact.(events.Started)
		return ok && started.Session == id
	})
}

// otherWays applies the same records otherwise: in three of many ways, which
// is enough for each to be tried thousands of times.
func (h *history) otherWays() map[string]*Registry {
	cut := h.rng.IntN(len(h.records) + 1)
	inBatches := func(batches ...[]events.Record) *Registry {
		r := NewRegistry(testHasher(), h.policy)
		for _, records := range batches {
			r.Apply(batchOf(records...))
		}
		return r
	}
	ways := []struct {
		name string
		do   func() *Registry
	}{
		{"in one batch", func() *Registry { return inBatches(h.records) }},
		{"in two batches", func() *Registry { return inBatches(h.records[:cut], h.records[cut:]) }},
		{"going back three", func() *Registry { return inBatches(h.records[:cut], h.records[max(0, cut-3):]) }},
		{"twice", func() *Registry { return inBatches(h.records, h.records) }},
		{"twice, shuffled", func() *Registry { return inBatches(shuffled(h.rng, slices.Concat(h.records, h.records))) }},
		{"compacted", func() *Registry { return inBatches(compacted(h.records)) }},
		{"compacted, shuffled", func() *Registry { return inBatches(shuffled(h.rng, compacted(h.records))) }},
		{"half, then compacted", func() *Registry { return h.resumed(cut) }},
		{"out of the disk again", func() *Registry { return h.reloaded(cut) }},
	}
	h.rng.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
	others := make(map[string]*Registry)
	for _, way := range ways[:3] {
		others[way.name] = way.do()
	}
	return others
}

// resumed has applied the first records as they came, and the rest when some of
// it had been superseded.
func (h *history) resumed(cut int) *Registry {
	r := registryOf(h.policy, h.records[:cut]...)
	var rest []events.Record
	for _, record := range compacted(h.records) {
		if record.Position > events.Position(cut) {
			rest = append(rest, record)
		}
	}
	r.Apply(batchOf(rest...))
	return r
}

// reloaded has been through a store: the changes of the first records are
// written, read back, put back, and the log is followed from a little before.
func (h *history) reloaded(cut int) *Registry {
	first := NewRegistry(testHasher(), h.policy)
	r := NewRegistry(testHasher(), h.policy)
	for _, change := range first.Apply(batchOf(h.records[:cut]...)) {
		r.Load(throughDisk(change))
	}
	r.LoadMark(first.Applied())
	r.Apply(batchOf(h.records[max(0, cut-2):]...))
	return r
}

// throughDisk writes a change and reads it back.
func throughDisk(change Change) Change {
	if change.Tombstone != nil {
		var t Tombstone
		b, _ := change.Tombstone.AppendBinary(nil)
		if err := t.UnmarshalBinary(b); err != nil {
			panic(err)
		}
		return Change{Tombstone: &t}
	}
	var row Row
	b, _ := change.Row.AppendBinary(nil)
	if err := row.UnmarshalBinary(b); err != nil {
		panic(err)
	}
	return Change{Session: change.Session, Row: row}
}

// sweep forgets what ended by some time: of what is left, no verdict changes.
func (h *history) sweep(r *Registry, seen *[len(verdictNames)]int) string {
	before := pick(h.rng, h.times...)
	swept := r.Sweep(InstantOf(before))
	gone := make(map[events.SessionID]bool)
	for _, id := range swept.Sessions {
		gone[id] = true
		if row, verdict := r.Get(id, before); verdict != Unknown || row != (Row{}) {
			return fmt.Sprintf("session %s is swept and still %s", id, verdictNames[verdict])
		}
	}
	var left []events.SessionID
	for _, id := range h.ids {
		started := latest[events.Started](model{records: h.records}, id, func(f events.Started) events.SessionID { return f.Session })
		if over := started.fact.Expires.Before(before); over != gone[id] {
			return fmt.Sprintf("session %s: over %t, swept %t", id, over, gone[id])
		}
		if !gone[id] {
			left = append(left, id)
		}
	}
	rest := *h
	rest.ids = left
	if fault := rest.compare(r, h.records, seen); fault != "" {
		return "swept before " + before.String() + ": " + fault
	}
	return ""
}
