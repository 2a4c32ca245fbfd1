package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// inUse says every fifteen seconds for so long that a session is used.
func (h *house) inUse(id events.SessionID, length time.Duration) {
	for range length / (15 * time.Second) {
		<-time.After(15 * time.Second)
		h.say(events.Seen{Session: id, At: time.Now()})
	}
}

// say appends without a condition.
func (h *house) say(fact events.Fact) {
	h.t.Helper()
	if _, err := h.log.Append(h.t.Context(), events.NewEvent(fact, "a", time.Now()), events.Always()); err != nil {
		h.t.Fatal(err)
	}
}

// A replica that has not seen the latest uses takes a session for idle. What it
// thinks must not end it for those who know better.
func TestReplicaThatIsBehindEndsNobodyInUse(t *testing.T) {
	tests := map[string]struct {
		policy sessions.Policy
		access time.Duration
		use    func(*house, events.SessionID)
	}{
		"used": {sessions.Policy{Idle: time.Minute}, 0, func(h *house, id events.SessionID) {
			h.inUse(id, 150*time.Second)
		}},
		"refreshed": {sessions.Policy{UntilAccess: true}, time.Minute, func(h *house, id events.SessionID) {
			h.say(events.Refreshed{Session: id, At: time.Now(), Access: time.Now().Add(time.Hour), Sealed: "y"})
			<-time.After(150 * time.Second)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inHouse(t, tt.policy, func(h *house, rooms []*room) {
				following, cut := context.WithCancel(h.t.Context())
				late := h.room(following, "late", tt.policy)
				id := h.signInUntil(tt.access, append(rooms, late)...)
				synctest.Wait()
				cut()
				synctest.Wait()
				tt.use(h, id)
				defer run(h.t, late)()
				<-time.After(6 * time.Second)
				if ended, has := h.ends()[id]; has {
					h.t.Errorf("ended for %q by one that is behind", ended.Reason)
				}
				if _, got := rooms[0].registry.Get(id, time.Now()); got != sessions.Alive {
					h.t.Errorf("verdict %d, want Alive", got)
				}
			})
		})
	}
}

// A kind of event that this version does not know stands in the way of no end.
func TestSessionEndsWhateverElseIsSaidOfIt(t *testing.T) {
	inHouse(t, sessions.Policy{Idle: time.Minute}, func(h *house, rooms []*room) {
		defer run(h.t, rooms...)()
		id := h.signIn("u1", "s1", time.Hour, rooms...)
		message, err := events.Encode(events.NewEvent(events.Seen{Session: id, At: time.Now()}, "a", time.Now()))
		if err != nil {
			h.t.Fatal(err)
		}
		message.Subject = "curfew.session." + id.String() + ".noted"
		message.Header["ce-type"] = []string{"curfew.session.noted.v1"}
		h.log.Put(message)
		<-time.After(time.Minute + 10*time.Second)
		if got := h.ends()[id].Reason; got != events.Idle {
			h.t.Errorf("reason %q, want idle", got)
		}
	})
}

// A session that no key opens any more ends like others, and is not looked at
// again at each sweep.
func TestSessionThatNoKeyOpensEndsWithoutItsNames(t *testing.T) {
	inHouse(t, sessions.Policy{}, func(h *house, rooms []*room) {
		rooms[0].shelf.fault = fmt.Errorf("sealed with another key: %w", sessions.ErrUnreadable)
		defer run(h.t, rooms[0])()
		id := h.signIn("u1", "s1", time.Minute) // on no shelf
		<-time.After(time.Minute + 10*time.Second)
		got := h.ends()[id]
		got.At = time.Time{}
		if want := (events.Ended{Session: id, Reason: events.Expired}); got != want {
			h.t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// locked is a sealer without the key.
type locked struct{}

func (locked) Seal([]byte) (events.Sealed, error) { return "", errors.ErrUnsupported }
func (locked) Open(events.Sealed) ([]byte, error) { return nil, errors.ErrUnsupported }

func TestWhatNoKeyOpensIsUnreadable(t *testing.T) {
	_, err := sessions.OpenPrivate(locked{}, events.SessionID{1}, "x")
	if !errors.Is(err, sessions.ErrUnreadable) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want that it is unreadable and why", err)
	}
}
