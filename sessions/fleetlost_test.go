package sessions

import (
	"context"
	"testing"
	"time"

	"curfew/events"
)

// Heartbeats that were lost with a log gave leases in it, of which nobody may know:
// a logout in the log that took its place is not complete before these are over.
func TestFleetAfterALostLog(t *testing.T) {
	complete := func(p peers, what string, want bool) {
		p.t.Helper()
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Millisecond)
		defer cancel()
		if got := p.Await(ctx, events.Mark{Log: *p.log, At: 5}); got != want {
			p.t.Errorf("%s: complete is %t, want %t", what, got, want)
		}
	}
	over := length + length/rate
	for name, lose := range map[string]func(peers){
		"found so by a heartbeat": func(p peers) { *p.log = events.LogID{2}; p.heartbeat("b", 1, 0); p.confirm("b", 5) },
		"found so at a start":     func(p peers) { p.Reset(true) },
	} {
		inFleet(t, name, func(p peers) {
			p.Lease = length
			p.heartbeat("b", 1, 1)
			p.confirm("b", 5)
			complete(p, "in the first log", true)
			// Whatever b and others send from here on, this one does not hear.
			pause(2 * over)
			lose(p)
			complete(p, "at once", false)
			pause(over - 3*time.Millisecond)
			p.confirm("b", 9)
			complete(p, "before a lease is over", false)
			pause(4 * time.Millisecond)
			complete(p, "after a lease", true)
		})
	}
	inFleet(t, "not lost", func(p peers) {
		p.Lease = length
		p.heartbeat("b", 1, 1)
		pause(2 * over)
		p.Reset(false)
		complete(p, "a store made anew", true)
	})
	inFleet(t, "the first log", func(p peers) {
		p.Lease = length
		complete(p, "with nobody else", true)
		p.heartbeat("b", 1, 1)
		p.confirm("b", 5)
		complete(p, "with one who has confirmed", true)
	})
}
