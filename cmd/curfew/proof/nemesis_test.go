package proof

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// nemesis breaks things. Some of its deeds are under way at once, but one at a
// time of each kind that would only undo another: to one process, and to the
// brokers.
type nemesis struct {
	house   *house
	brokers sync.Mutex
	oneOP   sync.Mutex

	mu   sync.Mutex
	deck []deed // what comes next: each deed as often as any other
}

// deed is one kind of fault, done to one replica or to something else. It lasts
// until it returns, and leaves things well.
type deed struct {
	name string
	to   func(*nemesis, context.Context, *rand.Rand, *replica)
	do   func(*nemesis, context.Context, *rand.Rand)
}

var deeds = []deed{
	{name: "process killed", to: (*nemesis).kill},
	{name: "process stopped and continued", to: (*nemesis).freeze},
	{name: "replica and brokers parted", to: (*nemesis).part},
	{name: "replica hears nothing of the brokers", to: (*nemesis).deafen},
	{name: "replica is not heard by the brokers", to: (*nemesis).silence},
	{name: "messages lost", to: (*nemesis).lose},
	{name: "messages doubled", to: (*nemesis).double},
	{name: "clock set", to: (*nemesis).setClock},
	{name: "machine suspended", to: (*nemesis).suspend},
	{name: "slow disk", to: (*nemesis).slowDisk},
	{name: "broker stopped", do: (*nemesis).stopBroker},
	{name: "leader stopped", do: (*nemesis).stopLeader},
	{name: "broker cut off", do: (*nemesis).isolate},
	{name: "two brokers parted", do: (*nemesis).partBrokers},
	{name: "brokers restarted one after the other", do: (*nemesis).roll},
	{name: "majority of the brokers stopped", do: (*nemesis).majority},
	{name: "replica and OP parted", to: (*nemesis).partOP},
	{name: "OP down", do: (*nemesis).opDown},
	{name: "OP slow", do: (*nemesis).opSlow},
	{name: "OP's answers lost", do: (*nemesis).opForgets},
}

// lossOfLog is not among the deeds: it ends every session, and so has its own
// time.
const lossOfLog = "whole log lost"

// run does deeds until ctx ends, and returns when all is well.
func (n *nemesis) run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range 3 {
		rng := rand.New(rand.NewPCG(n.house.seed, uint64(n.house.people.runs*1000+900+i)))
		all.Go(func() {
			pause(ctx, time.Duration(rng.IntN(int(time.Second))))
			for ctx.Err() == nil {
				n.act(ctx, rng)
				pause(ctx, time.Duration(rng.IntN(int(2500*time.Millisecond))))
			}
		})
	}
	all.Wait()
}

func (n *nemesis) act(ctx context.Context, rng *rand.Rand) {
	d, found := n.draw(rng)
	if !found {
		<-ctx.Done()
		return
	}
	if d.do != nil {
		defer n.house.history.addFault(d.name)()
		d.do(n, ctx, rng)
		return
	}
	r := n.house.pick(rng)
	defer n.house.history.addFault(d.name, r.number)()
	d.to(n, ctx, rng, r)
}

// draw takes the next deed of the deck, and shuffles another when it is through.
func (n *nemesis) draw(rng *rand.Rand) (deed, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.deck) == 0 {
		n.deck = slices.DeleteFunc(slices.Clone(deeds), func(d deed) bool {
			return n.house.faults != nil && !slices.Contains(n.house.faults, d.name)
		})
		rng.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	if len(n.deck) == 0 {
		return deed{}, false
	}
	d := n.deck[0]
	n.deck = n.deck[1:]
	return d, true
}

// while is for how long a fault lasts: up to some leases.
func (n *nemesis) while(rng *rand.Rand, leases float64) time.Duration {
	most := time.Duration(float64(n.house.lease) * leases)
	return 50*time.Millisecond + time.Duration(rng.Int64N(int64(most)))
}

func (n *nemesis) kill(ctx context.Context, rng *rand.Rand, r *replica) {
	r.busy.Lock()
	defer r.busy.Unlock()
	r.kill()
	pause(ctx, n.while(rng, 1.5))
	r.start()
}

func (n *nemesis) freeze(ctx context.Context, rng *rand.Rand, r *replica) {
	r.busy.Lock()
	defer r.busy.Unlock()
	r.freeze(ctx, n.while(rng, 2), func() {})
}

func (n *nemesis) slowDisk(ctx context.Context, rng *rand.Rand, r *replica) {
	r.busy.Lock()
	defer r.busy.Unlock()
	if !r.slowDisk(ctx, n.while(rng, 2), time.Duration(20+rng.IntN(400))*time.Millisecond) {
		n.house.history.addFault(noStrace, r.number)()
	}
}

// noStrace is counted where disks cannot be slowed.
const noStrace = "(no strace: disks were not slowed)"

func (n *nemesis) setClock(ctx context.Context, rng *rand.Rand, r *replica) {
	by := []time.Duration{-time.Hour, -30 * time.Second, 30 * time.Second, time.Hour}
	r.busy.Lock()
	defer r.busy.Unlock()
	r.set(by[rng.IntN(len(by))], r.slept)
	pause(ctx, n.while(rng, 2))
	r.set(0, r.slept)
}

// suspend has the machine sleep. It is what freeze does, and the clocks tell of
// it: those that go on, by themselves; and one that stands still meanwhile, by
// what it lags behind from then on.
func (n *nemesis) suspend(ctx context.Context, rng *rand.Rand, r *replica) {
	r.busy.Lock()
	defer r.busy.Unlock()
	slept := n.while(rng, 3)
	r.freeze(ctx, slept, func() { r.set(0, r.slept+slept) })
}

// link does something to the way between a replica and the brokers.
func (n *nemesis) link(ctx context.Context, rng *rand.Rand, r *replica, leases float64, how func(*natsLink)) {
	r.nats.set(func() { how(r.nats) })
	pause(ctx, n.while(rng, leases))
	r.nats.heal()
}

func (n *nemesis) part(ctx context.Context, rng *rand.Rand, r *replica) {
	n.link(ctx, rng, r, 2.5, func(k *natsLink) { k.blind, k.mute = true, true })
}

func (n *nemesis) deafen(ctx context.Context, rng *rand.Rand, r *replica) {
	n.link(ctx, rng, r, 2, func(k *natsLink) { k.blind = true })
}

func (n *nemesis) silence(ctx context.Context, rng *rand.Rand, r *replica) {
	n.link(ctx, rng, r, 2, func(k *natsLink) { k.mute = true })
}

func (n *nemesis) lose(ctx context.Context, rng *rand.Rand, r *replica) {
	part := []float64{0.05, 0.3, 0.7}[rng.IntN(3)]
	n.link(ctx, rng, r, 2, func(k *natsLink) { k.lose = part })
}

func (n *nemesis) double(ctx context.Context, rng *rand.Rand, r *replica) {
	n.link(ctx, rng, r, 2, func(k *natsLink) { k.double = 0.5 })
}

// among has the brokers to itself.
func (n *nemesis) among(do func()) {
	n.brokers.Lock()
	defer n.brokers.Unlock()
	do()
}

func (n *nemesis) stopBroker(ctx context.Context, rng *rand.Rand) {
	n.among(func() { n.without(ctx, rng, rng.IntN(n.house.cluster.Size())) })
}

func (n *nemesis) stopLeader(ctx context.Context, rng *rand.Rand) {
	n.among(func() {
		if leader, found := n.house.cluster.Leader("CURFEW"); found {
			n.without(ctx, rng, leader)
		}
	})
}

func (n *nemesis) without(ctx context.Context, rng *rand.Rand, node int) {
	n.house.cluster.Stop(node)
	pause(ctx, n.while(rng, 1))
	n.house.cluster.Restart(node)
	n.house.cluster.AwaitReady()
}

func (n *nemesis) roll(ctx context.Context, rng *rand.Rand) {
	n.among(func() {
		for node := range n.house.cluster.Size() {
			n.without(ctx, rng, node)
		}
	})
}

func (n *nemesis) majority(ctx context.Context, rng *rand.Rand) {
	n.among(func() {
		spared := rng.IntN(3)
		n.house.cluster.Stop((spared + 1) % 3)
		n.house.cluster.Stop((spared + 2) % 3)
		pause(ctx, n.while(rng, 2))
		n.house.cluster.Restart((spared + 1) % 3)
		n.house.cluster.Restart((spared + 2) % 3)
		n.house.cluster.AwaitReady()
	})
}

func (n *nemesis) isolate(ctx context.Context, rng *rand.Rand) {
	n.among(func() {
		n.house.cluster.Isolate(rng.IntN(n.house.cluster.Size()))
		pause(ctx, n.while(rng, 2))
		n.house.cluster.Heal()
	})
}

func (n *nemesis) partBrokers(ctx context.Context, rng *rand.Rand) {
	n.among(func() {
		a := rng.IntN(3)
		n.house.cluster.Cut(a, (a+1)%3)
		pause(ctx, n.while(rng, 2))
		n.house.cluster.Heal()
	})
}

func (n *nemesis) partOP(ctx context.Context, rng *rand.Rand, r *replica) {
	n.house.history.addSevered()
	r.op.set(true)
	pause(ctx, n.while(rng, 2))
	r.op.set(false)
}

// trouble befalls the OP.
func (n *nemesis) trouble(ctx context.Context, rng *rand.Rand, leases float64, how func(*op)) {
	n.oneOP.Lock()
	defer n.oneOP.Unlock()
	o := n.house.op
	o.set(func() { how(o) })
	pause(ctx, n.while(rng, leases))
	o.heal()
}

func (n *nemesis) opDown(ctx context.Context, rng *rand.Rand) {
	n.trouble(ctx, rng, 2, func(o *op) { o.down = true })
}

func (n *nemesis) opSlow(ctx context.Context, rng *rand.Rand) {
	late := time.Duration(rng.IntN(int(3 * time.Second)))
	n.trouble(ctx, rng, 2, func(o *op) { o.slow = late })
}

func (n *nemesis) opForgets(ctx context.Context, rng *rand.Rand) {
	n.trouble(ctx, rng, 1, func(o *op) { o.forgets = true })
}

// loseLog has the brokers lose all that they hold: every session ends.
func (n *nemesis) loseLog() {
	h := n.house
	n.among(func() {
		defer h.history.addFault(lossOfLog)()
		e := &ending{door: byLoss, all: true, complete: true, listed: true}
		e.call = h.history.now()
		h.cluster.Wipe()
		e.ret = h.history.now() + moment(h.lease)
		h.history.addEnding(e)
	})
}
