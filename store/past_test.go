package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// past is a random log: logins, refreshes, uses, ends, logouts and heartbeats,
// in an order that need not make sense.
type past struct {
	testing.TB
	ring    *Keyring
	random  *rand.Rand
	records []events.Record
	started []events.SessionID // those with a start in the log
	known   []events.SessionID // those and others
	logins  map[events.SessionID]events.Started
	ended   map[events.SessionID]bool
}

var (
	pastLog  = events.LogID{7}
	pastTime = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
)

const issuer = "https://op.example.com/realm"

func newPast(t testing.TB, ring *Keyring, seed uint64, logins int) *past {
	p := &past{
		TB: t, ring: ring, random: rand.New(rand.NewPCG(seed, 0)),
		logins: make(map[events.SessionID]events.Started), ended: make(map[events.SessionID]bool),
	}
	for len(p.started) < logins {
		p.happen()
	}
	p.sealAll()
	return p
}

func (p *past) now() time.Time { return pastTime.Add(time.Duration(len(p.records)) * time.Second) }

func (p *past) end() events.Mark {
	return events.Mark{Log: pastLog, At: events.Position(len(p.records))}
}

func (p *past) happen() {
	switch p.random.IntN(12) {
	case 0:
		p.say(events.Refreshed{Session: p.any(), At: p.now(), Access: p.now().Add(time.Minute)})
	case 1:
		p.say(events.Refreshed{Session: p.any(), At: p.now(), Renewable: true})
	case 2:
		if id := p.any(); !p.ended[id] { // the log takes one end
			p.ended[id] = true
			p.say(events.Ended{Session: id, Reason: events.SignedOut, At: p.now()})
		}
	case 3:
		p.say(events.Seen{Session: p.any(), At: p.now()})
	case 4:
		p.logout()
	case 5:
		p.say(events.Alive{
			Replica: "a", Instance: fmt.Sprintf("instance-%d", p.random.IntN(5)),
			Position: events.Position(len(p.records)), Lease: 15000,
		})
	default:
		p.login()
	}
}

func (p *past) login() {
	id := events.NewSessionID()
	if len(p.known) > 0 && p.random.IntN(4) == 0 {
		id = p.any() // its end or its refresh may have come first
	}
	if _, twice := p.logins[id]; twice {
		return
	}
	started := events.Started{
		Session: id, Issuer: issuer, Sub: p.name("sub", 10), Secret: sessions.NewSecret().Hash(),
		Begun: events.Position(len(p.records) / 2), BegunAt: p.now(), At: p.now(),
		Expires: p.now().Add(time.Duration(p.random.IntN(1000)) * time.Minute),
		Client:  events.Client{Address: "203.0.113.77", UserAgent: "Mozilla/5.0 of a browser"},
	}
	if p.random.IntN(3) > 0 {
		started.Sid = p.name("sid", 20)
	}
	p.logins[id] = started
	p.started = append(p.started, id)
	p.say(started)
}

func (p *past) logout() {
	f := events.LogoutReceived{Issuer: issuer, JTI: events.NewID(), Reason: events.Backchannel, Replica: "a"}
	switch p.random.IntN(4) {
	case 0:
		f.Sub, f.Until = p.name("sub", 10), p.now()
	case 1:
		f.Sid = p.name("sid", 20)
	case 2:
		f.Sub, f.Sid = p.name("sub", 10), p.name("sid", 20)
	default:
		f.All, f.Reason = true, events.Admin
	}
	p.say(f)
}

func (p *past) say(fact events.Fact) {
	p.records = append(p.records, events.Record{
		Event:    events.NewEvent(fact, "a", p.now()),
		Position: events.Position(len(p.records) + 1),
		Stored:   p.now(),
	})
}

// any is a session of the past, or a new one of which no start is known.
func (p *past) any() events.SessionID {
	if len(p.known) == 0 || p.random.IntN(8) == 0 {
		p.known = append(p.known, events.NewSessionID())
	}
	if len(p.started) > 0 && p.random.IntN(3) > 0 {
		return p.started[p.random.IntN(len(p.started))]
	}
	return p.known[p.random.IntN(len(p.known))]
}

func (p *past) name(kind string, of int) string {
	return fmt.Sprintf("%s-%d-of-a-history", kind, p.random.IntN(of))
}

// private is what is sealed for a session: with the names of its login, if it
// has had one.
func (p *past) private(id events.SessionID) sessions.Private {
	login := p.logins[id]
	var groups []string
	if id[15]%8 == 0 {
		groups = []string{strings.Repeat("a group that takes more than a page ", 200)}
	}
	return sessions.Private{
		Session: id, Issuer: login.Issuer, Sub: login.Sub, Sid: login.Sid, Secret: login.Secret, Client: login.Client,
		User:   sessions.Identity{Username: login.Sub, Email: login.Sub + "@example.com", Groups: groups},
		Tokens: sessions.Tokens{ID: "id-token", Access: "access-token", Refresh: fmt.Sprintf("refresh-token-%d", len(p.records))},
	}
}

func (p *past) seal(id events.SessionID) events.Sealed {
	sealed, err := p.private(id).Seal(p.ring)
	if err != nil {
		p.Fatal(err)
	}
	return sealed
}

// sealAll puts in the tokens, once it is known which names each session has.
func (p *past) sealAll() {
	for i, record := range p.records {
		switch fact := record.Fact.(type) {
		case events.Started:
			fact.Sealed = p.seal(fact.Session)
			p.records[i].Fact = fact
		case events.Refreshed:
			fact.Sealed = p.seal(fact.Session)
			p.records[i].Fact = fact
		}
	}
}

// batch is a part of the past as a follower gets it.
func (p *past) batch(from, to int) events.Batch {
	return events.Batch{Log: pastLog, Records: p.records[from:to], Position: events.Position(to), Last: p.end().At}
}

// fill commits the past by way of a registry, in batches of a size.
func (p *past) fill(s *Store, size int) *sessions.Registry {
	p.Helper()
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	for from := 0; from < len(p.records); from += size {
		p.apply(s, registry, p.batch(from, min(from+size, len(p.records))))
	}
	return registry
}

func (p *past) apply(s *Store, registry *sessions.Registry, batch events.Batch) {
	p.Helper()
	if err := s.Commit(registry.Apply(batch), events.Mark{Log: batch.Log, At: batch.Position}); err != nil {
		p.Fatal(err)
	}
}
