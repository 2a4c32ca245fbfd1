package guard

import (
	"cmp"
	"context"
	"sync"
	"time"

	"curfew/events"
	"curfew/sessions"
)

const (
	// lookEvery is how often it is looked whether the sessions of open streams
	// stand. It is far below the second that is promised, and a look at a
	// thousand of them takes less than a millisecond.
	lookEvery = 100 * time.Millisecond
	// breath is after how long a stream is given a sign of life, so that proxies,
	// which cut what is silent for a minute, let it be, and a client that is gone
	// is noticed.
	breath = 20 * time.Second
	// maxTabs and maxTabsEach bound the open streams, in all and of one session.
	// Each costs a connection and some 35 KB.
	maxTabs     = 4096
	maxTabsEach = 64
)

// word is something that a stream is told.
type word struct {
	text string
	last bool
}

// What streams are told. A browser does not hand on an event without data.
const (
	alive    = ":\n\n"
	stale    = "event: unsure\ndata: {\"reason\":\"stale\"}\n\n"
	stopping = "event: unsure\ndata: {\"reason\":\"stopping\"}\n\n"
)

func over(reason string) word {
	return word{"event: ended\ndata: {\"reason\":\"" + reason + "\"}\n\n", true}
}

// tab is one open stream.
type tab struct {
	id     events.SessionID
	secret events.SecretHash
	looks  int // since it was last given a sign of life; Run's alone
	// told holds one word. Whoever finds it full tries again at the next look.
	told chan word
}

// tell does not wait.
func (t *tab) tell(w word) {
	select {
	case t.told <- w:
		t.looks = 0
	default:
	}
}

// tabs are the open streams. They are all looked at by one: to each its own timer
// would cost more, and to wake them all for each batch of the log more again.
type tabs struct {
	mu      sync.Mutex
	open    map[*tab]bool
	each    map[events.SessionID]int
	watched bool // Run is running
	// left is closed when no stream may be open any more.
	left   chan struct{}
	closed bool
}

func newTabs() *tabs {
	return &tabs{open: make(map[*tab]bool), each: make(map[events.SessionID]int), left: make(chan struct{})}
}

// enter opens a stream, and returns nil if there may be no further one.
func (s *tabs) enter(id events.SessionID, secret events.SecretHash) *tab {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watched || s.closed || len(s.open) >= maxTabs || s.each[id] >= maxTabsEach {
		return nil
	}
	t := &tab{id: id, secret: secret, told: make(chan word, 1)}
	s.open[t] = true
	s.each[id]++
	return t
}

func (s *tabs) leave(t *tab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
	if s.each[t.id]--; s.each[t.id] == 0 {
		delete(s.each, t.id)
	}
}

func (s *tabs) watch(watched bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = watched
}

// OpenTabs is how many streams of SessionEvents are open.
func (g *Guard) OpenTabs() int {
	g.tabs.mu.Lock()
	defer g.tabs.mu.Unlock()
	return len(g.tabs.open)
}

// Leave ends all streams of SessionEvents, for good.
func (g *Guard) Leave() {
	g.tabs.mu.Lock()
	defer g.tabs.mu.Unlock()
	if !g.tabs.closed {
		close(g.tabs.left)
	}
	g.tabs.closed = true
}

// Run looks after the streams of SessionEvents until ctx ends, whose error it
// returns. Without it there are none.
func (g *Guard) Run(ctx context.Context) error {
	g.tabs.watch(true)
	defer g.tabs.watch(false)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.lookAtTabs()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *Guard) lookAtTabs() {
	g.tabs.mu.Lock()
	defer g.tabs.mu.Unlock()
	fresh, now := g.Lease.Fresh(), g.Now()
	for t := range g.tabs.open {
		if w := g.wordTo(t, fresh, now); w.last {
			t.tell(w)
		} else if t.looks++; t.looks >= int(breath/lookEvery) {
			t.tell(w)
		}
	}
}

// wordTo is what a stream is to be told. A session that is seen to have ended has
// ended, whatever else this replica may have missed; that it stands, only one that
// is fresh can say.
func (g *Guard) wordTo(t *tab, fresh bool, now time.Time) word {
	row, verdict := g.Registry.Look(t.id, t.secret, now)
	switch {
	case verdict != sessions.Alive && verdict != sessions.Unknown:
		return over(g.why(t.id, row, verdict))
	case !fresh:
		return word{stale, true}
	case verdict == sessions.Unknown:
		return over(reasonNoSession)
	default:
		return word{alive, false}
	}
}

// why is what a session has ended for, as its event ended says it, or will once
// it is written.
func (g *Guard) why(id events.SessionID, row sessions.Row, verdict sessions.Verdict) string {
	reason := row.Reason()
	if tombstone, covered := g.Registry.Covering(row); covered && reason == "" {
		reason = tombstone.Reason()
	}
	if foreseen, ahead := g.Registry.Foreseen(id, row); ahead && reason == "" {
		reason = foreseen
	}
	return cmp.Or(string(reason), reasonOf(verdict))
}
