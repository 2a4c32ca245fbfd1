package sessions_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

const provider = "https://id.example.com"

// cabinet is a shelf that finds everything and opens what it is given.
type cabinet struct {
	mu    sync.Mutex
	held  map[events.SessionID]sessions.Private
	found []events.SessionID
	fault error // for those it does not hold
}

func (c *cabinet) Named(sessions.Tombstone) ([]events.SessionID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found, nil
}

func (c *cabinet) Private(id events.SessionID) (sessions.Private, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	private, found := c.held[id]
	if !found {
		return sessions.Private{}, c.fault
	}
	return private, nil
}

// house is a log that several replicas follow.
type house struct {
	t   *testing.T
	log *memlog.Log
}

// room is one replica: what it has applied, and what ends its sessions.
type room struct {
	name     string
	registry *sessions.Registry
	ender    *sessions.Ender
	shelf    *cabinet
}

func (h *house) room(ctx context.Context, name string, policy sessions.Policy) *room {
	r := &room{name: name, shelf: &cabinet{held: map[events.SessionID]sessions.Private{}, fault: errors.New("the disk is gone")}}
	r.registry = sessions.NewRegistry(sessions.NewHasher([32]byte{1}), policy)
	clock := &sessions.LogClock{Lull: 15 * time.Second, Clock: readClock()}
	r.ender = sessions.NewEnder(sessions.Ender{
		Log: h.log, Registry: r.registry, Shelf: r.shelf, Stored: clock, Replica: name, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	apply := func(batch events.Batch) error {
		r.registry.Apply(batch)
		if last := len(batch.Records) - 1; last >= 0 {
			clock.Heard(batch.Records[last].Stored)
		}
		for _, record := range batch.Records {
			if fact, ok := record.Fact.(events.LogoutReceived); ok && fact.Replica == name {
				r.ender.Strike(r.registry.Tombstone(record, fact))
			}
		}
		return nil
	}
	untilEnd(ctx, h.t, func(ctx context.Context) error { return h.log.Follow(ctx, events.Mark{}, apply) })
	return r
}

// readClock is a clock that nobody sets.
func readClock() sessions.Clock {
	began := time.Now()
	return func() sessions.Reading { return sessions.Reading{Boot: time.Since(began), Wall: time.Now()} }
}

func (h *house) append(fact events.Fact) events.Position {
	h.t.Helper()
	position, err := h.log.Append(h.t.Context(), events.NewEvent(fact, "a", time.Now()), events.IfFirst())
	if err != nil {
		h.t.Fatal(err)
	}
	return position
}

// signIn puts a session into the log and onto the shelves of those rooms.
func (h *house) signIn(sub, sid string, lifetime time.Duration, rooms ...*room) events.SessionID {
	return h.start(events.Started{Sub: sub, Sid: sid, Expires: time.Now().Add(lifetime)}, rooms...)
}

// signInUntil is signIn for an hour, with an access token that ends after a
// while; zero for one of which that is not known.
func (h *house) signInUntil(access time.Duration, rooms ...*room) events.SessionID {
	fact := events.Started{Sub: "u1", Sid: "s1", Expires: time.Now().Add(time.Hour)}
	if access > 0 {
		fact.Access = time.Now().Add(access)
	}
	return h.start(fact, rooms...)
}

func (h *house) start(fact events.Started, rooms ...*room) events.SessionID {
	id := events.NewSessionID()
	for _, r := range rooms {
		r.shelf.mu.Lock()
		r.shelf.held[id] = sessions.Private{Session: id, Issuer: provider, Sub: fact.Sub, Sid: fact.Sid}
		r.shelf.found = append(r.shelf.found, id)
		r.shelf.mu.Unlock()
	}
	status, err := h.log.Status(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	fact.Session, fact.Issuer, fact.Secret, fact.Sealed = id, provider, events.SecretHash{1}, "x"
	fact.Begun, fact.BegunAt, fact.At = status.Last, time.Now(), time.Now()
	h.append(fact)
	return id
}

func (h *house) logout(sub, sid, replica string) {
	h.append(events.LogoutReceived{
		Issuer: provider, Sub: sub, Sid: sid, JTI: events.NewID(), IssuedAt: time.Now(), Until: time.Now(), Reason: events.Backchannel, Replica: replica,
	})
}

// ends lists the ends the log holds.
func (h *house) ends() map[events.SessionID]events.Ended {
	ends := map[events.SessionID]events.Ended{}
	for _, record := range h.log.Records() {
		if ended, ok := record.Fact.(events.Ended); ok {
			ends[ended.Session] = ended
		}
	}
	return ends
}

// inHouse runs a test in virtual time with three rooms and all their enders.
func inHouse(t *testing.T, policy sessions.Policy, test func(*house, []*room)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := &house{t: t, log: memlog.New(time.Now)}
		var rooms []*room
		for _, name := range []string{"a", "b", "c"} {
			rooms = append(rooms, h.room(ctx, name, policy))
		}
		test(h, rooms)
		cancel()
		synctest.Wait()
	})
}

// untilEnd starts what is to run until ctx ends and return its error.
func untilEnd(ctx context.Context, t *testing.T, run func(context.Context) error) {
	go func() {
		if err := run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("returned %v before its end", err)
		}
	}()
}

func run(t *testing.T, rooms ...*room) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, r := range rooms {
		untilEnd(ctx, t, r.ender.Run)
	}
	return cancel
}

func TestReceiverEndsAtOnceWhatALogoutCovers(t *testing.T) {
	inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
		defer run(h.t, rooms...)()
		first := h.signIn("u1", "s1", time.Hour, rooms...)
		second := h.signIn("u1", "s1", time.Hour, rooms...)
		other := h.signIn("u2", "s2", time.Hour, rooms...)
		synctest.Wait()
		h.logout("u1", "s1", "b")
		synctest.Wait()
		ends := h.ends()
		for _, id := range []events.SessionID{first, second} {
			want := events.Ended{Session: id, Issuer: provider, Sub: "u1", Sid: "s1", Reason: events.Backchannel}
			got := ends[id]
			got.At = time.Time{}
			if got != want {
				h.t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if _, ended := ends[other]; ended {
			h.t.Error("another user's session was ended")
		}
	})
}

// A logout of all has no names by which a shelf could find whom it covers.
func TestReceiverEndsAtOnceAllOfAnIssuer(t *testing.T) {
	inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
		defer run(h.t, rooms...)()
		h.signIn("u1", "s1", time.Hour, rooms...)
		h.signIn("u2", "", time.Hour, rooms...)
		for _, r := range rooms {
			r.shelf.found = nil
		}
		synctest.Wait()
		h.append(events.LogoutReceived{
			Issuer: provider, All: true, JTI: events.NewID(), IssuedAt: time.Now(), Until: time.Now(), Reason: events.Admin, Replica: "b",
		})
		later := h.signIn("u3", "s3", time.Hour, rooms...)
		synctest.Wait()
		ends := h.ends()
		if _, ended := ends[later]; ended || len(ends) != 2 {
			h.t.Errorf("ends are %v", ends)
		}
	})
}

func TestOthersFinishWhatADeadReplicaBegan(t *testing.T) {
	inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
		defer run(h.t, rooms[0], rooms[2])()
		id := h.signIn("u1", "s1", time.Hour, rooms...)
		synctest.Wait()
		h.logout("u1", "s1", "b") // b is dead
		synctest.Wait()
		if len(h.ends()) != 0 {
			h.t.Fatal("somebody did not give the receiver its time")
		}
		<-time.After(10 * time.Second)
		if _, ended := h.ends()[id]; !ended {
			h.t.Error("nobody wrote the end within ten seconds")
		}
	})
}

func TestExactlyOneEndIsWritten(t *testing.T) {
	inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
		var mu sync.Mutex
		tries := 0
		h.log.Fail = func(event events.Event) memlog.Fault {
			mu.Lock()
			defer mu.Unlock()
			if _, ended := event.Fact.(events.Ended); ended {
				tries++
			}
			return memlog.None
		}
		defer run(h.t, rooms...)()
		h.signIn("u1", "s1", time.Minute, rooms...)
		<-time.After(time.Minute + 10*time.Second)
		got := 0
		for _, record := range h.log.Records() {
			if ended, ok := record.Fact.(events.Ended); ok {
				got++
				if ended.Reason != events.Expired {
					h.t.Errorf("reason %q, want expired", ended.Reason)
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if got != 1 || tries == 0 {
			h.t.Errorf("%d ends after %d tries, want one", got, tries)
		}
	})
}

func TestEndWhoseAnswerIsLostIsWrittenOnce(t *testing.T) {
	for _, fault := range []memlog.Fault{memlog.Unavailable, memlog.AnswerLost} {
		inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
			var once sync.Once
			h.log.Fail = func(event events.Event) memlog.Fault {
				befalls := memlog.None
				if _, ended := event.Fact.(events.Ended); ended {
					once.Do(func() { befalls = fault })
				}
				return befalls
			}
			defer run(h.t, rooms[0])()
			id := h.signIn("u1", "s1", time.Hour, rooms...)
			synctest.Wait()
			h.logout("u1", "", "a")
			<-time.After(10 * time.Second)
			if _, ended := h.ends()[id]; !ended {
				h.t.Errorf("fault %d: the end was never written", fault)
			}
		})
	}
}

func TestSessionThatCannotBeOpenedKeepsNobodyElseFromTheirEnd(t *testing.T) {
	inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
		defer run(h.t, rooms[0])()
		h.signIn("u1", "s1", time.Hour) // on no shelf
		good := h.signIn("u1", "s1", time.Hour, rooms...)
		synctest.Wait()
		h.logout("u1", "s1", "a")
		<-time.After(10 * time.Second)
		if _, ended := h.ends()[good]; !ended {
			h.t.Error("the other session's end was not written")
		}
	})
}

func TestIdleSessionEndsWithinTenSeconds(t *testing.T) {
	inHouse(t, sessions.Policy{Idle: 30 * time.Minute}, func(h *house, rooms []*room) {
		defer run(h.t, rooms...)()
		id := h.signIn("u1", "s1", 12*time.Hour, rooms...)
		<-time.After(30*time.Minute + 10*time.Second)
		if got := h.ends()[id].Reason; got != events.Idle {
			h.t.Errorf("reason %q, want idle", got)
		}
	})
}

func TestUseIsWrittenOnceAQuarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log := memlog.New(time.Now)
		toucher := sessions.NewToucher(sessions.Toucher{Log: log, Idle: 40 * time.Minute, Replica: "a", Logger: slog.New(slog.DiscardHandler)})
		untilEnd(ctx, t, toucher.Run)
		id := events.NewSessionID()
		row := sessions.Row{Started: 1, At: sessions.InstantOf(time.Now())}
		use := func(wait time.Duration, want int, at events.Position) {
			t.Helper()
			<-time.After(wait)
			toucher.Touch(id, row, time.Now())
			toucher.Touch(id, row, time.Now())
			synctest.Wait()
			status, err := log.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(log.Records()); got != want || status.Last != at {
				t.Errorf("%d uses up to %d, want %d up to %d", got, status.Last, want, at)
			}
		}
		use(0, 0, 0)
		use(9*time.Minute, 0, 0)
		use(time.Minute, 1, 1)
		use(5*time.Minute, 1, 1) // not yet applied here, but written
		row.Seen = sessions.InstantOf(time.Now())
		use(time.Minute, 1, 1)
		use(9*time.Minute, 1, 2) // the log keeps the last
		cancel()
		synctest.Wait()
	})
}

func TestWithoutAnIdleTimeNoUseIsWritten(t *testing.T) {
	toucher := sessions.NewToucher(sessions.Toucher{})
	toucher.Touch(events.NewSessionID(), sessions.Row{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := toucher.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// One replica's clock runs hours ahead of the log's, another's behind. A session
// ends for good when its time is up, and for neither of them sooner.
func TestWrongClockEndsNobody(t *testing.T) {
	inHouse(t, sessions.Policy{Idle: 30 * time.Minute}, func(h *house, rooms []*room) {
		rooms[0].ender.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
		rooms[1].ender.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
		defer run(h.t, rooms...)()
		id := h.signIn("u1", "s1", time.Hour, rooms...)
		beat := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); <-time.After(5 * time.Second) {
				h.say(events.Alive{Replica: "x", Instance: "x", Lease: 15_000})
			}
			synctest.Wait()
		}
		beat(29 * time.Minute)
		if len(h.ends()) != 0 {
			h.t.Fatal("a session was ended before its time")
		}
		beat(time.Minute + 10*time.Second)
		if got := h.ends()[id].Reason; got != events.Idle {
			h.t.Errorf("ended for %q, want idle", got)
		}
	})
}
