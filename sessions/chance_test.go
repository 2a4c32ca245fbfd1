package sessions

import (
	"math/rand/v2"
	"time"

	"curfew/events"
)

// chance writes histories as a few replicas might, with so few issuers, users,
// sids and times that they collide all the time. Only what the log would take
// gets in.
type chance struct {
	rng     *rand.Rand
	taken   map[string]bool // subjects on which the log has something
	records []events.Record
	logins  []login // begun and not finished
	ids     []events.SessionID
}

// login is a login on its way: when it began, and how far the replica had
// applied the log then, which may be less than the log went.
type login struct {
	begun   events.Position
	begunAt time.Time
}

func newChance(rng *rand.Rand) *chance {
	return &chance{rng: rng, taken: make(map[string]bool)}
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// second is one of a dozen times, twenty seconds apart.
func (c *chance) second() time.Time { return after(float64(20 * c.rng.IntN(12))) }

// around is a time within two minutes or so of another, often just at or just
// past it, or a minute off.
func (c *chance) around(t time.Time) time.Time {
	return t.Add(pick(c.rng, 0, time.Millisecond, -time.Millisecond, 20*time.Second, -20*time.Second,
		time.Minute, -time.Minute, time.Minute+time.Millisecond, 2*time.Minute))
}

func (c *chance) append(fact events.Fact, ifFirst bool) {
	if ifFirst && c.taken[fact.Subject()] {
		return
	}
	c.taken[fact.Subject()] = true
	c.records = append(c.records, at(events.Position(len(c.records)+1), fact))
}

// history is a whole life of n events or fewer.
func (c *chance) history(n int) []events.Record {
	for range n {
		c.step()
	}
	return c.records
}

func (c *chance) step() {
	switch k := c.rng.IntN(23); {
	case k < 5:
		c.begin()
	case k < 10:
		c.finish()
	case k < 12 && len(c.ids) > 0:
		fact := refreshed(pick(c.rng, c.ids...), c.optional(c.second()), c.rng.IntN(2) == 0)
		fact.At = pick(c.rng, fact.At, c.second())
		c.append(fact, false)
	case k >= 20 && len(c.ids) > 0:
		c.append(c.claim(), false)
	case k < 14 && len(c.ids) > 0:
		c.append(events.Seen{Session: pick(c.rng, c.ids...), At: c.second()}, false)
		// The log takes it at that time, whatever its writer's clock said.
		last := &c.records[len(c.records)-1]
		last.Fact = events.Seen{Session: last.Fact.(events.Seen).Session, At: pick(c.rng, c.second(), last.Stored)}
	case k < 15 && len(c.ids) > 0:
		c.append(ended(pick(c.rng, c.ids...), pick(c.rng, causes[1:]...)), true)
	case k < 16:
		c.append(events.Alive{Replica: "a", Instance: "i", Position: 1, Lease: 15000}, false)
	default:
		c.append(c.logout(), true)
	}
}

func (c *chance) begin() {
	lag := pick(c.rng, 0, 0, 0, 1, 2)
	c.logins = append(c.logins, login{
		begun:   events.Position(max(0, len(c.records)-lag)),
		begunAt: c.second(),
	})
}

func (c *chance) finish() {
	if len(c.logins) == 0 {
		c.begin()
	}
	i := c.rng.IntN(len(c.logins))
	l := c.logins[i]
	c.logins = append(c.logins[:i], c.logins[i+1:]...)
	id := idOf(byte(len(c.ids) + 1))
	c.ids = append(c.ids, id)
	finished := l.begunAt.Add(pick(c.rng, 0, 20*time.Second, time.Minute))
	c.append(events.Started{
		Session: id, Secret: secretOf(id[15]), Issuer: c.issuer(), Sub: c.sub(), Sid: pick(c.rng, "", "s1", "s2"),
		Begun: l.begun, BegunAt: l.begunAt, At: finished,
		AuthTime: pick(c.rng, time.Time{}, time.Unix(0, 0), c.second(), c.around(l.begunAt), c.around(finished), after(1e6)),
		Expires:  c.around(finished.Add(2 * time.Minute)),
		Access:   c.optional(c.second()), Renewable: c.rng.IntN(2) == 0, Sealed: "x",
	}, true)
}

// claim is sometimes given back, and sometimes before it was made.
func (c *chance) claim() events.Claimed {
	return events.Claimed{
		Session: pick(c.rng, c.ids...), Replica: "a", Instance: "i", At: c.second(),
		Returned: c.rng.IntN(2) == 0, Wait: pick[int64](c.rng, 0, 1000, 60_000, 240_000), Doubt: c.rng.IntN(3) == 0,
	}
}

func (c *chance) optional(t time.Time) time.Time { return pick(c.rng, t, t, time.Time{}) }
func (c *chance) issuer() string                 { return pick(c.rng, issuer, issuer, "https://other.example.com") }
func (c *chance) sub() string                    { return pick(c.rng, alice, alice, "s1") }

func (c *chance) logout() events.LogoutReceived {
	fact := events.LogoutReceived{
		Issuer: c.issuer(), JTI: pick(c.rng, "j1", "j2"), IssuedAt: c.around(c.second()),
		Reason: events.Backchannel, Replica: "a",
	}
	fact.Until = fact.IssuedAt
	if c.rng.IntN(5) == 0 {
		fact.Reason, fact.Until = events.Admin, time.Time{}
	}
	switch c.rng.IntN(8) {
	case 0:
		fact.All = true
	case 1, 2:
		fact.Sid = pick(c.rng, "s1", "s2")
	case 3, 4, 5:
		fact.Sub = c.sub()
	default:
		fact.Sub, fact.Sid = c.sub(), pick(c.rng, "s1", "s2")
	}
	return fact
}
