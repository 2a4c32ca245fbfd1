package sessions

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// handClock is a Clock that tests turn by hand.
type handClock struct {
	mu  sync.Mutex
	now Reading
}

func newHandClock() *handClock { return &handClock{now: Reading{Boot: time.Hour, Wall: dawn}} }

func (c *handClock) read() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// pass lets time go by on both clocks.
func (c *handClock) pass(d time.Duration) { c.turn(d, d) }

func (c *handClock) turn(boot, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Boot += boot
	c.now.Wall = c.now.Wall.Add(wall)
}

const length = 15 * time.Second

func newLease() (*Lease, *handClock) {
	clock := newHandClock()
	return &Lease{Length: length, Clock: clock.read}, clock
}

func TestLeaseIsNotFreshAtFirst(t *testing.T) {
	l, clock := newLease()
	_, proven := l.Age()
	expect(t, "proven", proven, false)
	expect(t, "fresh", l.Fresh(), false)
	l.Sending("h1")
	expect(t, "fresh, a heartbeat on its way", l.Fresh(), false)
	clock.pass(time.Second)
	l.Heard("another process's")
	expect(t, "fresh, another's heartbeat back", l.Fresh(), false)
	l.Heard("h1")
	expect(t, "fresh, its own back", l.Fresh(), true)
	age, _ := l.Age()
	expect(t, "age counts from the sending", age, time.Second)

	zero := &Lease{Clock: clock.read}
	zero.Sending("h1")
	zero.Heard("h1")
	expect(t, "a lease of no length is fresh", zero.Fresh(), false)
}

// step is something that happens to a lease, and whether it is fresh then.
type step struct {
	name  string
	do    func(*Lease, *handClock)
	fresh bool
}

func send(id string) func(*Lease, *handClock) { return func(l *Lease, _ *handClock) { l.Sending(id) } }
func hear(id string) func(*Lease, *handClock) { return func(l *Lease, _ *handClock) { l.Heard(id) } }
func drop(l *Lease, _ *handClock)             { l.Drop() }
func pass(d time.Duration) func(*Lease, *handClock) {
	return func(_ *Lease, clock *handClock) { clock.pass(d) }
}
func turn(boot, wall time.Duration) func(*Lease, *handClock) {
	return func(_ *Lease, clock *handClock) { clock.turn(boot, wall) }
}

// proven is a lease whose proof is from this moment.
var proven = []step{{"send", send("h1"), false}, {"hear", hear("h1"), true}}

func TestLeaseSteps(t *testing.T) {
	const ms = time.Millisecond
	almost := length - length/100 - ms
	for name, steps := range map[string][]step{
		"it ends a hundredth early": {{"almost", pass(almost), true}, {"then", pass(ms), false}, {"for good", pass(time.Hour), false}},
		"it counts from before the sending": {
			{"send", send("h2"), true}, {"the answer takes long", pass(10 * time.Second), true},
			{"hear", hear("h2"), true}, {"not from when it was heard", pass(5 * time.Second), false},
		},
		"a heartbeat renews it": {
			{"wait", pass(10 * time.Second), true}, {"send", send("h2"), true}, {"hear", hear("h2"), true},
			{"go on", pass(almost), true}, {"and no longer", pass(ms), false},
		},
		"a lost heartbeat does not": {
			{"wait", pass(10 * time.Second), true}, {"send", send("h2"), true}, {"then", pass(5 * time.Second), false},
			{"the next does", send("h3"), false}, {"hear", hear("h3"), true},
		},
		"suspended: both clocks have gone on":    {{"wake", turn(time.Hour, time.Hour), false}},
		"suspended: only the wall has gone on":   {{"wake", turn(0, time.Hour), false}},
		"the wall is set ahead":                  {{"set", turn(ms, time.Hour), false}},
		"the wall is set ahead and back":         {{"set", turn(0, time.Hour), false}, {"set back", turn(ms, -time.Hour), true}},
		"the wall is set back":                   {{"set", turn(ms, -time.Hour), true}, {"boot goes on", turn(length, length), false}},
		"the wall is set back bit by bit":        {{"a bit", turn(8*time.Second, -time.Second), true}, {"a bit", turn(7*time.Second, -time.Second), false}},
		"boot stands still, the wall goes on":    {{"a while", turn(0, almost), true}, {"longer", turn(0, ms), false}},
		"suspended while a heartbeat comes back": {{"send", send("h2"), true}, {"sleep", pass(time.Hour), false}, {"hear", hear("h2"), false}},
		"an old heartbeat comes late": {
			{"send", send("h2"), true}, {"wait", pass(time.Second), true}, {"send", send("h3"), true}, {"hear", hear("h3"), true},
			{"hear the older", hear("h2"), true}, {"nothing is lost", pass(almost), true}, {"or won", pass(ms), false},
		},
		"an old heartbeat comes after the end": {
			{"send", send("h2"), true}, {"wait", pass(10 * time.Second), true}, {"send", send("h3"), true},
			{"over", pass(10 * time.Second), false}, {"hear", hear("h2"), false}, {"hear the newer", hear("h3"), true},
			{"which is ten seconds old", pass(5 * time.Second), false},
		},
		"a heartbeat heard twice": {
			{"wait", pass(almost), true}, {"hear", hear("h1"), true}, {"then", pass(ms), false}, {"hear", hear("h1"), false},
		},
		"the same heartbeat sent again": {
			{"send", send("h2"), true}, {"the answer is lost", pass(10 * time.Second), true}, {"send", send("h2"), true},
			{"hear the first", hear("h2"), true}, {"it counts from the first", pass(5 * time.Second), false},
		},
		"the same heartbeat sent again after the end": {
			{"send", send("h2"), true}, {"the log is away", pass(20 * time.Second), false}, {"send", send("h2"), false},
			{"hear the first", hear("h2"), false},
		},
		"given up": {
			{"send", send("h2"), true}, {"drop", drop, false}, {"a heartbeat from before", hear("h2"), false},
			{"send", send("h3"), false}, {"hear", hear("h3"), true}, {"again", drop, false}, {"heard before", hear("h3"), false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, clock := newLease()
			for _, s := range slices.Concat(proven, steps) {
				s.do(l, clock)
				if l.Fresh() != s.fresh {
					t.Fatalf("%s: fresh %t, want %t", s.name, !s.fresh, s.fresh)
				}
			}
		})
	}
}

// Whatever comes back in whatever order and whatever the wall clock does, a
// lease is never fresh when the newest heartbeat that has come back was sent a
// whole lease ago.
func TestLeaseIsNeverFreshForTooLong(t *testing.T) {
	seed := seedOf(t)
	for run := range 300 {
		rng := rand.New(rand.NewPCG(seed, uint64(run)))
		l, clock := newLease()
		sent := make(map[string]time.Duration)
		newest, proven := time.Duration(0), false
		for n := range 100 {
			clock.turn(time.Duration(rng.IntN(4000))*time.Millisecond, time.Duration(rng.IntN(4000))*time.Millisecond)
			id := string(rune('a' + n%26))
			switch rng.IntN(6) {
			case 0:
				clock.turn(0, time.Duration(rng.IntN(7200)-3600)*time.Second)
			case 1, 2:
				if _, again := sent[id]; !again {
					sent[id] = clock.read().Boot
					l.Sending(id)
				}
			case 3, 4:
				if at, found := sent[id]; found {
					newest, proven = max(newest, at), true
				}
				l.Heard(id)
			}
			if age := clock.read().Boot - newest; l.Fresh() && (!proven || age >= length) {
				t.Fatalf("seed %d, run %d: fresh by a heartbeat sent %v ago", seed, run, age)
			}
		}
	}
}

func TestClockSince(t *testing.T) {
	clock := newHandClock()
	then := clock.read()
	for _, c := range []struct{ boot, wall, want time.Duration }{
		{0, 0, 0}, {5, 5, 5}, {5, 3, 5}, {3, 5, 5}, {5, -100, 5}, {0, -100, 0}, {0, 100, 100},
	} {
		clock.now = Reading{Boot: then.Boot + c.boot, Wall: then.Wall.Add(c.wall)}
		expect(t, "since", Clock(clock.read).since(then), c.want)
	}
}

func TestClockElapsed(t *testing.T) {
	clock := newHandClock()
	then := clock.read()
	for _, c := range []struct{ boot, wall, want time.Duration }{
		{0, 0, 0}, {5, 5, 5}, {5, -100, 5}, {5, 100, 5}, {0, 100, 0}, {-5, 100, 0},
	} {
		clock.now = Reading{Boot: then.Boot + c.boot, Wall: then.Wall.Add(c.wall)}
		expect(t, "elapsed", Clock(clock.read).elapsed(then), c.want)
	}
}
