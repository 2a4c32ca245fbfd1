package sessions

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"curfew/events"
)

// A logout that is foreseen covers what has begun and what will be finished,
// until it has a place in the log.
func TestForeseenLogout(t *testing.T) {
	late := signIn(begunAt(50))
	for name, fact := range map[string]events.LogoutReceived{
		"sid":         logout("s1", "", after(60)),
		"sub":         logout("", alice, after(6000)),
		"sid and sub": logout("s1", alice, after(60)),
		"all":         {Issuer: issuer, All: true, JTI: "j", Reason: events.Admin},
	} {
		t.Run(name, func(t *testing.T) {
			r := registryOf(Policy{}, at(2, signIn(begunAt(0))))
			r.Foresee(fact)
			r.Foresee(fact)
			expect(t, "at once", verdictOf(r, after(70)), Ended)
			_, verdict := r.Get(idOf(1), after(70))
			expect(t, "to an operator", verdict, Ended)
			expect(t, "to another's secret", verdictAs(r, secretOf(9)), Unknown)
			expect(t, "ends to be written", len(r.Due(after(70), after(1e6))), 0)

			r = registryOf(Policy{}, at(2, signIn(begunAt(0))))
			r.Foresee(fact)
			if name != "sub" {
				// A login that is finished before the log has the logout.
				late := late
				late.Session, late.Secret = idOf(2), secretOf(2)
				r.Apply(batchOf(at(60, late)))
				_, verdict := r.Look(idOf(2), secretOf(2), after(70))
				expect(t, "finished later", verdict, Ended)
				r.Apply(batchOf(at(61, fact)))
				_, verdict = r.Look(idOf(2), secretOf(2), after(70))
				expect(t, "then in the log", verdict, Ended)
			} else {
				r.Apply(batchOf(at(61, fact)))
			}
			fresh := signIn(begunAt(62))
			fresh.Session, fresh.Secret, fresh.BegunAt, fresh.At = idOf(3), secretOf(3), after(7000), after(7001)
			fresh.Expires, fresh.AuthTime = after(8000), time.Time{}
			r.Apply(batchOf(at(63, fresh)))
			_, verdict = r.Look(idOf(3), secretOf(3), after(7002))
			expect(t, "begun after the logout", verdict, Alive)
			expect(t, "nothing is foreseen any more", len(r.foresight.byName), 0)
		})
	}
}

func verdictAs(r *Registry, secret events.SecretHash) Verdict {
	_, verdict := r.Look(idOf(1), secret, after(70))
	return verdict
}

func TestForeseenEnd(t *testing.T) {
	tests := []struct {
		reason events.Reason
		want   Verdict
	}{
		{events.SignedOut, Ended}, {events.RefreshRefused, Ended}, {events.Expired, Expired}, {events.Idle, Idle},
	}
	for _, test := range tests {
		other := signIn(begunAt(0))
		other.Session = idOf(2)
		r := registryOf(Policy{}, at(2, signIn(begunAt(0))), at(3, other))
		fact := ended(idOf(1), test.reason)
		r.Foresee(fact)
		expect(t, string(test.reason), verdictOf(r, after(70)), test.want)
		_, verdict := r.Get(idOf(2), after(70))
		expect(t, "another session", verdict, Alive)
		row, _ := r.Get(idOf(1), after(70))
		expect(t, "its row", row.Ended, 0)
		changes := r.Apply(batchOf(at(4, fact)))
		expect(t, "changes", len(changes), 1)
		expect(t, "in the log", verdictOf(r, after(70)), test.want)
		expect(t, "foreseen still", len(r.foresight.ended), 0)
	}
}

func TestForeseenNames(t *testing.T) {
	for name, fact := range map[string]events.Fact{
		"another sid":     logout("s2", "", after(60)),
		"another sub":     logout("", "bob", after(60)),
		"another's sid":   logout("s1", "bob", after(60)),
		"too early":       logout("", alice, after(-1e6)),
		"another issuer":  events.LogoutReceived{Issuer: "https://x", All: true, JTI: "j", Reason: events.Admin},
		"another session": ended(idOf(2), events.SignedOut),
		"no end":          events.Left{Replica: "a", Instance: "i"},
	} {
		r := registryOf(Policy{}, at(2, signIn(begunAt(0))))
		r.Foresee(fact)
		expect(t, name, verdictOf(r, after(70)), Alive)
	}
	without := signIn(begunAt(0))
	without.Sid = ""
	r := registryOf(Policy{}, at(2, without))
	r.Foresee(logout("s7", alice, after(60)))
	expect(t, "a session without sid, by sub", verdictOf(r, after(70)), Ended)
}

func TestUnforesee(t *testing.T) {
	first, second := logout("s1", "", after(60)), logout("s1", "", after(61))
	all := events.LogoutReceived{Issuer: issuer, All: true, JTI: "j", Reason: events.Admin}
	r := registryOf(Policy{}, at(2, signIn(begunAt(0))))
	for _, fact := range []events.Fact{first, second, all, ended(idOf(1), events.SignedOut)} {
		r.Foresee(fact)
	}
	for _, fact := range []events.Fact{first, all, ended(idOf(1), events.SignedOut), first} {
		r.Unforesee(fact)
		expect(t, "another stands", verdictOf(r, after(70)), Ended)
	}
	r.Unforesee(second)
	expect(t, "none stands", verdictOf(r, after(70)), Alive)
	r.Foresee(first)
	r.Foresee(first)
	expect(t, "delivered again and again", len(r.foresight.byName[r.hasher.Sid(issuer, "s1")]), 1)
	r.Reset(testHasher())
	r.Apply(batchOf(at(2, signIn(begunAt(0)))))
	expect(t, "after a reset", verdictOf(r, after(70)), Alive)
}

// TestForesightIsAPlaceInTheLogToCome holds a registry that foresees some of a
// random history's ends against the model of a log that has them past its end.
func TestForesightIsAPlaceInTheLogToCome(t *testing.T) {
	seed := seedOf(t)
	for n := range 1_000 {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		h := newHistory(rng)
		r := NewRegistry(testHasher(), h.policy)
		var ahead []events.Record
		for _, record := range h.records {
			_, isLogout := record.Fact.(events.LogoutReceived)
			_, isEnd := record.Fact.(events.Ended)
			if (isLogout || isEnd) && rng.IntN(2) == 0 {
				r.Foresee(record.Fact)
				record.Position = math.MaxUint64
				ahead = append(ahead, record)
			}
		}
		if fault := h.compareAhead(r, ahead); fault != "" {
			t.Fatalf("seed %d, history %d: %s\n%s", seed, n, fault, h)
		}
	}
}

// compareAhead applies the history one record after the other. What was ahead
// is so no longer once it has been applied.
func (h *history) compareAhead(r *Registry, ahead []events.Record) string {
	for i, record := range h.records {
		r.Apply(batchOf(record))
		ahead = slices.DeleteFunc(ahead, func(one events.Record) bool {
			return one.Fact.Subject() == record.Fact.Subject()
		})
		m := model{h.policy, slices.Concat(h.records[:i+1], ahead)}
		for _, id := range h.ids {
			for _, now := range h.times {
				want := m.verdict(id, now)
				if _, got := r.Look(id, secretOf(id[15]), now); got != want {
					return fmt.Sprintf("after %d, %d ahead: session %s at %v: %s, want %s",
						record.Position, len(ahead), id, now, verdictNames[got], verdictNames[want])
				}
			}
		}
	}
	if len(r.foresight.byName)+len(r.foresight.ended) != 0 {
		return "something is foreseen that the log has"
	}
	return ""
}

func TestForeseenReason(t *testing.T) {
	r := registryOf(Policy{}, at(11, signIn(nil)))
	row, _ := r.Get(idOf(1), after(10))
	_, foreseen := r.Foreseen(idOf(1), row)
	expect(t, "before", foreseen, false)
	r.Foresee(ended(idOf(1), events.Admin))
	reason, foreseen := r.Foreseen(idOf(1), row)
	expect(t, "foreseen", foreseen, true)
	expect(t, "why", reason, events.Admin)
	r.Apply(batchOf(at(12, ended(idOf(1), events.Admin))))
	row, _ = r.Get(idOf(1), after(10))
	_, foreseen = r.Foreseen(idOf(1), row)
	expect(t, "once the log has it", foreseen, false)
}
