package sessions

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
)

func TestLookAsksForTheSecret(t *testing.T) {
	r := registryOf(Policy{}, at(11, signIn(nil)))
	almost := secretOf(1)
	almost[31] ^= 1
	for _, c := range []struct {
		name   string
		id     events.SessionID
		secret events.SecretHash
		want   Verdict
	}{
		{"its own", idOf(1), secretOf(1), Alive},
		{"another's", idOf(1), secretOf(2), Unknown},
		{"one bit off", idOf(1), almost, Unknown},
		{"none", idOf(1), events.SecretHash{}, Unknown},
		{"of another session", idOf(2), secretOf(1), Unknown},
		{"of no session", events.SessionID{}, secretOf(1), Unknown},
	} {
		row, verdict := r.Look(c.id, c.secret, after(10))
		expect(t, c.name, verdict, c.want)
		expect(t, c.name+": a row is shown", row != Row{}, c.want == Alive)
	}
	var zero Verdict
	expect(t, "the zero verdict", zero, Unknown)
}

// A refresh or an end may be all that the log still holds of a session: that
// opens nothing, whatever secret is shown.
func TestWhatHasNotStartedIsUnknown(t *testing.T) {
	r := registryOf(Policy{},
		at(12, refreshed(idOf(1), after(600), true)),
		at(13, events.Seen{Session: idOf(1), At: after(20)}),
		at(14, ended(idOf(2), events.SignedOut)))
	for n := byte(1); n <= 2; n++ {
		_, verdict := r.Look(idOf(n), events.SecretHash{}, after(10))
		expect(t, "by the zero secret", verdict, Unknown)
		row, verdict := r.Get(idOf(n), after(10))
		expect(t, "to an operator", verdict, Unknown)
		expect(t, "row", row, Row{})
	}
}

// standCase is a history of session 1, which expires at after(3600), and how it
// stands at a time.
type standCase struct {
	name   string
	policy Policy
	facts  []events.Fact // from position 11 on
	now    time.Time
	want   Verdict
}

func standCases() []standCase {
	start := signIn(nil)
	mortal := signIn(func(f *events.Started) { f.Renewable = false })
	timeless := signIn(func(f *events.Started) { f.Renewable, f.Access = false, time.Time{} })
	until, idle := Policy{UntilAccess: true}, Policy{Idle: 100 * time.Second}
	end := func(reason events.Reason) []events.Fact { return []events.Fact{start, ended(idOf(1), reason)} }
	seen := func(at time.Time) events.Fact { return events.Seen{Session: idOf(1), At: at} }
	return []standCase{
		{"just started", Policy{}, []events.Fact{start}, after(5), Alive},
		{"a millisecond before its end", Policy{}, []events.Fact{start}, after(3599.999), Alive},
		{"at its end", Policy{}, []events.Fact{start}, after(3600), Expired},
		{"long past its end", Policy{}, []events.Fact{start}, after(1e6), Expired},

		{"signed out", Policy{}, end(events.SignedOut), after(3599.999), Ended},
		{"by an operator", Policy{}, end(events.Admin), after(200), Ended},
		{"by the OP", Policy{}, end(events.Backchannel), after(200), Ended},
		{"refresh refused", Policy{}, end(events.RefreshRefused), after(200), Ended},
		{"found idle", Policy{}, end(events.Idle), after(200), Idle},
		{"found expired", Policy{}, end(events.Expired), after(200), Expired},
		{"signed out, at the end of its time", Policy{}, end(events.SignedOut), after(3600), Unknown},
		{"found idle, at the end of its time", Policy{}, end(events.Idle), after(3600), Unknown},
		{"found expired, past its time", Policy{}, end(events.Expired), after(1e6), Expired},
		{"covered", Policy{}, []events.Fact{start, logout("s1", "", after(60))}, after(3599.999), Ended},
		{"covered, at the end of its time", Policy{}, []events.Fact{start, logout("s1", "", after(60))}, after(3600), Unknown},
		{"covered, then refreshed", Policy{}, []events.Fact{start, logout("s1", "", after(60)), refreshed(idOf(1), after(9999), true)}, after(200), Ended},
		{"signed out, then refreshed", Policy{}, append(end(events.SignedOut), refreshed(idOf(1), after(9999), true)), after(200), Ended},
		{"signed out, then used", idle, append(end(events.SignedOut), seen(after(190))), after(200), Ended},
		{"found idle, then used", idle, append(end(events.Idle), seen(after(190))), after(200), Idle},

		{"access token over, not asked about", Policy{}, []events.Fact{mortal}, after(300), Alive},
		{"access token good", until, []events.Fact{mortal}, after(299.999), Alive},
		{"access token over", until, []events.Fact{mortal}, after(300), Expired},
		{"access token over but renewable", until, []events.Fact{start}, after(300), Alive},
		{"access token without end", until, []events.Fact{timeless}, after(300), Alive},
		{"access token renewed", until, []events.Fact{start, refreshed(idOf(1), after(900), false)}, after(899), Alive},
		{"renewed one over, and the last", until, []events.Fact{start, refreshed(idOf(1), after(900), false)}, after(900), Expired},
		{"a refresh does not move the end", until, []events.Fact{start, refreshed(idOf(1), after(9999), true)}, after(3600), Expired},

		{"used a moment ago", idle, []events.Fact{start}, after(104.999), Alive},
		{"idle since its start", idle, []events.Fact{start}, after(105), Idle},
		{"used since", idle, []events.Fact{start, seen(after(60))}, after(159.999), Alive},
		{"idle since its use", idle, []events.Fact{start, seen(after(60))}, after(160), Idle},
		{"used before it was finished, by another clock", idle, []events.Fact{start, seen(after(1))}, after(104.999), Alive},
		{"no idle time", Policy{}, []events.Fact{start}, after(3000), Alive},
		{"idle, then past its end", idle, []events.Fact{start}, after(3600), Expired},
	}
}

func TestStanding(t *testing.T) {
	for _, c := range standCases() {
		t.Run(c.name, func(t *testing.T) {
			var records []events.Record
			for i, fact := range c.facts {
				records = append(records, at(events.Position(11+i), fact))
			}
			r := registryOf(c.policy, records...)
			expect(t, "by secret", verdictOf(r, c.now), c.want)
			_, verdict := r.Get(idOf(1), c.now)
			expect(t, "to an operator", verdict, c.want)
			_, verdict = r.Look(idOf(1), secretOf(2), c.now)
			expect(t, "by another secret", verdict, Unknown)
		})
	}
}

func TestApplySaysWhatChanged(t *testing.T) {
	r := NewRegistry(testHasher(), Policy{})
	log := batchOf().Log
	changes := r.Apply(batchOf(
		at(11, signIn(nil)),
		at(12, refreshed(idOf(1), after(600), true)),
		at(13, events.Alive{Replica: "a", Instance: "i", Position: 12, Log: log, Lease: 15000}),
		at(14, logout("s1", "", after(60))),
		at(15, ended(idOf(1), events.Backchannel)),
		at(16, events.Left{Replica: "a", Instance: "i"}),
		at(17, events.Alive{Replica: "b", Instance: "j", Position: 12, Lease: 15000})))
	if len(changes) != 7 {
		t.Fatalf("%d changes, want 7", len(changes))
	}
	expect(t, "started", changes[0].Row.Started, 11)
	expect(t, "started: sealed", changes[0].Sealed, "started")
	expect(t, "refreshed: sealed", changes[1].Sealed, "refreshed")
	expect(t, "refreshed: row", changes[1].Row.Sealed, 12)
	want := Member{Replica: "a", Instance: "i", Log: log, Heard: 13, Applied: 12, Lease: 15 * time.Second, Stored: InstantOf(at(13, nil).Stored)}
	expect(t, "alive", *changes[2].Member, want)
	expect(t, "logout", changes[3].Tombstone.Position, 14)
	expect(t, "ended: row", changes[4].Row.Ended, 15)
	expect(t, "ended: sealed stays", changes[4].Sealed, "")
	want = Member{Replica: "a", Instance: "i", Log: log, Heard: 16, Left: true, Stored: InstantOf(at(16, nil).Stored)}
	expect(t, "left", *changes[5].Member, want)
	expect(t, "a place in a log that is not named", changes[6].Member.Applied, 0)

	row, _ := r.Get(idOf(1), after(10))
	expect(t, "the row as it stands", changes[4].Row, row)
	expect(t, "sessions", r.Len(), 1)

	// A store that puts the changes back has the same registry.
	loaded := NewRegistry(testHasher(), Policy{})
	for _, change := range changes {
		loaded.Load(change)
	}
	loaded.LoadMark(r.Applied())
	expectSame(t, "loaded", loaded, r)
	expect(t, "mark", loaded.Applied(), r.Applied())
}

// A record that comes again has nothing left to change in its session, for a
// store to write once more.
func TestApplyingAgainChangesNoSession(t *testing.T) {
	records := []events.Record{
		at(11, signIn(nil)), at(12, refreshed(idOf(1), after(600), true)),
		at(13, events.Seen{Session: idOf(1), At: after(20)}), at(14, ended(idOf(1), events.SignedOut)),
	}
	r := registryOf(Policy{}, records...)
	expect(t, "changes", len(r.Apply(batchOf(records...))), 0)
}

// The log takes one start and one end of a session. Should it hold two, say
// because somebody else wrote them, the first is the one.
func TestSecondStartOrEndChangesNothing(t *testing.T) {
	thief := signIn(func(f *events.Started) { f.Secret, f.Sub, f.Begun = secretOf(2), "bob", 20 })
	r := registryOf(Policy{}, at(11, signIn(nil)), at(21, thief))
	expect(t, "by its own secret", verdictOf(r, after(10)), Alive)
	_, verdict := r.Look(idOf(1), secretOf(2), after(10))
	expect(t, "by the second start's", verdict, Unknown)

	later := ended(idOf(1), events.Expired)
	later.At = after(200)
	start, first, second := at(11, signIn(nil)), at(12, ended(idOf(1), events.SignedOut)), at(13, later)
	for _, r := range []*Registry{registryOf(Policy{}, start, first, second), registryOf(Policy{}, second, first, start)} {
		row, verdict := r.Get(idOf(1), after(10))
		expect(t, "reason", row.Reason(), events.SignedOut)
		expect(t, "ended at", row.Ended, 12)
		expect(t, "over at", row.Over, InstantOf(after(100)))
		expect(t, "verdict", verdict, Ended)
	}
}

func TestAppliedNeverGoesBack(t *testing.T) {
	r := NewRegistry(testHasher(), Policy{})
	expect(t, "at first", r.Applied(), events.Mark{})
	r.Apply(events.Batch{Log: log1, Position: 7, Last: 9})
	expect(t, "without records", r.Applied(), events.Mark{Log: log1, At: 7})
	r.Apply(batchOf(at(3, signIn(nil))))
	expect(t, "an older batch", r.Applied(), events.Mark{Log: log1, At: 7})
	r.Apply(events.Batch{Log: events.LogID{2}, Position: 2})
	expect(t, "another log", r.Applied(), events.Mark{Log: events.LogID{2}, At: 2})
	r.Reset(testHasher())
	expect(t, "reset", r.Applied(), events.Mark{})
	expect(t, "reset: sessions", r.Len(), 0)
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(testHasher(), Policy{})
		r.LoadMark(events.Mark{Log: log1, At: 5})
		ctx, cancel := context.WithCancel(t.Context())
		wait := func(mark events.Mark) chan error {
			done := make(chan error, 1)
			go func() { done <- r.Await(ctx, mark) }()
			synctest.Wait()
			return done
		}
		for _, at := range []events.Position{0, 4, 5} {
			if err := r.Await(ctx, events.Mark{Log: log1, At: at}); err != nil {
				t.Errorf("position %d, which is reached: %v", at, err)
			}
		}
		seven, elsewhere := wait(events.Mark{Log: log1, At: 7}), wait(events.Mark{Log: events.LogID{2}, At: 1})
		r.Apply(events.Batch{Log: log1, Position: 6})
		synctest.Wait()
		expect(t, "waiting for 7 at 6: done", len(seven), 0)
		r.Apply(events.Batch{Log: log1, Position: 8})
		synctest.Wait()
		expect(t, "waiting for 7 at 8: done", len(seven), 1)
		expect(t, "waiting for 7 at 8", <-seven, nil)
		expect(t, "waiting for another log: done", len(elsewhere), 0)
		cancel()
		if err := <-elsewhere; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: got %v", err)
		}
	})
}

func TestResetWakesAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registryOf(Policy{}, at(11, signIn(nil)), at(12, logout("s1", "", after(60))))
		done := make(chan error, 1)
		go func() { done <- r.Await(t.Context(), events.Mark{Log: events.LogID{2}, At: 3}) }()
		synctest.Wait()
		r.Reset(testHasher())
		r.Apply(events.Batch{Log: events.LogID{2}, Position: 3})
		expect(t, "await in the new log", <-done, nil)
		expect(t, "a session of the lost log", verdictOf(r, after(10)), Unknown)
		r.Apply(events.Batch{Log: events.LogID{2}, Position: 5, Records: []events.Record{at(4, signIn(nil))}})
		expect(t, "a tombstone of the lost log covers", verdictOf(r, after(10)), Alive)
	})
}

// Rows come and go: what is dropped leaves nothing behind for who takes its
// place.
func TestTableReusesRows(t *testing.T) {
	table := newTable()
	for n := range byte(3) {
		table.put(idOf(n+1), Row{Started: events.Position(n + 1)})
	}
	table.drop(idOf(2))
	table.drop(idOf(2))
	_, found := table.get(idOf(2))
	expect(t, "dropped: found", found, false)
	table.put(idOf(9), Row{Started: 9})
	for id, want := range map[byte]events.Position{1: 1, 3: 3, 9: 9} {
		row, found := table.get(idOf(id))
		expect(t, "found", found, true)
		expect(t, "row", row.Started, want)
	}
	expect(t, "len", table.len(), 3)
	expect(t, "rows handed out", table.used, 3)
}
