package sessions

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"curfew/events"
)

// Member is one replica process as its heartbeats show it.
type Member struct {
	Replica  string `json:"replica"`
	Instance string `json:"instance"`
	// Log is the log in which Heard and Applied are places.
	Log events.LogID `json:"log,omitzero"`
	// Heard is where the member's newest heartbeat or farewell is in the log.
	Heard events.Position `json:"heard"`
	// Applied is how far the member said there that it had come.
	Applied events.Position `json:"applied"`
	// Lease is how long the member may go on from there.
	Lease time.Duration `json:"lease"`
	// Left says that it was a farewell.
	Left bool `json:"left,omitempty"`
	// Stored is when the log took it, by the log's clock.
	Stored Instant `json:"stored"`
}

// memberOf is what a heartbeat or a farewell says, in a log. A place in another
// log is none in this one.
func memberOf(log events.LogID, record events.Record) Member {
	member := Member{Log: log, Heard: record.Position, Stored: InstantOf(record.Stored)}
	switch fact := record.Fact.(type) {
	case events.Alive:
		member.Replica, member.Instance = fact.Replica, fact.Instance
		member.Applied = events.Mark{Log: fact.Log, At: fact.Position}.In(log)
		member.Lease = time.Duration(fact.Lease) * time.Millisecond
	case events.Left:
		member.Replica, member.Instance = fact.Replica, fact.Instance
		member.Left = true
	}
	return member
}

// Fleet knows the other replicas that may be honouring sessions, and how far
// each is. It is what lets a logout be answered: see Await.
type Fleet struct {
	// Instance is this process's own, which is not waited for.
	Instance string
	// Lease is how long a process may go on from a heartbeat of which nobody
	// here knows. It counts where one log has taken the place of another.
	Lease time.Duration
	Clock Clock

	mu      sync.Mutex
	log     events.LogID     // in which the peers' positions are places
	peers   map[string]*peer // by instance
	lost    *Reading         // when this log was found in the place of another; nil if it was not
	changed chan struct{}    // closed, and replaced, when a peer changes
}

type peer struct {
	Member
	received Reading // when Heard was applied here, which is after it was sent
}

// Hear takes in a member's heartbeat or farewell, which has been applied here
// just now. After a farewell nothing more is taken: who has left does not come
// back, whatever it had sent before.
func (f *Fleet) Hear(m Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Log != f.log {
		f.turnTo(m.Log)
	}
	if m.Instance == f.Instance {
		return
	}
	known := f.peer(m.Instance)
	if m.Heard <= known.Heard || known.Left {
		return
	}
	m.Applied = max(m.Applied, known.Applied)
	known.Member, known.received = m, f.Clock()
	f.tidy()
	f.announce()
}

// Confirm takes in what a process says of itself outside the log: that it has
// applied everything up to a mark. A process that no heartbeat has named is not
// waited for, so what it says is not needed. A mark in another log than the
// newest heartbeats are from says nothing.
func (f *Fleet) Confirm(instance string, applied events.Mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, found := f.peers[instance]
	if !found || !f.in(applied.Log) || applied.At <= known.Applied {
		return
	}
	known.Applied = applied.At
	f.announce()
}

func (f *Fleet) peer(instance string) *peer {
	if f.peers == nil {
		f.peers = make(map[string]*peer)
	}
	known, found := f.peers[instance]
	if !found {
		known = &peer{}
		f.peers[instance] = known
	}
	return known
}

// Reset forgets how far everybody is. Whoever waits is not released. Where the log
// is lost, positions in the next cannot be compared, and who may still honour the
// lost one's sessions is still waited for: also those of whom nobody here knows,
// whose heartbeats were lost with it.
func (f *Fleet) Reset(lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if lost {
		f.lose()
	}
	f.turnTo(events.LogID{})
}

// lose notes that a log is no more. It was lost before now, so the leases that it
// gave end by one lease from now.
func (f *Fleet) lose() {
	now := f.Clock()
	f.lost = &now
}

func (f *Fleet) turnTo(log events.LogID) {
	if f.log != (events.LogID{}) && log != (events.LogID{}) {
		f.lose()
	}
	f.log = log
	for _, p := range f.peers {
		p.Heard, p.Applied = 0, 0
	}
}

// in reports whether the peers' positions are places in log. Those of no log are
// places nowhere.
func (f *Fleet) in(log events.LogID) bool { return log == f.log && log != events.LogID{} }

// announce wakes those in Await.
func (f *Fleet) announce() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// tidy forgets processes that have been silent for many leases.
func (f *Fleet) tidy() {
	for instance, p := range f.peers {
		if f.Clock.elapsed(p.received) > 100*p.Lease+time.Hour {
			delete(f.peers, instance)
		}
	}
}

// Await blocks until no other replica can still honour a session that ended at
// a mark: each has applied it, has left, or has lost its lease. It returns false
// if ctx ends first. The mark must have been applied here, and the log
// to its end, so that whoever sent a heartbeat before it is known: see
// Registry.catchUp.
//
// The leases that matter are those that run when Await is called. A heartbeat
// that comes in later proves nothing of the process that sent it until it has
// come back to that process, which has then applied the position too. So no
// lease is counted anew while Await waits, and no process first heard of
// meanwhile is waited for.
func (f *Fleet) Await(ctx context.Context, mark events.Mark) bool {
	suspects := f.suspects()
	for {
		wait, changed := f.outstanding(suspects, mark)
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// unheard is the instance that stands for all whose newest heartbeat was lost with
// the log before this one. It confirms nothing, and so is waited for to its end.
const unheard = ""

// suspects is a copy of the peers as they stand.
func (f *Fleet) suspects() map[string]peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	suspects := make(map[string]peer, len(f.peers)+1)
	for instance, p := range f.peers {
		suspects[instance] = *p
	}
	if f.lost != nil {
		suspects[unheard] = peer{Member{Lease: f.Lease}, *f.lost}
	}
	return suspects
}

// outstanding returns how long until the first lease ends of those suspects
// that have yet to apply mark, zero if there are none, and a channel that
// is closed when a peer changes.
func (f *Fleet) outstanding(suspects map[string]peer, mark events.Mark) (time.Duration, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var soonest time.Duration
	for instance, suspect := range suspects {
		if now, known := f.peers[instance]; known && (now.Left || f.in(mark.Log) && now.Applied >= mark.At) {
			continue
		}
		if left := suspect.remaining(f.Clock); left > 0 && (soonest == 0 || left < soonest) {
			soonest = left
		}
	}
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return soonest, f.changed
}

// remaining is how much of its lease a peer may still have. It is counted from
// when the heartbeat was received, which is later than it was sent, and 1 % is
// added for a clock that runs slow: both are on the safe side.
func (p *peer) remaining(clock Clock) time.Duration {
	return p.Lease + p.Lease/rate - clock.elapsed(p.received)
}

// Namesake returns the other process that has sent the newest heartbeat of a
// replica's name, if it may still be letting people in, and false otherwise. Those
// whose instances are given are known to be gone. The log keeps one heartbeat of
// each name: who sends one in the place of such a process's keeps newcomers from
// ever hearing of it. Those before the newest need not be looked at, since whoever
// sent that had waited for them.
func (f *Fleet) Namesake(replica string, gone []string) (Peer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest *peer
	for _, p := range f.peers {
		if p.Replica == replica && (newest == nil || p.Heard > newest.Heard) {
			newest = p
		}
	}
	if newest == nil || newest.Left || slices.Contains(gone, newest.Instance) {
		return Peer{}, false
	}
	left := newest.remaining(f.Clock)
	if left <= 0 {
		return Peer{}, false
	}
	return Peer{newest.Member, left}, true
}

// Peer is another replica as it stands now.
type Peer struct {
	Member
	// Remaining is how much of its lease it may still have; not above zero
	// once it honours nothing.
	Remaining time.Duration
}

// Peers lists the other replicas by name.
func (f *Fleet) Peers() []Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	peers := make([]Peer, 0, len(f.peers))
	for _, p := range f.peers {
		peers = append(peers, Peer{p.Member, p.remaining(f.Clock)})
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Replica+a.Instance, b.Replica+b.Instance) })
	return peers
}
