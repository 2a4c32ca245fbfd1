package guard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// client is a page's end of a stream.
type client struct {
	header http.Header
	mu     sync.Mutex
	status int
	text   string
	times  []time.Time // of each text
	// deaf holds up what is written until it is closed, or until the deadline.
	deaf     chan struct{}
	deadline time.Time
	hangUp   context.CancelFunc
	done     chan struct{}
}

// Header is the answer's.
func (c *client) Header() http.Header { return c.header }

// WriteHeader takes the status.
func (c *client) WriteHeader(status int) { c.status = status }

// Write takes a text, if the client listens.
func (c *client) Write(text []byte) (int, error) {
	c.mu.Lock()
	deaf, deadline := c.deaf, c.deadline
	c.mu.Unlock()
	if deaf != nil {
		select {
		case <-deaf:
		case <-time.After(time.Until(deadline)):
			return 0, os.ErrDeadlineExceeded
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text += string(text)
	c.times = append(c.times, time.Now())
	return len(text), nil
}

// SetWriteDeadline is what http.ResponseController asks for.
func (c *client) SetWriteDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = at
	return nil
}

// Flush does nothing: what is written is there.
func (c *client) Flush() {}

func (c *client) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text
}

// over waits for the stream's end, and returns the last that it said.
func (c *client) over() string {
	<-c.done
	said := strings.Split(strings.TrimSuffix(c.said(), "\n\n"), "\n\n")
	return said[len(said)-1]
}

// tabHouse is a house whose time goes by, and whose tabs are looked after.
type tabHouse struct {
	*house
	stop context.CancelFunc
}

const idleTime = 10 * time.Minute

func newTabHouse(t *testing.T) *tabHouse {
	h := newHouse(t)
	h.now = time.Now()
	h.Now = time.Now
	h.Registry = sessions.NewRegistry(sessions.NewHasher([32]byte{1}), sessions.Policy{Idle: idleTime})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _ = h.Run(ctx) }()
	synctest.Wait()
	return &tabHouse{h, cancel}
}

// open opens a stream and goes on when it stands.
func (h *tabHouse) open(ticket sessions.Ticket, header ...string) *client {
	ctx, cancel := context.WithCancel(h.t.Context())
	c := &client{header: http.Header{}, status: http.StatusOK, hangUp: cancel, done: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/auth/session/events", nil)
	r.Header.Set("Cookie", "curfew="+h.encode(ticket))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	go func() {
		defer close(c.done)
		h.SessionEvents(c, r)
	}()
	synctest.Wait()
	return c
}

// finish ends what the bubble waits for.
func (h *tabHouse) finish() {
	h.Leave()
	h.stop()
	synctest.Wait()
	if open := h.OpenTabs(); open != 0 {
		h.t.Errorf("%d streams are open at the end", open)
	}
}

func (h *tabHouse) ended(ticket sessions.Ticket, reason events.Reason) events.Ended {
	return events.Ended{Session: ticket.Session, Issuer: issuer, Sub: "u1", Sid: "s1", Reason: reason, At: time.Now()}
}

func TestStreamSaysThatItsSessionHasEnded(t *testing.T) {
	logout := func(sub, sid string) events.LogoutReceived {
		return events.LogoutReceived{Issuer: issuer, Sub: sub, Sid: sid, All: sub+sid == "", JTI: "j", IssuedAt: time.Now(), Reason: events.Backchannel}
	}
	for _, c := range []struct {
		name string
		end  func(*tabHouse, sessions.Ticket)
		want string
	}{
		{"by its user", func(h *tabHouse, s sessions.Ticket) { h.apply(h.ended(s, events.SignedOut)) }, "signed_out"},
		{"by an operator", func(h *tabHouse, s sessions.Ticket) { h.apply(h.ended(s, events.Admin)) }, "admin"},
		{"by the refresh", func(h *tabHouse, s sessions.Ticket) { h.apply(h.ended(s, events.RefreshRefused)) }, "refresh_refused"},
		{"for a reason to come", func(h *tabHouse, s sessions.Ticket) { h.apply(h.ended(s, "whim")) }, "ended"},
		{"by sid", func(h *tabHouse, _ sessions.Ticket) { h.apply(logout("", "s1")) }, "backchannel"},
		{"by sub", func(h *tabHouse, _ sessions.Ticket) { h.apply(logout("u1", "")) }, "backchannel"},
		{"by both", func(h *tabHouse, _ sessions.Ticket) { h.apply(logout("u1", "s1")) }, "backchannel"},
		{"with all", func(h *tabHouse, _ sessions.Ticket) { h.apply(logout("", "")) }, "backchannel"},
		{"foreseen", func(h *tabHouse, s sessions.Ticket) { h.Registry.Foresee(h.ended(s, events.SignedOut)) }, "signed_out"},
		{"foreseen by sid", func(h *tabHouse, _ sessions.Ticket) { h.Registry.Foresee(logout("", "s1")) }, "backchannel"},
		{"for want of use", func(h *tabHouse, _ sessions.Ticket) { h.after(idleTime) }, "idle"},
		{"though it was used", func(h *tabHouse, s sessions.Ticket) { h.useUp(s) }, "expired"},
		{"and is forgotten", func(h *tabHouse, _ sessions.Ticket) { h.Registry.Reset(sessions.NewHasher([32]byte{2})) }, "no_session"},
		{"though the replica is stale", func(h *tabHouse, _ sessions.Ticket) {
			h.lease.stale.Store(true)
			h.Registry.Foresee(logout("", "s1"))
		}, "backchannel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTabHouse(t)
				ticket := h.signIn(sessions.Identity{Username: "ada"})
				stream := h.open(ticket)
				c.end(h, ticket)
				began := time.Now()
				if got, want := stream.over(), "event: ended\ndata: {\"reason\":\""+c.want+"\"}"; got != want {
					t.Errorf("the last word is %q, want %q", got, want)
				}
				// docs/open-tabs.md says so. Nothing is slow in a bubble.
				if took := time.Since(began); took > time.Second/10 {
					t.Errorf("took %s", took)
				}
				h.finish()
			})
		})
	}
}

// after lets time go by, in which nothing happens.
func (h *tabHouse) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
	h.now = time.Now()
}

// useUp has a session used until its hour is over.
func (h *tabHouse) useUp(ticket sessions.Ticket) {
	row, verdict := h.Registry.Get(ticket.Session, time.Now())
	for verdict == sessions.Alive {
		h.apply(events.Seen{Session: ticket.Session, At: h.now})
		h.after(min(idleTime/2, time.Until(row.Expires.Time())))
		_, verdict = h.Registry.Get(ticket.Session, time.Now())
	}
}

func TestStreamsOfOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		ada, other := h.signIn(sessions.Identity{Username: "ada"}), h.signIn(sessions.Identity{Username: "grace"})
		first, second, stays := h.open(ada), h.open(ada), h.open(other)
		h.apply(h.ended(ada, events.Admin))
		first.over()
		second.over()
		h.after(3 * breath)
		if strings.Contains(stays.said(), "event") {
			t.Errorf("another's stream was told %q", stays.said())
		}
		h.finish()
	})
}

func TestStreamIsUnsureWhenItsReplicaIs(t *testing.T) {
	for name, c := range map[string]struct {
		what func(*tabHouse)
		want string
	}{
		"stale":    {func(h *tabHouse) { h.lease.stale.Store(true) }, "stale"},
		"stopping": {func(h *tabHouse) { h.Leave() }, "stopping"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTabHouse(t)
				stream := h.open(h.signIn(sessions.Identity{Username: "ada"}))
				c.what(h)
				began := time.Now()
				if got, want := stream.over(), "event: unsure\ndata: {\"reason\":\""+c.want+"\"}"; got != want {
					t.Errorf("the last word is %q, want %q", got, want)
				}
				if took := time.Since(began); took > lookEvery {
					t.Errorf("took %s", took)
				}
				h.finish()
			})
		})
	}
}

// TestEndInTheMomentOfStopping is said all the same.
func TestEndInTheMomentOfStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		ticket := h.signIn(sessions.Identity{Username: "ada"})
		stream := h.open(ticket)
		h.apply(h.ended(ticket, events.Admin))
		h.Leave()
		if got := stream.over(); !strings.Contains(got, "event: ended") {
			t.Errorf("the last word is %q", got)
		}
		h.finish()
	})
}

func TestStreamGivesSignsOfLifeAndIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		stream := h.open(h.signIn(sessions.Identity{Username: "ada"}))
		h.after(idleTime - time.Second)
		said := strings.Split(stream.said(), "\n\n")
		if !regexp.MustCompile(`^retry: [1-4]\d\d\d$`).MatchString(said[0]) {
			t.Errorf("it begins with %q", said[0])
		}
		if got := len(said); got < 20 {
			t.Errorf("%d signs of life in %s", got, idleTime)
		}
		for i, at := range stream.times[1:] {
			if gap := at.Sub(stream.times[i]); gap < 15*time.Second || gap > 25*time.Second {
				t.Errorf("silent for %s", gap)
			}
			if said[i+1] != ":" {
				t.Errorf("said %q", said[i+1])
			}
		}
		if len(h.used)+len(h.spent) != 0 {
			t.Error("the stream counts as a use of its session")
		}
		h.finish()
	})
}

func TestStreamOfAClientThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		ticket := h.signIn(sessions.Identity{Username: "ada"})
		gone, deaf, slow := h.open(ticket), h.open(ticket), h.open(ticket)
		gone.hangUp()
		<-gone.done

		for _, c := range []*client{deaf, slow} {
			c.mu.Lock()
			c.deaf = make(chan struct{})
			c.mu.Unlock()
		}
		h.after(breath + time.Second)
		// It has begun to write a sign of life, of which nothing is taken.
		h.apply(h.ended(ticket, events.Admin))
		h.after(time.Second)
		close(slow.deaf)
		if got := slow.over(); !strings.Contains(got, "event: ended") {
			t.Errorf("a slow client was told %q last", got)
		}
		<-deaf.done
		if got := deaf.said(); strings.Contains(got, "event") {
			t.Errorf("a deaf client was told %q", got)
		}
		h.finish()
	})
}
