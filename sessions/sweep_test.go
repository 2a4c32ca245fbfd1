package sessions

import (
	"context"
	"slices"
	"testing"
	"time"

	"curfew/events"
)

// past is a registry with a history that these tests write by hand.
type past struct {
	*Registry
	at  events.Position
	now time.Time
}

func newPast(policy Policy) *past {
	return &past{
		Registry: NewRegistry(NewHasher([32]byte{1}), policy),
		now:      time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
}

// apply appends a fact as if it were stored now.
func (p *past) apply(fact events.Fact) events.Position {
	p.at++
	p.Apply(events.Batch{
		Log: events.LogID{1}, Position: p.at, Last: p.at,
		Records: []events.Record{{Event: events.NewEvent(fact, "a", p.now), Position: p.at, Stored: p.now}},
	})
	return p.at
}

// signIn appends the start of a session whose login began at a position.
func (p *past) signIn(sub, sid string, begun events.Position, lifetime time.Duration) events.SessionID {
	id := events.NewSessionID()
	p.apply(events.Started{
		Session: id, Issuer: "https://id", Sub: sub, Sid: sid, Secret: events.SecretHash{1},
		Begun: begun, BegunAt: p.now, At: p.now, Expires: p.now.Add(lifetime), Sealed: "x",
	})
	return id
}

func (p *past) logout(sub, sid string) events.Position {
	return p.apply(events.LogoutReceived{
		Issuer: "https://id", Sub: sub, Sid: sid, JTI: events.NewID(), IssuedAt: p.now, Until: p.now, Reason: events.Backchannel, Replica: "a",
	})
}

func (p *past) verdict(id events.SessionID) Verdict {
	_, verdict := p.Get(id, p.now)
	return verdict
}

func TestSweepForgetsWhatEnded(t *testing.T) {
	p := newPast(Policy{})
	short := p.signIn("u1", "s1", p.at, time.Hour)
	long := p.signIn("u1", "s2", p.at, 12*time.Hour)
	exact := InstantOf(p.now.Add(time.Hour))
	if swept := p.Sweep(exact); len(swept.Sessions) != 0 {
		t.Errorf("at its very end it was forgotten: %v", swept.Sessions)
	}
	if swept := p.Sweep(exact + 1); !slices.Equal(swept.Sessions, []events.SessionID{short}) {
		t.Errorf("forgot %v, want %v", swept.Sessions, short)
	}
	if got := p.verdict(long); got != Alive {
		t.Errorf("the other is %d, want Alive", got)
	}
	if p.Len() != 1 {
		t.Errorf("%d are left, want 1", p.Len())
	}
}

// A tombstone dropped too early would bring back the session it covers.
func TestSweepKeepsATombstoneWhileItCoversAnybody(t *testing.T) {
	p := newPast(Policy{})
	id := p.signIn("u1", "s1", p.at, 24*time.Hour)
	p.logout("u1", "s1")
	covering := p.at
	for hour := range 23 {
		p.now = p.now.Add(time.Hour)
		p.Sweep(InstantOf(p.now.Add(-time.Hour)))
		if got := p.verdict(id); got != Ended {
			t.Fatalf("%d hours after the logout the session is %d, want Ended", hour+1, got)
		}
	}
	p.now = p.now.Add(3 * time.Hour)
	swept := p.Sweep(InstantOf(p.now.Add(-time.Hour)))
	if len(swept.Sessions) != 1 {
		t.Fatalf("the session was not forgotten")
	}
	if late := (Tombstone{Position: covering}); !swept.Covers(late) {
		t.Error("the tombstone was kept though nobody is left for it to cover")
	}
	row := Row{Started: 99, Begun: 0, Issuer: p.hasher.Issuer("https://id"), Sid: p.hasher.Sid("https://id", "s1"), Sub: p.hasher.Sub("https://id", "u1")}
	if _, covered := p.Covering(row); covered {
		t.Error("the tombstone is still there")
	}
}

// A login may still be at the OP: a young tombstone stays though it covers
// nobody yet.
func TestSweepKeepsYoungTombstones(t *testing.T) {
	p := newPast(Policy{})
	begun := p.at
	p.logout("u1", "s1")
	p.now = p.now.Add(59 * time.Minute)
	p.Sweep(InstantOf(p.now.Add(-time.Hour)))
	if id := p.signIn("u1", "s1", begun, time.Hour); p.verdict(id) != Ended {
		t.Error("a login that had begun before the logout became a session")
	}
}

func TestDue(t *testing.T) {
	p := newPast(Policy{Idle: 30 * time.Minute})
	settled := func() []Due { return p.Due(p.now, p.now.Add(-time.Second)) }

	covered := p.signIn("u1", "s1", p.at, time.Hour)
	p.signIn("u2", "s2", p.at, time.Hour)
	begun := p.at
	p.logout("u1", "s1")
	if got := settled(); len(got) != 0 {
		t.Errorf("an unsettled logout is due already: %v", got)
	}
	stillborn := p.signIn("u1", "s1", begun, time.Hour)
	p.now = p.now.Add(2 * time.Second)
	if got := settled(); !slices.Equal(got, []Due{{covered, events.Backchannel, 0}}) {
		t.Errorf("got %v, want the covered session and not %v, which never was one", got, stillborn)
	}
	p.apply(events.Ended{Session: covered, Reason: events.Backchannel, At: p.now})
	if got := settled(); len(got) != 0 {
		t.Errorf("a session that has ended is due again: %v", got)
	}
	p.now = p.now.Add(30 * time.Minute)
	if got := settled(); len(got) != 1 || got[0].Reason != events.Idle {
		t.Errorf("got %v, want one idle session", got)
	}
	p.now = p.now.Add(time.Hour)
	if got := settled(); len(got) != 1 || got[0].Reason != events.Expired {
		t.Errorf("got %v, want one expired session", got)
	}
}

func TestIdle(t *testing.T) {
	p := newPast(Policy{Idle: 30 * time.Minute})
	id := p.signIn("u1", "s1", p.at, 12*time.Hour)
	want := func(what string, after time.Duration, verdict Verdict) {
		t.Helper()
		if _, got := p.Get(id, p.now.Add(after)); got != verdict {
			t.Errorf("%s: %d, want %d", what, got, verdict)
		}
	}
	// used is a use that the log takes after a while, whatever its writer's clock
	// says that the time is.
	used := func(after, astray time.Duration) {
		began := p.now
		p.now = began.Add(after)
		p.apply(events.Seen{Session: id, At: p.now.Add(astray)})
		p.now = began
	}
	want("just within", 30*time.Minute-time.Millisecond, Alive)
	want("at the end", 30*time.Minute, Idle)
	used(20*time.Minute, 0)
	want("used meanwhile", 49*time.Minute, Alive)
	used(10*time.Minute, 0)
	want("the newest in the log counts, which is all it keeps", 40*time.Minute-time.Millisecond, Alive)
	want("idle after the use", 40*time.Minute, Idle)
	used(15*time.Minute, -time.Hour)
	want("used where the clock is slow", 45*time.Minute-time.Millisecond, Alive)
	used(16*time.Minute, time.Hour)
	want("used where the clock is fast", 46*time.Minute, Idle)
}

func TestResetForgetsEverything(t *testing.T) {
	p := newPast(Policy{})
	id := p.signIn("u1", "s1", p.at, time.Hour)
	p.logout("u1", "s1")
	p.Reset(NewHasher([32]byte{2}))
	if got := p.verdict(id); got != Unknown || p.Len() != 0 || p.Applied() != (events.Mark{}) {
		t.Errorf("after a reset: verdict %d, %d sessions, applied %v", got, p.Len(), p.Applied())
	}
}

// Whatever came from a log that is gone is gone with it, also when nobody has
// said so.
func TestAnotherLogLeavesNobodyOfTheFirst(t *testing.T) {
	p := newPast(Policy{})
	id := p.signIn("u1", "s1", p.at, time.Hour)
	p.logout("u2", "")
	p.Apply(events.Batch{Log: events.LogID{2}, Position: 1, Last: 1})
	if got := p.verdict(id); got != Unknown || p.Len() != 0 {
		t.Errorf("verdict %d, %d sessions, want none", got, p.Len())
	}
	row := Row{Started: 9, Issuer: p.hasher.Issuer("https://id"), Sub: p.hasher.Sub("https://id", "u2")}
	if _, covered := p.Covering(row); covered {
		t.Error("a tombstone of the first log covers what is in the second")
	}
}

// A replica says that it is alive only when it knows who else is.
func TestAwaitEnd(t *testing.T) {
	r := NewRegistry(NewHasher([32]byte{1}), Policy{})
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	reached := func(what string, want bool) {
		t.Helper()
		if got := r.AwaitEnd(gaveUp) == nil; got != want {
			t.Errorf("%s: %t, want %t", what, got, want)
		}
	}
	apply := func(log byte, position, last events.Position) {
		r.Apply(events.Batch{Log: events.LogID{log}, Position: position, Last: last})
	}
	reached("at first", false)
	r.LoadMark(events.Mark{Log: events.LogID{1}, At: 5})
	reached("out of a store", false)
	apply(1, 6, 9)
	reached("on the way", false)
	apply(1, 9, 9)
	reached("there", true)
	apply(1, 10, 20)
	reached("there once, and behind again", true)
	apply(2, 0, 3)
	reached("another log", false)
	apply(2, 3, 3)
	reached("its end", true)
	r.Reset(NewHasher([32]byte{1}))
	reached("after a reset", false)
	apply(3, 0, 0)
	reached("a log with nothing in it", true)
}
