package sessions

import (
	"testing"
	"time"

	"curfew/events"
)

// coverCase is one sign-in and one logout at position 20, issued at after(60),
// in the OP's words.
type coverCase struct {
	name   string
	signIn func(*events.Started)
	logout func(*events.LogoutReceived)
	ends   bool
}

// testCovering asks four ways, which must agree: the registry with the logout
// applied after the start and before it, the tombstone itself, and an operator.
func testCovering(t *testing.T, sid, sub string, cases []coverCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fact := logout(sid, sub, after(60))
			if c.logout != nil {
				c.logout(&fact)
			}
			started, out := at(19, signIn(c.signIn)), at(20, fact)
			want := Alive
			if c.ends {
				want = Ended
			}
			inOrder := registryOf(Policy{}, started, out)
			expect(t, "logout after start", verdictOf(inOrder, after(70)), want)
			// A login that was at the OP when the logout came is started after it.
			started.Position = 21
			inFlight := registryOf(Policy{}, out, started)
			expect(t, "logout before start", verdictOf(inFlight, after(70)), want)

			row, verdict := inOrder.Get(idOf(1), after(70))
			expect(t, "operator's view", verdict, want)
			expect(t, "tombstone", inOrder.Tombstone(out, fact).Covers(row), c.ends)
			_, covered := inOrder.Covering(row)
			expect(t, "covering", covered, c.ends)
		})
	}
}

func noSid(f *events.Started)       { f.Sid = "" }
func otherSid(f *events.Started)    { f.Sid = "s2" }
func otherSub(f *events.Started)    { f.Sub = "bob" }
func otherIssuer(f *events.Started) { f.Issuer = issuer + "/" }

func begunAt(position events.Position) func(*events.Started) {
	return func(f *events.Started) { f.Begun = position }
}

// "sid alone: every session of that (issuer, sid)".
func TestLogoutBySid(t *testing.T) {
	testCovering(t, "s1", "", []coverCase{
		{"the session", nil, nil, true},
		{"the same sid of another user", otherSub, nil, true},
		{"another sid", otherSid, nil, false},
		{"a session without sid, as the logout names no sub", noSid, nil, false},
		{"the same sid at another issuer", otherIssuer, nil, false},
		{"the same sid, issuer differing by case", func(f *events.Started) { f.Issuer = "https://ID.example.com" }, nil, false},
		{"a sid that is the sub", func(f *events.Started) { f.Sid, f.Sub = "s2", "s1" }, nil, false},
		{"authenticated after the token: a sid needs no time", func(f *events.Started) { f.AuthTime = after(65) }, nil, true},
		{"an operator's", nil, func(f *events.LogoutReceived) { f.Until, f.Reason = time.Time{}, events.Admin }, true},
	})
}

// "sid and sub: those of them whose sub is that one. A session whose ID token
// bore no sid is matched by sub, where the token names one."
func TestLogoutBySidAndSub(t *testing.T) {
	testCovering(t, "s1", alice, []coverCase{
		{"the session", nil, nil, true},
		{"the user's session with another sid", otherSid, nil, false},
		{"the same sid of another user", otherSub, nil, false},
		{"the user's session without sid", noSid, nil, true},
		{"another user's session without sid", func(f *events.Started) { noSid(f); otherSub(f) }, nil, false},
		{"the same names at another issuer", otherIssuer, nil, false},
		{"without sid, at another issuer", func(f *events.Started) { noSid(f); otherIssuer(f) }, nil, false},
		{"authenticated after the token: a sid needs no time", func(f *events.Started) { f.AuthTime = after(65) }, nil, true},
		// By sub one is matched as by a logout of the sub alone.
		{"without sid, authenticated in the token's second", func(f *events.Started) { noSid(f); f.AuthTime, f.At = after(60), after(61) }, nil, true},
		{"without sid, authenticated after the token", func(f *events.Started) { noSid(f); f.AuthTime, f.At = after(61), after(62) }, nil, false},
		{"without sid, an operator's, who has no time", func(f *events.Started) { noSid(f); f.AuthTime, f.At = after(61), after(62) },
			func(f *events.LogoutReceived) { f.Until = time.Time{} }, true},
	})
}

// "sub alone: every session of that (issuer, sub) whose user authenticated no
// later than the token's iat".
func TestLogoutBySub(t *testing.T) {
	testCovering(t, "", alice, []coverCase{
		{"a session with sid", nil, nil, true},
		{"a session without sid", noSid, nil, true},
		{"another user", otherSub, nil, false},
		{"the same sub at another issuer", otherIssuer, nil, false},
		{"a sub that is the sid", func(f *events.Started) { f.Sid, f.Sub = alice, "s1" }, nil, false},
	})
}

// A logout by sub that comes late "does not throw out someone who has since
// signed in again".
func TestLogoutBySubIsBoundByTime(t *testing.T) {
	// auth says when the OP authenticated the user of a login that began at
	// one time and was finished at another.
	auth := func(authTime, begun, finished time.Time) func(*events.Started) {
		return func(f *events.Started) { f.AuthTime, f.BegunAt, f.At = authTime, begun, finished }
	}
	var none time.Time
	epoch := time.Unix(0, 0)
	testCovering(t, "", alice, []coverCase{
		{"authenticated before", auth(after(59), after(50), after(60)), nil, true},
		{"in the same second", auth(after(60), after(50), after(61)), nil, true},
		{"a millisecond later", auth(after(60.001), after(50), after(61)), nil, false},
		{"a second later", auth(after(61), after(50), after(61)), nil, false},
		{"long ago, the OP's own session being old", auth(after(-86400), after(61), after(62)), nil, true},
		{"later, but login begun before: auth_time counts", auth(after(61), after(0), after(62)), nil, false},
		{"earlier, but login begun after: auth_time counts", auth(after(60), after(200), after(201)), nil, true},

		{"no auth_time, begun before", auth(none, after(59), after(90)), nil, true},
		{"no auth_time, begun within the grace", auth(none, after(120), after(121)), nil, true},
		{"no auth_time, begun just past the grace", auth(none, after(120.001), after(121)), nil, false},
		{"auth_time 0, begun within the grace", auth(epoch, after(120), after(121)), nil, true},
		{"auth_time 0, begun past the grace", auth(epoch, after(121), after(122)), nil, false},
		{"negative auth_time, past the grace", auth(time.Unix(-5, 0), after(121), after(122)), nil, false},
		{"auth_time half a second after 1970, past the grace", auth(time.Unix(0, 5e8), after(121), after(122)), nil, false},
		{"auth_time far ahead, begun within the grace", auth(after(1e6), after(100), after(101)), nil, true},
		{"auth_time far ahead, begun past the grace", auth(after(1e6), after(121), after(122)), nil, false},
		{"auth_time past the finish, the OP's clock being ahead: it counts", auth(after(119), after(50), after(60)), nil, false},
		{"auth_time past the finish, and the logout later still", auth(after(60), after(5), after(10)), nil, true},
		{"auth_time more than a minute past the finish is not", auth(after(61.001), after(0), after(1)), nil, true},

		{"an operator's has no bound", auth(after(500), after(400), after(501)), func(f *events.LogoutReceived) { f.Until = time.Time{} }, true},
		{"of 1970, when nobody had authenticated", nil, func(f *events.LogoutReceived) { f.Until = time.Unix(1, 0) }, false},
	})
}

// "all covers whatever began before it", whoever's it is.
func TestLogoutOfAll(t *testing.T) {
	all := func(f *events.LogoutReceived) { f.All = true }
	testCovering(t, "", "", []coverCase{
		{"a session with sid", nil, all, true},
		{"a session without sid", noSid, all, true},
		{"another user's", otherSub, all, true},
		{"one who authenticated after", func(f *events.Started) { f.AuthTime, f.At = after(61), after(62) }, all, true},
		{"another issuer's", otherIssuer, all, false},
		{"begun after", begunAt(20), all, false},
		{"begun before", begunAt(19), all, true},
	})
}

// "A login begun after that is never covered, even in the same second, even
// with the same sid": by place in the log, whatever the clocks say.
func TestLogoutCoversOnlyWhatBeganBefore(t *testing.T) {
	for _, named := range []struct{ name, sid, sub string }{
		{"by sid", "s1", ""}, {"by sub", "", alice}, {"by both", "s1", alice},
	} {
		t.Run(named.name, func(t *testing.T) {
			testCovering(t, named.sid, named.sub, []coverCase{
				{"at the beginning", begunAt(0), nil, true},
				{"just before", begunAt(19), nil, true},
				{"just after", begunAt(20), nil, false},
				{"after", begunAt(21), nil, false},
				{"after, by a clock an hour slow", func(f *events.Started) {
					f.Begun, f.BegunAt, f.At, f.AuthTime = 20, after(-3600), after(-3590), after(-3595)
				}, nil, false},
				{"after, without sid", func(f *events.Started) { f.Begun = 20; noSid(f) }, nil, false},
			})
		})
	}
}

func TestTombstoneCoversNothingThatHasNotStarted(t *testing.T) {
	r := registryOf(Policy{}, at(20, logout("s1", alice, time.Time{})))
	stone := r.Tombstone(at(20, nil), events.LogoutReceived{Issuer: issuer, All: true})
	row := Row{Issuer: testHasher().Issuer(issuer), Begun: 1}
	expect(t, "a row without start", stone.Covers(row), false)
	row.Started = 2
	expect(t, "the same, started", stone.Covers(row), true)
	expect(t, "the zero row", Tombstone{}.Covers(Row{}), false)
}

func TestReasonsOfATombstone(t *testing.T) {
	for _, reason := range []events.Reason{events.Backchannel, events.Admin} {
		fact := logout("s1", "", after(60))
		fact.Reason = reason
		r := registryOf(Policy{}, at(19, signIn(nil)), at(20, fact))
		row, _ := r.Get(idOf(1), after(70))
		stone, covered := r.Covering(row)
		expect(t, "covered", covered, true)
		expect(t, "reason", stone.Reason(), reason)
		expect(t, "position", stone.Position, 20)
		expect(t, "the row itself has not ended", row.Reason(), "")
	}
}

// A user who signs in and out all day, always under another sid, leaves a
// tombstone for each sid, and one for the sessions without: or each further
// logout would take longer.
func TestTombstonesOfOneUserAreFew(t *testing.T) {
	r := NewRegistry(testHasher(), Policy{})
	for i := range 100 {
		sid := string(rune('a' + i))
		r.Apply(batchOf(at(events.Position(i+20), logout(sid, alice, after(float64(i))))))
	}
	expect(t, "for sessions without sid", len(r.tombstones.bySubSid[r.hasher.Sub(issuer, alice)]), 1)
	expect(t, "sids", len(r.tombstones.bySid), 100)
}
