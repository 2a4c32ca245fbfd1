package sessions

import (
	"testing"
	"time"

	"curfew/events"
)

// What most tests here speak of: a log, an OP and its user, and a day whose
// seconds are counted from dawn.
var (
	log1 = events.LogID{1}
	dawn = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
)

const (
	issuer = "https://id.example.com"
	alice  = "alice"
)

// after is so many seconds after dawn.
func after(seconds float64) time.Time {
	return dawn.Add(time.Duration(seconds * float64(time.Second)))
}

func idOf(n byte) events.SessionID { return events.SessionID{0: 1, 15: n} }

func secretOf(n byte) events.SecretHash { return Secret{n}.Hash() }

func testHasher() Hasher { return NewHasher([32]byte{7}) }

// signIn is the start of session 1: begun at position 10, at dawn, by a user
// who authenticated there and then, finished five seconds later, good for an
// hour. change may be nil.
func signIn(change func(*events.Started)) events.Started {
	f := events.Started{
		Session: idOf(1), Secret: secretOf(1),
		Issuer: issuer, Sub: alice, Sid: "s1",
		Begun: 10, BegunAt: after(0), At: after(5), AuthTime: after(3),
		Expires: after(3600), Access: after(300), Renewable: true,
		Sealed: "started",
	}
	if change != nil {
		change(&f)
	}
	return f
}

func refreshed(id events.SessionID, access time.Time, renewable bool) events.Refreshed {
	return events.Refreshed{Session: id, At: after(250), Access: access, Renewable: renewable, Sealed: "refreshed"}
}

func claimed(id events.SessionID, returned bool, wait int64) events.Claimed {
	return events.Claimed{Session: id, Replica: "a", Instance: "i", At: after(240), Returned: returned, Wait: wait}
}

func ended(id events.SessionID, reason events.Reason) events.Ended {
	return events.Ended{Session: id, Issuer: issuer, Sub: alice, Reason: reason, At: after(100)}
}

// logout is an OP's logout of a sid, a sub or both, issued at a time.
func logout(sid, sub string, issued time.Time) events.LogoutReceived {
	return events.LogoutReceived{
		Issuer: issuer, Sid: sid, Sub: sub, JTI: "j", IssuedAt: issued, Until: issued,
		Reason: events.Backchannel, Replica: "a",
	}
}

// at puts a fact into the log.
func at(position events.Position, fact events.Fact) events.Record {
	stored := dawn.Add(time.Duration(position) * time.Second)
	if use, ok := fact.(events.Seen); ok {
		stored = use.At // the log took it when it was
	}
	return events.Record{
		Event:    events.Event{ID: events.NewID(), Source: "/curfew/a", Time: dawn, Fact: fact},
		Position: position,
		Stored:   stored,
	}
}

// batchOf is a batch of records as a follower that is not behind gets it.
func batchOf(records ...events.Record) events.Batch {
	batch := events.Batch{Log: log1, Records: records}
	for _, record := range records {
		batch.Position = max(batch.Position, record.Position)
	}
	batch.Last = batch.Position
	return batch
}

// registryOf is what records add up to, applied in the order given.
func registryOf(policy Policy, records ...events.Record) *Registry {
	r := NewRegistry(testHasher(), policy)
	r.Apply(batchOf(records...))
	return r
}

// verdictOf is how session 1 stands for its own secret.
func verdictOf(r *Registry, now time.Time) Verdict {
	_, verdict := r.Look(idOf(1), secretOf(1), now)
	return verdict
}

var verdictNames = [...]string{"Unknown", "Alive", "Ended", "Expired", "Idle"}

// expect fails the test if got is not want.
func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got == want {
		return
	}
	if verdict, ok := any(got).(Verdict); ok {
		t.Errorf("%s: got %s, want %s", what, verdictNames[verdict], verdictNames[any(want).(Verdict)])
		return
	}
	t.Errorf("%s: got %v, want %v", what, got, want)
}

// An OP tells times in whole seconds, and they are held against each other as
// they are, wherever our own clock stands: whoever it logs out in the second in
// which they signed in is out.
func TestAuthenticatedInTheSecondOfTheLogout(t *testing.T) {
	start := signIn(func(f *events.Started) {
		f.BegunAt, f.AuthTime, f.At = after(99), after(101), after(100.4)
	})
	r := registryOf(Policy{}, at(11, start), at(12, logout("", alice, after(101))))
	expect(t, "verdict", verdictOf(r, after(102)), Ended)
	r = registryOf(Policy{}, at(11, start), at(12, logout("", alice, after(100))))
	expect(t, "verdict of one who came a second later", verdictOf(r, after(102)), Alive)
}
