package sessions_test

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

// plainly seals so that anybody can open it.
type plainly struct{}

func (plainly) Seal(plain []byte) (events.Sealed, error) {
	return events.Sealed(base64.URLEncoding.EncodeToString(plain)), nil
}

func (plainly) Open(sealed events.Sealed) ([]byte, error) {
	return base64.URLEncoding.DecodeString(string(sealed))
}

// rotatingOP gives each refresh token out for one use, and takes the second use
// of one for a theft.
type rotatingOP struct {
	mu      sync.Mutex
	good    string        // the one refresh token that is still good
	keeps   bool          // the token stays the same
	stolen  bool          // or the user disabled
	life    time.Duration // of access tokens
	slow    time.Duration
	calls   []time.Time
	trouble func(call int) error // instead of an answer, before the token is spent
	between func()               // runs when the token has been spent
}

func (o *rotatingOP) Refresh(ctx context.Context, p sessions.Private) (sessions.Renewed, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, time.Now())
	if o.trouble != nil {
		if err := o.trouble(len(o.calls)); err != nil {
			return sessions.Renewed{}, err
		}
	}
	if o.stolen || p.Tokens.Refresh != o.good {
		o.stolen = true
		return sessions.Renewed{}, &sessions.RefusedError{Cause: errors.New("invalid_grant")}
	}
	if !o.keeps {
		o.good = "refresh-" + events.NewID()
	}
	if o.between != nil {
		o.between()
	}
	if o.slow > 0 {
		select {
		case <-time.After(o.slow):
		case <-ctx.Done():
			return sessions.Renewed{}, ctx.Err()
		}
	}
	p.Tokens = sessions.Tokens{ID: "id", Access: "access-" + events.NewID(), Refresh: o.good}
	p.User.Groups = []string{"new"}
	now := time.Now()
	return sessions.Renewed{Private: p, At: now, Access: now.Add(o.life)}, nil
}

// asked is how often the OP was asked.
func (o *rotatingOP) asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.calls)
}

// post is an outbox on a disk that outlives its process.
type post struct {
	mu   sync.Mutex
	kept map[string]events.Event
	full error
}

func (p *post) Put(event events.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil {
		return p.full
	}
	p.kept[event.ID] = event
	return nil
}

func (p *post) Drop(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.kept, id)
	return nil
}

func (p *post) All() (events []events.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, event := range p.kept {
		events = append(events, event)
	}
	return events
}

// wire is one replica's way to the log.
type wire struct {
	*memlog.Log
	cut atomic.Bool
}

func (w *wire) Append(ctx context.Context, event events.Event, when events.Condition) (events.Position, error) {
	if w.cut.Load() {
		return 0, events.ErrUnavailable
	}
	return w.Log.Append(ctx, event, when)
}

// node is one replica that refreshes.
type node struct {
	*sessions.Refresher
	name     string
	wire     *wire
	registry *sessions.Registry
	post     *post
	stop     context.CancelFunc

	mu       sync.Mutex
	sealed   map[events.SessionID]events.Sealed
	outcomes []sessions.Outcome
}

func (n *node) Private(id events.SessionID) (sessions.Private, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return sessions.OpenPrivate(plainly{}, id, n.sealed[id])
}

func (n *node) apply(batch events.Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, change := range n.registry.Apply(batch) {
		if change.Sealed != "" {
			n.sealed[change.Session] = change.Sealed
		}
	}
	if last := len(batch.Records) - 1; last >= 0 {
		n.Stored.Heard(batch.Records[last].Stored)
	}
	return nil
}

// street is three replicas with one log and one OP.
type street struct {
	t     *testing.T
	ctx   context.Context
	log   *memlog.Log
	op    *rotatingOP
	nodes []*node
	began time.Time
	fail  atomic.Pointer[func(events.Event) memlog.Fault]
	ahead atomic.Int64 // of the log's clock, in nanoseconds
}

// onStreet runs a test in a bubble of synthetic time.
func onStreet(t *testing.T, test func(t *testing.T, s *street)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &street{t: t, ctx: ctx, began: time.Now()}
		s.log = memlog.New(func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) })
		s.log.Fail = func(event events.Event) memlog.Fault {
			if fail := s.fail.Load(); fail != nil {
				return (*fail)(event)
			}
			return memlog.None
		}
		s.op = &rotatingOP{good: "refresh-1", life: 5 * time.Minute}
		for _, name := range []string{"a", "b", "c"} {
			s.nodes = append(s.nodes, s.node(name))
		}
		test(t, s)
		stop()
		synctest.Wait()
	})
}

func (s *street) read() sessions.Reading {
	return sessions.Reading{Boot: time.Since(s.began), Wall: time.Now()}
}

func (s *street) node(name string) *node {
	return s.nodeWith(name, &post{kept: map[string]events.Event{}})
}

// nodeWith is a replica that finds an outbox on its disk.
func (s *street) nodeWith(name string, post *post) *node {
	n := &node{name: name, wire: &wire{Log: s.log}, post: post}
	n.sealed = map[events.SessionID]events.Sealed{}
	n.registry = sessions.NewRegistry(sessions.NewHasher([32]byte{1}), sessions.Policy{UntilAccess: true})
	n.Refresher = sessions.NewRefresher(sessions.Refresher{
		Log: n.wire, Registry: n.registry, Rows: n, Sealer: plainly{}, OP: s.op, Outbox: n.post,
		Replica: name, Instance: name + "-1", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Stored: &sessions.LogClock{Lull: 15 * time.Second, Clock: s.read}, Clock: s.read,
		Told: func(outcome sessions.Outcome) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.outcomes = append(n.outcomes, outcome)
		},
	})
	ctx, stop := context.WithCancel(s.ctx)
	n.stop = stop
	go func() { _ = s.log.Follow(ctx, events.Mark{}, n.apply) }()
	for range 2 {
		go func() { _ = n.Run(ctx) }()
	}
	go n.beat(ctx)
	return n
}

// beat keeps the log's clock going, as heartbeats do.
func (n *node) beat(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		fact := events.Alive{Replica: n.name, Instance: n.name + "-1", Lease: 15_000}
		_, _ = n.wire.Append(ctx, events.NewEvent(fact, n.name, time.Now()), events.Always())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// die ends a replica as a power cut does: it says nothing more to anybody.
func (n *node) die() {
	n.wire.cut.Store(true)
	n.stop()
}

func (s *street) append(fact events.Fact, when events.Condition) events.Position {
	s.t.Helper()
	at, err := s.log.Append(s.t.Context(), events.NewEvent(fact, "x", time.Now()), when)
	if err != nil {
		s.t.Error(err)
	}
	return at
}

// signIn starts a session for half a day with an access token for five minutes.
func (s *street) signIn() events.SessionID {
	s.t.Helper()
	now := time.Now()
	private := sessions.Private{
		Session: events.NewSessionID(), Issuer: provider, Sub: "u", Sid: "s",
		Tokens: sessions.Tokens{ID: "id", Access: "access-1", Refresh: s.op.good},
		User:   sessions.Identity{Username: "ada", Groups: []string{"old"}},
	}
	sealed, err := private.Seal(plainly{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.append(events.Started{
		Session: private.Session, Issuer: provider, Sub: "u", Sid: "s", Secret: events.SecretHash{1}, Begun: 1, BegunAt: now,
		At: now, Expires: now.Add(12 * time.Hour), Access: now.Add(s.op.life), Renewable: true, Sealed: sealed,
	}, events.IfLast(0))
	synctest.Wait()
	return private.Session
}

// check is a request that a replica's guard is asked about.
func (n *node) check(id events.SessionID) sessions.Verdict {
	row, verdict := n.registry.Get(id, time.Now())
	if verdict == sessions.Alive {
		n.Want(id, row, time.Now())
	}
	return verdict
}

// checks has every replica asked about a session, for a while, so many times a
// second.
func (s *street) checks(id events.SessionID, during time.Duration, each time.Duration) {
	for end := time.Now().Add(during); time.Now().Before(end); <-time.After(each) {
		for _, n := range s.nodes {
			n.check(id)
		}
	}
	synctest.Wait()
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// want wants a session to stand alike everywhere, with the access token that
// ends at some time.
func (s *street) want(id events.SessionID, verdict sessions.Verdict, access time.Time, renewable bool) {
	s.t.Helper()
	synctest.Wait()
	for _, n := range s.nodes {
		if n.wire.cut.Load() {
			continue
		}
		row, got := n.registry.Get(id, time.Now())
		if got != verdict {
			s.t.Errorf("%s: verdict %d, want %d", n.name, got, verdict)
		}
		if !row.Access.Time().Equal(access.Truncate(time.Millisecond)) || row.Renewable != renewable {
			s.t.Errorf("%s: access ends at %v, renewable %t; want %v, %t", n.name, row.Access.Time(), row.Renewable, access, renewable)
		}
	}
}

func (s *street) wantAsked(times int) {
	s.t.Helper()
	if got := s.op.asked(); got != times {
		s.t.Errorf("the OP was asked %d times, want %d", got, times)
	}
}

// inLog counts what the log has ever taken of a kind that it still holds.
func inLog[F events.Fact](log *memlog.Log) (held []F) {
	for _, record := range log.Records() {
		if fact, ok := record.Fact.(F); ok {
			held = append(held, fact)
		}
	}
	return held
}
