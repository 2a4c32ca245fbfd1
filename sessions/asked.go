package sessions

import (
	"sync"
	"time"

	"curfew/events"
)

// maxAsked is how many sessions may be waiting for their refresh, or resting
// from one. One that finds no room is asked for again at its next use.
const maxAsked = 4096

// askedFor are the sessions that somebody wants refreshed, each once.
type askedFor struct {
	queue chan events.SessionID

	mu sync.Mutex
	// until is when a session may be asked for again; zero while it is waiting
	// or being served.
	until map[events.SessionID]time.Time
}

func newAskedFor() *askedFor {
	return &askedFor{queue: make(chan events.SessionID, maxAsked), until: make(map[events.SessionID]time.Time)}
}

func (a *askedFor) add(id events.SessionID, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until, known := a.until[id]; known && (until.IsZero() || now.Before(until)) {
		return
	}
	select {
	case a.queue <- id:
		a.until[id] = time.Time{}
	default:
	}
}

// done lets a session be asked for again at once.
func (a *askedFor) done(id events.SessionID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.until, id)
}

// later lets a session be asked for again after a rest. When too many rest,
// those that have rested enough are forgotten first.
func (a *askedFor) later(id events.SessionID, now time.Time, rest time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until[id] = now.Add(rest)
	if len(a.until) < 2*maxAsked {
		return
	}
	for other, until := range a.until {
		if !until.IsZero() && !now.Before(until) {
			delete(a.until, other)
		}
	}
}
