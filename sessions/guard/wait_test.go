package guard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func TestReplicaBehindWaitsForTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.apply(events.Left{Replica: "b", Instance: "i"})
		started, ticket := h.prepare(sessions.Identity{Username: "ada"})
		done := make(chan *httptest.ResponseRecorder, 1)
		go func() { done <- h.ask(h.Check, "/auth/check", h.encode(ticket)) }()
		synctest.Wait()
		select {
		case w := <-done:
			t.Fatalf("answered %d before the start was applied", w.Code)
		default:
		}
		h.apply(started)
		h.want(<-done, http.StatusOK, "")
	})
}

// A session may arrive between two looks of a request: after it was looked for
// and before it is asked whether it may yet come.
func TestStartArrivesDuringTheLook(t *testing.T) {
	h := newHouse(t)
	h.apply(events.Left{Replica: "b", Instance: "i"})
	for range 5_000 {
		started, ticket := h.prepare(sessions.Identity{Username: "ada"})
		var applied sync.WaitGroup
		applied.Go(func() { h.apply(started) })
		w := h.ask(h.Check, "/auth/check", h.encode(ticket))
		if w.Code != http.StatusOK {
			t.Fatalf("answered %d %q", w.Code, w.Header().Get(HeaderReason))
		}
		applied.Wait()
	}
}

func TestWaitIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		_, ticket := h.prepare(sessions.Identity{Username: "ada"})
		h.apply(events.Left{Replica: "b", Instance: "i"})
		ticket.Mark.At += 100
		began := time.Now()
		h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusServiceUnavailable, "stale")
		if waited := time.Since(began); waited != maxWait {
			t.Errorf("waited %s, want %s", waited, maxWait)
		}
	})
}

// A log that was rolled back has lost sessions which people hold cookies of. They
// are sent to sign in, and not told to wait for what will not come.
func TestWaitForWhatTheLogHasLost(t *testing.T) {
	another := events.LogID{9}
	for name, tt := range map[string]struct {
		ends   func(mark events.Mark) *events.Status
		status int
	}{
		"it ends before":     {func(m events.Mark) *events.Status { return &events.Status{ID: m.Log, Last: m.At - 1} }, http.StatusUnauthorized},
		"it has come so far": {func(m events.Mark) *events.Status { return &events.Status{ID: m.Log, Last: m.At} }, http.StatusServiceUnavailable},
		"it is another":      {func(m events.Mark) *events.Status { return &events.Status{ID: another, Last: m.At - 1} }, http.StatusServiceUnavailable},
		"it does not answer": {func(events.Mark) *events.Status { return nil }, http.StatusServiceUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.apply(events.Left{Replica: "b", Instance: "i"})
			_, ticket := h.prepare(sessions.Identity{Username: "ada"})
			ticket.Mark.At += 100
			h.ends = tt.ends(ticket.Mark)
			if w := h.ask(h.Check, "/auth/check", h.encode(ticket)); w.Code != tt.status {
				t.Errorf("%s: answered %d, want %d", name, w.Code, tt.status)
			}
		})
	}
}

func TestWaitersAreBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.apply(events.Left{Replica: "b", Instance: "i"})
		_, ticket := h.prepare(sessions.Identity{Username: "ada"})
		ticket.Mark.At += 100
		ctx, cancel := context.WithCancel(t.Context())
		for range maxWaiters {
			go h.await(ctx, ticket.Mark)
		}
		synctest.Wait()
		began := time.Now()
		h.want(h.ask(h.Check, "/auth/check", h.encode(ticket)), http.StatusServiceUnavailable, "stale")
		if time.Since(began) != 0 {
			t.Error("one more waiter was let wait")
		}
		cancel()
	})
}

func TestMadeUpPositionIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.apply(events.Left{Replica: "b", Instance: "i"})
		_, ticket := h.prepare(sessions.Identity{Username: "ada"})
		ticket.Mark.At += 100
		began := time.Now()
		h.want(h.ask(h.Check, "/auth/check", ticket.Encode(hmacSigner("attacker"))), http.StatusUnauthorized, "no_session")
		if time.Since(began) != 0 {
			t.Error("a made-up position was waited for")
		}
	})
}
