package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
)

const (
	simLease  = 1500 * time.Millisecond
	simLength = 7 * time.Second
	simUsers  = 6
)

// TestCompleteMeansDeadEverywhere simulates replicas whose clocks, processes
// and networks do what they like, and logouts at any time. Once a logout is
// answered complete, no replica is ever found that would let its user in: none
// that is fresh and takes the session for alive.
func TestCompleteMeansDeadEverywhere(t *testing.T) {
	runs := 1500
	if testing.Short() {
		runs = 200
	}
	seed := seedOf(t)
	enough := time.Now().Add(20 * time.Second)
	var sum tally
	for run := range runs {
		if time.Now().After(enough) {
			t.Logf("%d runs done", run)
			break
		}
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, seed, uint64(run), run%10 == 0)
			s.run()
			sum.add(s.tally)
		})
		if t.Failed() {
			t.Fatalf("seed %d, run %d", seed, run)
		}
	}
	t.Logf("%+v", sum)
	if sum.early < 100 || sum.late == 0 || sum.pending == 0 || sum.faults == 0 {
		t.Errorf("the simulation is too tame: %+v", sum)
	}
}

// tally is what has happened in a simulation.
type tally struct {
	early, late   int // complete before any lease could end, and after
	pending, lost int
	faults        int
}

func (t *tally) add(o tally) {
	t.early += o.early
	t.late += o.late
	t.pending += o.pending
	t.lost += o.lost
	t.faults += o.faults
}

// sim is one simulated world.
type sim struct {
	t     *testing.T
	seed  uint64
	run_  uint64
	calm  bool
	log   *simLog
	world *link // the dice of what happens to replicas
	wg    sync.WaitGroup

	mu       sync.Mutex
	tally    tally
	born     int
	over     bool
	replicas []*replica
	complete []byte // users whose logout is complete
}

func newSim(t *testing.T, seed, run uint64, calm bool) *sim {
	s := &sim{t: t, seed: seed, run_: run, calm: calm, log: newSimLog()}
	s.world = newLink(s.log, seed, run<<16)
	return s
}

// replica is one simulated process.
type replica struct {
	*link
	sim      *sim
	name     string
	instance string
	clock    *bubbleClock
	lease    *Lease
	registry *Registry
	logouts  *Logouts
	ctx      context.Context
	kill     context.CancelFunc
}

func (s *sim) spawn(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.born++
	r := &replica{
		link: newLink(s.log, s.seed, s.run_<<16+uint64(s.born)), sim: s, name: name,
		instance: fmt.Sprint(name, s.born), clock: newBubbleClock(), registry: NewRegistry(testHasher(), Policy{}),
	}
	r.link.calm = s.calm
	// A clock may be off by all that is allowed for.
	r.clock.rate = 1 + float64(r.roll(181)-90)/10_000
	r.lease = &Lease{Length: simLease, Clock: r.clock.read}
	r.logouts = &Logouts{
		Log: r.link, Registry: r.registry, Fleet: &Fleet{Instance: r.instance, Clock: r.clock.read},
		Wait: pick(r.rng, 300*time.Millisecond, time.Second, 3*time.Second), Replica: name, Now: time.Now,
	}
	r.ctx, r.kill = context.WithCancel(s.t.Context())
	s.replicas = append(s.replicas, r)
	s.wg.Go(func() { _ = r.Follow(r.ctx, events.Mark{}, r.apply) })
	s.wg.Go(r.beat)
}

// apply does what cmd does, in its order, as slowly as it may be done.
func (r *replica) apply(batch events.Batch) error {
	changes := r.registry.Apply(batch)
	r.sim.check("applied")
	for _, record := range batch.Records {
		switch fact := record.Fact.(type) {
		case events.LogoutReceived:
			r.say(batch.Position)
		case events.Alive:
			if fact.Instance == r.instance {
				r.lease.Heard(record.ID)
				r.sim.check("fresh again")
			}
		}
	}
	r.travel()
	r.breathe()
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	for _, change := range changes {
		if change.Member != nil {
			r.logouts.Fleet.Hear(*change.Member)
		}
	}
	return nil
}

// say tells the others how far this replica has come. Some of it is lost.
func (r *replica) say(applied events.Position) {
	for _, other := range r.sim.others(r) {
		if r.roll(6) == 0 {
			continue
		}
		r.sim.wg.Go(func() {
			r.travel()
			other.breathe()
			other.logouts.Fleet.Confirm(r.instance, events.Mark{Log: log1, At: applied})
		})
	}
}

func (r *replica) beat() {
	for r.ctx.Err() == nil {
		if r.registry.AwaitEnd(r.ctx) != nil {
			return
		}
		r.breathe()
		event := events.NewEvent(events.Alive{
			Replica: r.name, Instance: r.instance, Position: r.registry.Applied().At, Log: log1, Lease: simLease.Milliseconds(),
		}, r.name, time.Now())
		r.lease.Sending(event.ID)
		r.breathe()
		pause := simLease / 3
		if _, err := r.Append(r.ctx, event, events.Always()); err != nil {
			pause = simLease / 12
		}
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
		}
	}
}

func (s *sim) others(r *replica) []*replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.replicas), func(other *replica) bool { return other == r })
}

// check looks for a replica that would let in whose logout is complete.
func (s *sim) check(when string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.replicas {
		for _, user := range s.complete {
			_, verdict := r.registry.Look(idOf(user), secretOf(user), time.Now())
			if verdict == Alive && r.lease.Fresh() && !s.t.Failed() {
				age, _ := r.lease.Age()
				s.t.Errorf("run %d, %s: %s lets user %d in, whose logout is complete; its proof is %v old", s.run_, when, r.instance, user, age)
			}
		}
	}
}

// run is a simulation from beginning to end.
func (s *sim) run() {
	for user := range byte(simUsers) {
		fact := signIn(begunAt(0))
		fact.Session, fact.Secret, fact.Sid = idOf(user+1), secretOf(user+1), fmt.Sprint("s", user+1)
		fact.Expires = time.Now().Add(time.Hour)
		_, _ = s.log.take(events.NewEvent(fact, "a", time.Now()), events.IfFirst())
	}
	for i := range 2 + s.world.roll(3) {
		s.spawn(string(rune('a' + i)))
	}
	for user := range byte(simUsers) {
		s.wg.Go(func() { s.logOut(user+1, newLink(s.log, s.seed, s.run_<<16+1000+uint64(user))) })
	}
	end := time.Now().Add(simLength)
	for time.Now().Before(end) {
		<-time.After(s.world.between(10*time.Millisecond, 250*time.Millisecond))
		s.check("later")
		if !s.calm {
			s.disturb()
		}
	}
	s.mu.Lock()
	s.over = true
	for _, r := range s.replicas {
		r.kill()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// logOut sends one user's logout to some replica, at some time.
func (s *sim) logOut(user byte, dice *link) {
	<-time.After(dice.between(0, simLength-time.Second))
	all := s.others(nil)
	if len(all) == 0 {
		return
	}
	r := pick(dice.rng, all...)
	began := time.Now()
	fence, err := r.logouts.Receive(r.ctx, logout(fmt.Sprint("s", user), "", after(60)))
	for range 3 {
		if !errors.Is(err, events.ErrUnavailable) {
			break
		}
		fence, err = r.logouts.Receive(r.ctx, logout(fmt.Sprint("s", user), "", after(60)))
	}
	s.mu.Lock()
	switch {
	case errors.Is(err, events.ErrUnavailable):
		s.tally.lost++
	case err != nil:
		s.t.Error(err)
	case fence == Pending:
		s.tally.pending++
		if s.calm && began.Sub(r.clock.born) > simLease && r.logouts.Wait > 2*time.Second {
			s.t.Errorf("nothing is wrong, and a logout is pending after %v", time.Since(began))
		}
	default:
		s.complete = append(s.complete, user)
		if time.Since(began) < simLease/2 {
			s.tally.early++
		} else {
			s.tally.late++
		}
	}
	s.mu.Unlock()
	s.check("complete")
}

// disturb lets something happen to some replica.
func (s *sim) disturb() {
	all := s.others(nil)
	if len(all) == 0 {
		return
	}
	s.tally.faults++
	r := all[s.world.roll(len(all))]
	howLong := s.world.between(0, 2*simLease)
	switch s.world.roll(12) {
	case 0, 1:
		lasts(&r.deaf, howLong)
	case 2:
		lasts(&r.mute, howLong)
	case 3, 4:
		lasts(&r.frozen, howLong)
	case 5:
		r.clock.wall.Add(int64(pick(s.world.rng, -time.Hour, time.Hour, simLease, -simLease, 24*time.Hour)))
	case 6:
		if r.ctx.Err() == nil {
			r.kill()
			s.replace(r)
		}
	case 7:
		if r.ctx.Err() == nil {
			r.kill()
			s.wg.Go(func() { s.leave(r) })
		}
	case 8:
		if len(all) < 5 {
			s.spawn(fmt.Sprint("n", s.tally.faults))
		}
	}
}

// leave stops a process in good order: nobody is let in any more, then it is
// said. Until it is gone it may be asked.
func (s *sim) leave(r *replica) {
	r.lease.Drop()
	farewell := events.Left{Replica: r.name, Instance: r.instance}
	_, _ = r.Append(s.t.Context(), events.NewEvent(farewell, r.name, time.Now()), events.Always())
	<-time.After(r.between(0, simLease))
	s.replace(r)
}

// replace starts another process in the place of one that is gone.
func (s *sim) replace(r *replica) {
	s.mu.Lock()
	s.replicas = slices.DeleteFunc(s.replicas, func(other *replica) bool { return other == r })
	s.mu.Unlock()
	s.wg.Go(func() {
		<-time.After(r.between(0, simLease))
		s.spawn(r.name)
	})
}
