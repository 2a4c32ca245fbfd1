package sessions

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"curfew/events"
)

// manyIDs are ids in the order in which they are made, as UUIDv7s are.
func manyIDs(n int) []events.SessionID {
	ids := make([]events.SessionID, n)
	for i := range ids {
		ids[i][6] = 0x70
		binary.BigEndian.PutUint64(ids[i][8:], uint64(i))
		binary.BigEndian.PutUint32(ids[i][:], uint32(i/1000+1))
	}
	return ids
}

// load puts a session for each id into a registry, as from a store.
func load(r *Registry, ids []events.SessionID) {
	for i, id := range ids {
		var names Key
		binary.BigEndian.PutUint64(names[:], uint64(i+1))
		r.Load(Change{Session: id, Row: Row{
			Secret: secretOf(1), Issuer: Key{1}, Sid: names, Sub: names, Begun: events.Position(i + 1), Started: events.Position(i + 2),
			Sealed: events.Position(i + 2), At: InstantOf(dawn), Expires: InstantOf(after(3600)),
		}})
	}
}

// A check asks this once: it should take well under a microsecond and allocate
// nothing.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		for _, logouts := range []int{0, 10_000} {
			b.Run(fmt.Sprintf("sessions=%d/logouts=%d", n, logouts), func(b *testing.B) {
				r := NewRegistry(testHasher(), Policy{})
				ids := manyIDs(n)
				load(r, ids)
				for i := range logouts {
					r.Apply(batchOf(at(events.Position(n+i+2), logout(fmt.Sprint("gone", i), "", after(60)))))
				}
				secret, now := secretOf(1), after(10)
				rng := rand.New(rand.NewPCG(1, 1))
				order := rng.Perm(n)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, verdict := r.Look(ids[order[i%n]], secret, now); verdict != Alive {
						b.Fatal(verdict)
					}
				}
			})
		}
	}
}

func BenchmarkLookParallel(b *testing.B) {
	r := NewRegistry(testHasher(), Policy{})
	ids := manyIDs(100_000)
	load(r, ids)
	secret, now := secretOf(1), after(10)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(ids)); pb.Next(); i++ {
			if _, verdict := r.Look(ids[i%len(ids)], secret, now); verdict != Alive {
				b.Error(verdict)
			}
		}
	})
}

// BenchmarkMemory tells what a session takes in memory, and what a collection
// costs with so many of them.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		before := heap()
		r := NewRegistry(testHasher(), Policy{})
		load(r, manyIDs(n))
		b.ReportMetric(float64(heap()-before)/n, "B/session")
		began := time.Now()
		runtime.GC()
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/GC")
		runtime.KeepAlive(r)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkApplyStarted(b *testing.B) {
	r := NewRegistry(testHasher(), Policy{})
	record := at(0, signIn(nil))
	fact := signIn(nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(fact.Session[:], uint64(i+1))
		record.Fact, record.Position = fact, events.Position(i+11)
		r.Apply(events.Batch{Log: log1, Records: []events.Record{record}, Position: record.Position})
	}
}

// BenchmarkApplyLogouts of one user, who signs in and out all day.
func BenchmarkApplyLogouts(b *testing.B) {
	for _, before := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("before=%d", before), func(b *testing.B) {
			r := NewRegistry(testHasher(), Policy{})
			apply := func(i int) {
				r.Apply(batchOf(at(events.Position(i+1), logout(fmt.Sprint("s", i), alice, after(float64(i))))))
			}
			for i := range before {
				apply(i)
			}
			for i := before; b.Loop(); i++ {
				apply(i)
			}
		})
	}
}

func TestLookAllocatesNothing(t *testing.T) {
	r := registryOf(Policy{UntilAccess: true, Idle: time.Hour}, at(11, signIn(nil)), at(12, logout("", "bob", after(60))))
	secret, now := secretOf(1), after(10)
	allocations := testing.AllocsPerRun(100, func() {
		if _, verdict := r.Look(idOf(1), secret, now); verdict != Alive {
			t.Error(verdict)
		}
	})
	expect(t, "allocations", allocations, 0)
}

// A session takes no more than this, and nothing the collector must follow.
func TestSessionsAreSmall(t *testing.T) {
	const n = 50_000
	before := heap()
	r := NewRegistry(testHasher(), Policy{})
	load(r, manyIDs(n))
	if each := (heap() - before) / n; each > 300 {
		t.Errorf("a session takes %d bytes, want at most 300", each)
	}
	runtime.KeepAlive(r)
}

// Whoever looks while the log is applied sees a session before or after its
// end, and once ended never again alive.
func TestLookWhileApplying(t *testing.T) {
	const sessions = 2000
	r := NewRegistry(testHasher(), Policy{})
	ids := manyIDs(sessions)
	var looking sync.WaitGroup
	done := make(chan struct{})
	for worker := range 4 {
		looking.Go(func() {
			over := make(map[events.SessionID]bool)
			for i := worker; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				id := ids[i%sessions]
				_, verdict := r.Look(id, secretOf(1), after(10))
				if over[id] && verdict == Alive {
					t.Error("a session that had ended is alive")
				}
				over[id] = over[id] || verdict == Ended
				r.Get(id, after(10))
				r.Due(after(10), after(10))
				r.Applied()
				r.Len()
			}
		})
	}
	position := events.Position(11)
	for i, id := range ids {
		fact := signIn(func(f *events.Started) { f.Session, f.Sid = id, fmt.Sprint("s", i) })
		var end events.Fact = ended(id, events.SignedOut)
		if i%2 == 0 {
			end = logout(fact.Sid, "", after(60))
		}
		r.Apply(batchOf(at(position, fact), at(position+2, refreshed(id, after(900), true))))
		r.Apply(batchOf(at(position+1, end), at(position+3, refreshed(id, after(900), true))))
		position += 4
		if i%500 == 0 {
			r.Sweep(InstantOf(after(3)))
		}
	}
	close(done)
	looking.Wait()
	for _, id := range ids {
		_, verdict := r.Look(id, secretOf(1), after(10))
		expect(t, "in the end", verdict, Ended)
	}
}
