package guard

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

const issuer = "https://id.example.com"

var log1 = events.LogID{1}

// hmacSigner is a sessions.Signer with one key.
type hmacSigner string

func (s hmacSigner) MAC(message []byte) [32]byte {
	mac := hmac.New(sha256.New, []byte(s))
	mac.Write(message)
	return [32]byte(mac.Sum(nil))
}

func (s hmacSigner) CheckMAC(message, mac []byte) bool {
	want := s.MAC(message)
	return len(mac) >= 16 && hmac.Equal(want[:len(mac)], mac)
}

// rows is a store with what is sealed for each session.
type rows struct {
	held   map[events.SessionID]sessions.Private
	opened atomic.Int32
	fault  error
	// opening happens while a session is opened, after it was looked up.
	opening func()
}

func (r *rows) Private(id events.SessionID) (sessions.Private, error) {
	r.opened.Add(1)
	private, found := r.held[id]
	if r.opening != nil {
		r.opening()
	}
	if !found && r.fault == nil {
		return sessions.Private{}, errors.New("not found")
	}
	return private, r.fault
}

// lease is fresh until it is not; each look may change it.
type lease struct {
	stale  atomic.Bool
	onLook func()
}

func (l *lease) Fresh() bool {
	if l.onLook != nil {
		l.onLook()
	}
	return !l.stale.Load()
}

// touched remembers which sessions were used.
type touched []events.SessionID

func (t *touched) Touch(id events.SessionID, _ sessions.Row, _ time.Time) { *t = append(*t, id) }

// Want remembers which sessions may want a refresh.
func (t *touched) Want(id events.SessionID, _ sessions.Row, _ time.Time) { *t = append(*t, id) }

// told are pages that say nothing but what they are about.
type told struct{}

func (told) Problem(w http.ResponseWriter, _ *http.Request, status int, code, _ string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(code))
}

// house is a guard with what it needs.
type house struct {
	*Guard
	t     testing.TB
	lease *lease
	rows  *rows
	used  touched
	spent touched
	at    events.Position
	now   time.Time
	ends  *events.Status // the log; nil while it does not answer
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, lease: &lease{}, rows: &rows{held: map[events.SessionID]sessions.Private{}}}
	h.now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	h.Guard = New(Guard{
		Registry:   sessions.NewRegistry(sessions.NewHasher([32]byte{1}), sessions.Policy{}),
		Lease:      h.lease,
		Log:        h,
		Rows:       h.rows,
		Toucher:    &h.used,
		Refresher:  &h.spent,
		Signer:     hmacSigner("k"),
		Pages:      told{},
		CookieName: "curfew",
		LoginURL:   "https://app.example.com/auth/login",
		Now:        func() time.Time { return h.now },
		Deadline:   func(d time.Duration) time.Time { return time.Now().Add(d) },
		Logger:     slog.New(slog.DiscardHandler),
	})
	return h
}

// Status is that of a log which ends where the house says, or does not answer.
func (h *house) Status(context.Context) (events.Status, error) {
	if h.ends == nil {
		return events.Status{}, events.ErrUnavailable
	}
	return *h.ends, nil
}

func (h *house) apply(fact events.Fact) events.Position {
	h.at++
	h.Registry.Apply(events.Batch{
		Log: log1, Position: h.at, Last: h.at,
		Records: []events.Record{{Event: events.NewEvent(fact, "a", h.now), Position: h.at, Stored: h.now}},
	})
	return h.at
}

// prepare makes a session that the log does not have yet.
func (h *house) prepare(user sessions.Identity) (events.Started, sessions.Ticket) {
	ticket := sessions.Ticket{Session: events.NewSessionID(), Secret: sessions.NewSecret()}
	ticket.Mark = events.Mark{Log: log1, At: h.at + 1}
	h.rows.held[ticket.Session] = sessions.Private{Session: ticket.Session, Issuer: issuer, Sub: "u1", Sid: "s1", Secret: ticket.Secret.Hash(), User: user}
	return events.Started{
		Session: ticket.Session, Issuer: issuer, Sub: "u1", Sid: "s1", Secret: ticket.Secret.Hash(),
		Begun: h.at, BegunAt: h.now, At: h.now, Expires: h.now.Add(time.Hour), Sealed: "x",
	}, ticket
}

func (h *house) signIn(user sessions.Identity) sessions.Ticket {
	started, ticket := h.prepare(user)
	h.apply(started)
	return ticket
}

func (h *house) ask(handler http.HandlerFunc, target string, ticket string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if ticket != "" {
		r.Header.Set("Cookie", "curfew="+ticket)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler(w, r)
	return w
}

func (h *house) want(w *httptest.ResponseRecorder, status int, reason string) {
	h.t.Helper()
	if w.Code != status || w.Header().Get(HeaderReason) != reason {
		h.t.Errorf("got %d %q, want %d %q", w.Code, w.Header().Get(HeaderReason), status, reason)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		h.t.Errorf("Cache-Control is %q", got)
	}
	if got := w.Header()["Set-Cookie"]; got != nil {
		h.t.Errorf("the guard set a cookie: %q", got)
	}
}

func (h *house) encode(ticket sessions.Ticket) string { return ticket.Encode(h.Signer) }
