package sessions

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
)

// bubbleClock reads the time of a synctest bubble. Its wall clock can be set,
// and it may run fast or slow.
type bubbleClock struct {
	born time.Time
	rate float64
	wall atomic.Int64 // by how much the wall clock has been set ahead
}

func newBubbleClock() *bubbleClock { return &bubbleClock{born: time.Now(), rate: 1} }

func (c *bubbleClock) read() Reading {
	boot := time.Duration(float64(time.Since(c.born)) * c.rate)
	return Reading{Boot: boot, Wall: c.born.Add(boot + time.Duration(c.wall.Load())).Round(0)}
}

// peers is a Fleet in a bubble.
type peers struct {
	*Fleet
	t     *testing.T
	clock *bubbleClock
	log   *events.LogID // that the heartbeats are in
}

// inFleet runs a test with an empty Fleet.
func inFleet(t *testing.T, name string, test func(peers)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clock := newBubbleClock()
			log := log1
			test(peers{&Fleet{Instance: "me", Clock: clock.read}, t, clock, &log})
		})
	})
}

// pause lets time go by in a bubble.
func pause(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// heartbeat of an instance, at a position, saying how far it had come.
func (p peers) heartbeat(instance string, heard, applied events.Position) {
	p.Hear(Member{Replica: "replica-" + instance, Instance: instance, Log: *p.log, Heard: heard, Applied: applied, Lease: length})
	synctest.Wait()
}

func (p peers) farewell(instance string, heard events.Position) {
	p.Hear(Member{Replica: "replica-" + instance, Instance: instance, Log: *p.log, Heard: heard, Left: true})
	synctest.Wait()
}

// confirm is Confirm, with time for those who wait to wake.
func (p peers) confirm(instance string, applied events.Position) {
	p.Confirm(instance, events.Mark{Log: *p.log, At: applied})
	synctest.Wait()
}

// awaiting is a call of Await under way.
type awaiting struct {
	t      *testing.T
	began  time.Time
	done   chan bool
	cancel context.CancelFunc
}

func (p peers) await(position events.Position, patience time.Duration) awaiting {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	a := awaiting{p.t, time.Now(), make(chan bool, 1), cancel}
	go func() { a.done <- p.Await(ctx, events.Mark{Log: *p.log, At: position}) }()
	synctest.Wait()
	return a
}

// answers expects the answer that has been given by now.
func (a awaiting) answers(what string, want bool) {
	a.t.Helper()
	defer a.cancel()
	select {
	case got := <-a.done:
		expect(a.t, what, got, want)
	default:
		a.t.Errorf("%s: it still waits", what)
	}
}

func (a awaiting) waits(what string) {
	a.t.Helper()
	if len(a.done) > 0 {
		a.t.Errorf("%s: it has answered", what)
	}
}

// answersAfter expects the answer so long after the beginning and not before.
func (a awaiting) answersAfter(d time.Duration, what string, want bool) {
	a.t.Helper()
	expect(a.t, what, <-a.done, want)
	expect(a.t, what+": after", time.Since(a.began), d)
	a.cancel()
}

const (
	leaseEnd = length + length/100 // with the hundredth for slow clocks
	minute   = time.Minute
)

func TestAwaitOfOthers(t *testing.T) {
	inFleet(t, "nobody else", func(p peers) {
		p.await(100, minute).answers("alone", true)
		p.heartbeat("me", 50, 40)
		p.await(100, minute).answers("my own heartbeat", true)
		expect(p.t, "peers", len(p.Peers()), 0)
	})
	inFleet(t, "all confirm", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.heartbeat("c", 51, 40)
		a := p.await(100, minute)
		a.waits("at first")
		p.confirm("b", 100)
		a.waits("b has confirmed")
		p.confirm("c", 101)
		a.answers("both have", true)
		p.await(100, minute).answers("asked again", true)
		p.await(102, minute).waits("a later position")
	})
	inFleet(t, "one is silent", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.heartbeat("c", 51, 40)
		a := p.await(100, minute)
		p.confirm("b", 100)
		a.answersAfter(leaseEnd, "when the lease of c ends", true)
	})
	inFleet(t, "silent for some time before", func(p peers) {
		p.heartbeat("b", 50, 40)
		pause(10 * time.Second)
		p.heartbeat("c", 51, 40)
		pause(time.Second)
		a := p.await(100, minute)
		a.answersAfter(leaseEnd-time.Second, "when the last lease ends", true)
		p.await(100, minute).answers("after that at once", true)
	})
	inFleet(t, "patience ends first", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.await(100, 2*time.Second).answersAfter(2*time.Second, "one silent", false)
		ctx, cancel := context.WithCancel(p.t.Context())
		cancel()
		expect(p.t, "with no patience at all", p.Await(ctx, events.Mark{Log: log1, At: 100}), false)
		p.confirm("b", 100)
		expect(p.t, "with none needed", p.Await(ctx, events.Mark{Log: log1, At: 100}), true)
	})
}

func TestAwaitHeartbeats(t *testing.T) {
	inFleet(t, "a later one does not confirm", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.heartbeat("b", 101, 99)
		a.waits("b was alive after 100 but had applied 99")
		p.confirm("b", 100)
		a.answers("confirmed", true)
	})
	inFleet(t, "one that says so does", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.heartbeat("b", 102, 100)
		a.answers("b had applied 100 when it sent that", true)
	})
	inFleet(t, "later ones do not prolong the wait", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		for at := events.Position(101); at < 104; at++ {
			pause(5 * time.Second)
			p.heartbeat("b", at, 99)
		}
		a.waits("almost")
		a.answersAfter(leaseEnd, "when the lease of the first ends", true)
		p.await(100, minute).waits("asked anew, the newest lease counts")
	})
	inFleet(t, "an older one changes nothing", func(p peers) {
		p.heartbeat("b", 50, 40)
		pause(10 * time.Second)
		p.heartbeat("b", 49, 30)
		p.heartbeat("b", 50, 40)
		p.await(100, minute).answersAfter(leaseEnd-10*time.Second, "redelivered heartbeats", true)
	})
	inFleet(t, "one from before does not undo a confirmation", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.confirm("b", 100)
		p.heartbeat("b", 101, 60)
		p.await(100, minute).answers("confirmed before", true)
	})
	inFleet(t, "who is first heard of meanwhile is not waited for", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.heartbeat("c", 101, 0)
		p.confirm("b", 100)
		a.answers("b has confirmed", true)
	})
}

func TestAwaitConfirmations(t *testing.T) {
	inFleet(t, "below the position", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.confirm("b", 99)
		a.waits("99 of 100")
		p.confirm("b", 100)
		a.answers("100 of 100", true)
	})
	inFleet(t, "before it is waited for", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.confirm("b", 100)
		p.confirm("b", 99)
		p.await(100, minute).answers("confirmed before", true)
	})
	inFleet(t, "of others", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.confirm("nobody", 100)
		p.confirm("me", 100)
		p.confirm("replica-b", 100)
		a.waits("none of these is b")
		expect(p.t, "peers", len(p.Peers()), 1)
	})
}

func TestAwaitWhoHasLeft(t *testing.T) {
	inFleet(t, "before", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.farewell("b", 51)
		p.await(100, minute).answers("gone", true)
	})
	inFleet(t, "meanwhile", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.farewell("b", 101)
		a.answers("gone", true)
	})
	inFleet(t, "and what it had sent before comes late", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.farewell("b", 51)
		p.heartbeat("b", 52, 41)
		p.await(100, minute).answers("gone all the same", true)
		p.lose()
		p.heartbeat("b", 1, 0)
		p.await(100, minute).answers("from every log", true)
	})
	inFleet(t, "another of the same name", func(p peers) {
		p.Hear(Member{Replica: "b", Log: log1, Instance: "b1", Heard: 50, Applied: 40, Lease: length})
		p.Hear(Member{Replica: "b", Log: log1, Instance: "b2", Heard: 60, Applied: 55, Lease: length})
		a := p.await(100, minute)
		p.Hear(Member{Replica: "b", Log: log1, Instance: "b2", Heard: 101, Left: true})
		synctest.Wait()
		a.waits("the process it was before has not left")
		a.answersAfter(leaseEnd, "when that one's lease ends", true)
	})
	inFleet(t, "restarted, and the new one confirms", func(p peers) {
		p.heartbeat("b1", 50, 40)
		a := p.await(100, minute)
		p.heartbeat("b2", 101, 0)
		p.confirm("b2", 101)
		a.waits("b1 may still be there")
		a.answersAfter(leaseEnd, "when b1's lease ends", true)
	})
}

// A peer's lease runs on the peer's machine: that ours is told another time of
// day does not end it.
func TestAwaitDoesNotTrustTheWallClock(t *testing.T) {
	inFleet(t, "set ahead before", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.clock.wall.Add(int64(time.Hour))
		p.await(100, minute).answersAfter(leaseEnd, "an hour ahead", true)
	})
	inFleet(t, "set ahead meanwhile", func(p peers) {
		p.heartbeat("b", 50, 40)
		a := p.await(100, minute)
		p.clock.wall.Add(int64(time.Hour))
		p.heartbeat("c", 51, 40) // wakes it
		a.waits("an hour ahead")
		a.answersAfter(leaseEnd, "an hour ahead", true)
	})
	inFleet(t, "set back", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.clock.wall.Add(int64(-time.Hour))
		p.await(100, minute).answersAfter(leaseEnd, "an hour back", true)
	})
	inFleet(t, "set ahead by days", func(p peers) {
		p.heartbeat("b", 50, 40)
		p.clock.wall.Add(int64(1000 * time.Hour))
		p.heartbeat("c", 51, 40)
		expect(p.t, "nobody is forgotten", len(p.Peers()), 2)
	})
}

func TestFleetForgetsTheLongSilent(t *testing.T) {
	inFleet(t, "silent", func(p peers) {
		p.heartbeat("b", 50, 40)
		pause(time.Hour + 100*length)
		p.heartbeat("c", 51, 40)
		expect(p.t, "at the limit", len(p.Peers()), 2)
		pause(time.Second)
		p.heartbeat("c", 52, 40)
		expect(p.t, "past it", len(p.Peers()), 1)
	})
}

func TestPeers(t *testing.T) {
	inFleet(t, "listed by name", func(p peers) {
		p.heartbeat("c", 50, 40)
		pause(time.Second)
		p.heartbeat("b", 51, 41)
		p.confirm("b", 60)
		list := p.Peers()
		expect(p.t, "peers", len(list), 2)
		b := Member{Replica: "replica-b", Instance: "b", Log: log1, Heard: 51, Applied: 60, Lease: length}
		c := Member{Replica: "replica-c", Instance: "c", Log: log1, Heard: 50, Applied: 40, Lease: length}
		expect(p.t, "first", list[0], Peer{b, leaseEnd})
		expect(p.t, "second", list[1], Peer{c, leaseEnd - time.Second})
	})
}

// lose has the log lost, and another take its place.
func (p peers) lose() {
	p.Reset(true)
	p.log[0]++
	synctest.Wait()
}

// The log is lost and made anew. A peer that has not noticed goes on letting in
// whom the lost log knew, until its lease ends; what it says of its position is
// of the lost log and means nothing.
func TestFleetAfterTheLogWasLost(t *testing.T) {
	inFleet(t, "known from the lost log", func(p peers) {
		p.heartbeat("b", 5000, 4999)
		p.heartbeat("c", 5001, 4999)
		p.farewell("c", 5002)
		old := p.await(6000, minute)
		p.lose()
		old.waits("who waits is not released")
		a := p.await(3, minute)
		a.waits("b had applied 4999, but of another log")
		p.heartbeat("b", 4, 0)
		a.waits("b has not noticed yet")
		p.heartbeat("b", 6, 3)
		a.answers("b has applied the new log", true)
	})
	inFleet(t, "and silent since", func(p peers) {
		p.heartbeat("b", 5000, 4999)
		pause(10 * time.Second)
		p.lose()
		p.await(3, minute).answersAfter(leaseEnd-10*time.Second, "when its lease ends", true)
	})
	inFleet(t, "and what is said of the lost one comes late", func(p peers) {
		p.heartbeat("b", 900, 899)
		lost := *p.log
		p.lose()
		p.Confirm("b", events.Mark{Log: lost, At: 1000})
		a := p.await(5, minute)
		a.waits("before a heartbeat is in the new log")
		p.heartbeat("b", 2, 0)
		p.Confirm("b", events.Mark{Log: lost, At: 1000})
		p.Confirm("b", events.Mark{At: 1000})
		synctest.Wait()
		a.waits("and after")
		p.confirm("b", 5)
		a.answers("b has applied the new log", true)
	})
	inFleet(t, "and nobody has been told so", func(p peers) {
		p.heartbeat("b", 900, 899)
		p.log[0]++
		p.await(5, minute).waits("b had applied 899, but of another log")
		p.heartbeat("me", 1, 0)
		p.confirm("b", 4)
		a := p.await(5, minute)
		a.waits("4 of 5")
		p.heartbeat("b", 6, 5)
		a.answers("an earlier place than in the lost one", true)
	})
	inFleet(t, "no log at all", func(p peers) {
		*p.log = events.LogID{}
		p.heartbeat("b", 50, 40)
		p.confirm("b", 100)
		p.await(100, minute).answersAfter(leaseEnd, "a place in no log is none", true)
	})
}
