package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// endedPrefix is what the subject of an end has in front of the session's id.
const endedPrefix = "curfew.ended."

// parting is why a websocket is closed, or is not opened.
type parting struct {
	code   websocket.StatusCode
	reason string
}

// The close codes. Those from 4000 are for applications to choose.
const (
	// codeEnded: the session is over. A page goes where nobody is signed in.
	codeEnded websocket.StatusCode = 4401
	// codeAgain: it may stand. A page opens the websocket anew, which asks the
	// guard.
	codeAgain = websocket.StatusTryAgainLater
)

var (
	errUnsure = parting{codeAgain, "unsure"}
	errAgain  = parting{codeAgain, "come again"}
)

// Error says it in words.
func (p parting) Error() string { return fmt.Sprintf("closed with %d: %s", p.code, p.reason) }

// status is what is answered where the websocket has yet to be opened.
func (p parting) status() int {
	if p.code == codeEnded {
		return http.StatusUnauthorized
	}
	return http.StatusServiceUnavailable
}

// remembered is for how long at least an end is remembered: longer than a replica
// of curfew that lags behind may go on letting the session in
// (CURFEW_MAX_STALENESS), and than a websocket takes to open.
const remembered = time.Minute

// hub knows the open websockets of each session.
type hub struct {
	mu   sync.Mutex
	sure bool // every end is heard of
	next int
	open map[string]map[int]context.CancelCauseFunc
	// Ends by session, those of late and those before.
	late, before map[string]parting
	turn         *time.Ticker
}

func newHub() *hub {
	return &hub{open: map[string]map[int]context.CancelCauseFunc{}, late: map[string]parting{}, turn: time.NewTicker(remembered)}
}

// enter takes in a websocket that the guard has let pass. The context ends when it
// is to be closed, with a parting for a cause; then leave must be called. An error is
// a parting too: it may not be opened.
func (h *hub) enter(session string) (ctx context.Context, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	if !h.sure {
		return nil, nil, errUnsure
	}
	for _, ends := range []map[string]parting{h.late, h.before} {
		// The guard said yes before the end, or had not heard of it.
		if why, over := ends[session]; over {
			return nil, nil, why
		}
	}
	ctx, part := context.WithCancelCause(context.Background())
	if h.open[session] == nil {
		h.open[session] = map[int]context.CancelCauseFunc{}
	}
	h.next++
	n := h.next
	h.open[session][n] = part
	return ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.open[session], n)
		if len(h.open[session]) == 0 {
			delete(h.open, session)
		}
		part(nil)
	}, nil
}

// end closes the websockets of a session that has ended, whatever the message
// says of it.
func (h *hub) end(subject string, body []byte) {
	var ended struct{ Reason string }
	if json.Unmarshal(body, &ended) != nil || ended.Reason == "" || len(ended.Reason) > 100 {
		ended.Reason = "ended"
	}
	session, why := strings.TrimPrefix(subject, endedPrefix), parting{codeEnded, ended.Reason}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	h.late[session] = why
	for _, part := range h.open[session] {
		part(why)
	}
}

// forget drops ends that are old enough.
func (h *hub) forget() {
	select {
	case <-h.turn.C:
		h.before, h.late = h.late, map[string]parting{}
	default:
	}
}

// lose closes all websockets, and takes in none: who has ended meanwhile is not
// known. Those whose sessions stand come again, and are let in by the guard.
func (h *hub) lose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sure = false
	for _, sockets := range h.open {
		for _, part := range sockets {
			part(errUnsure)
		}
	}
}

// hear takes websockets in: from here on every end is heard of.
func (h *hub) hear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sure = true
}
