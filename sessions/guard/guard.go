// Package guard answers a proxy's question: may this request pass?
//
// The answer comes from memory. It is yes only while the replica can prove that
// it has seen every logout, and the proof is looked at last, after the session
// was, so that a process which was stopped half-way through an answer does not
// wake up and say yes.
package guard

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// Why a request may not pass, as the header X-Curfew-Reason says it.
const (
	reasonNoSession = "no_session"
	reasonEnded     = "ended"
	reasonExpired   = "expired"
	reasonIdle      = "idle"
	reasonGroup     = "group"
	reasonStale     = "stale"
)

// HeaderReason is the header that says why a request was refused.
const HeaderReason = "X-Curfew-Reason"

const (
	// maxWait and maxWaiters bound how long, and in how many requests at once,
	// a replica that is behind makes a user who has just signed in wait.
	maxWait    = 2 * time.Second
	maxWaiters = 256
	// maxAsk bounds the question to the log that follows on a wait in vain.
	maxAsk = time.Second
	// maxCookies is how many cookies of our name are looked at: a browser may
	// hold one for the host and one for its domain.
	maxCookies = 4
)

// Lease proves that this replica has missed no logout.
type Lease interface{ Fresh() bool }

// Log tells where the log ends. It is asked only about a session that has not come
// in time.
type Log interface {
	Status(context.Context) (events.Status, error)
}

// Rows opens what is sealed for a session.
type Rows interface {
	// Private is never older than what the registry knows of the session.
	Private(events.SessionID) (sessions.Private, error)
}

// Toucher is told that a session was used.
type Toucher interface {
	Touch(events.SessionID, sessions.Row, time.Time)
}

// Refresher is told of a session that stands, in case that its access token is
// about to end. It does not block.
type Refresher interface {
	Want(events.SessionID, sessions.Row, time.Time)
}

// Pages tell a person what went wrong.
type Pages interface {
	// Problem answers under a status with the text that code has.
	Problem(w http.ResponseWriter, r *http.Request, status int, code, reference string)
}

// The codes of what the guard tells a person.
const (
	// CodeGroup is for who is signed in, and not in the group that is asked for.
	CodeGroup = "group_needed"
	// CodeUnsure is for everybody at a replica that is stale.
	CodeUnsure = "unsure"
)

// Guard answers for one replica. Its exported fields must all be set and not be
// changed once it is used; New does the rest. The zero value lets nobody in.
type Guard struct {
	Registry  *sessions.Registry
	Lease     Lease
	Log       Log
	Rows      Rows
	Toucher   Toucher
	Refresher Refresher
	Signer    sessions.Signer
	Pages     Pages
	// CookieName is the session cookie's name.
	CookieName string
	// LoginURL is where Forward sends people who have no session, an absolute
	// URL.
	LoginURL string
	Now      func() time.Time
	// Deadline is when a while from now is over, for a connection: by the machine's
	// own clock, whatever Now says.
	Deadline func(time.Duration) time.Time
	Logger   *slog.Logger

	faces   faces
	waiting chan struct{}
	tabs    *tabs
}

// New returns g, ready to answer.
func New(g Guard) *Guard {
	g.faces = newFaces()
	g.waiting = make(chan struct{}, maxWaiters)
	g.tabs = newTabs()
	return &g
}

// answer is what the guard has found out about a request.
type answer struct {
	status int
	reason string
	id     events.SessionID
	row    sessions.Row
	face   *face // whom to let in; nil unless the status is 200
}

func refuse(status int, reason string) answer { return answer{status: status, reason: reason} }

// judge decides about a request, which is a use of its session.
func (g *Guard) judge(r *http.Request) answer {
	found, session := g.look(r)
	if found.reason == reasonStale {
		return found
	}
	now := g.Now()
	if found.status == http.StatusOK {
		g.Toucher.Touch(session.id, session.row, now)
	}
	if session.status == http.StatusOK {
		// One who is not in the group may be so after the refresh.
		g.Refresher.Want(session.id, session.row, now)
	}
	return found
}

// look decides about a request, and says whose session it is, if anybody's. The
// groups are asked for after the session and before the lease, which is always
// last.
func (g *Guard) look(r *http.Request) (found, session answer) {
	session = g.identify(r)
	found = session
	if session.status == http.StatusOK && !session.face.inGroups(r.URL) {
		found = refuse(http.StatusForbidden, reasonGroup)
	}
	if !g.Lease.Fresh() {
		found = refuse(http.StatusServiceUnavailable, reasonStale)
	}
	return found, session
}

// identify finds the session that a request's cookie opens. Of several cookies
// the first that lets somebody in counts, and if there is none, the first that
// was a session's at all says why.
func (g *Guard) identify(r *http.Request) answer {
	refusal := refuse(http.StatusUnauthorized, reasonNoSession)
	for i, cookie := range r.CookiesNamed(g.CookieName) {
		if i == maxCookies {
			break
		}
		if cookie.Quoted {
			continue // net/http takes quotes off, which no cookie of ours has
		}
		found := g.open(r.Context(), cookie.Value)
		if found.status == http.StatusOK {
			return found
		}
		if refusal.reason == reasonNoSession {
			refusal = found
		}
	}
	return refusal
}

func (g *Guard) open(ctx context.Context, value string) answer {
	ticket, signed, err := sessions.ParseTicket(value, g.Signer)
	if err != nil {
		return refuse(http.StatusUnauthorized, reasonNoSession)
	}
	secret := ticket.Secret.Hash()
	row, verdict := g.Registry.Look(ticket.Session, secret, g.Now())
	if verdict == sessions.Unknown {
		if g.behind(ticket.Mark) && signed() && !g.await(ctx, ticket.Mark) && !g.beyond(ctx, ticket.Mark) {
			return refuse(http.StatusServiceUnavailable, reasonStale)
		}
		// Also where it has come that far in the meantime.
		row, verdict = g.Registry.Look(ticket.Session, secret, g.Now())
	}
	if verdict != sessions.Alive {
		return refuse(http.StatusUnauthorized, reasonOf(verdict))
	}
	face, err := g.face(ticket.Session, row)
	if err != nil {
		// Who it is cannot be told, so nobody is let in; it is this replica's
		// fault and not the user's.
		g.Logger.ErrorContext(ctx, "session cannot be opened", "session", ticket.Session, "error", err)
		return refuse(http.StatusServiceUnavailable, reasonStale)
	}
	// To open it may have taken long, and a lease that was renewed meanwhile
	// says nothing about what was seen before.
	if row, verdict = g.Registry.Look(ticket.Session, secret, g.Now()); verdict != sessions.Alive {
		return refuse(http.StatusUnauthorized, reasonOf(verdict))
	}
	return answer{status: http.StatusOK, id: ticket.Session, row: row, face: face}
}

// behind reports whether a session that is unknown may yet come: its start is
// further on in the log than this replica is.
func (g *Guard) behind(mark events.Mark) bool {
	return g.Registry.Applied().Before(mark)
}

// await waits until this replica has come to mark, and gives up when too many
// wait already.
func (g *Guard) await(ctx context.Context, mark events.Mark) bool {
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	return g.Registry.Await(ctx, mark) == nil
}

// beyond reports whether the log ends before mark: it was rolled back, and a
// session that was lost with its end will not come. Whoever has its cookie is to
// sign in anew.
func (g *Guard) beyond(ctx context.Context, mark events.Mark) bool {
	ctx, cancel := context.WithTimeout(ctx, maxAsk)
	defer cancel()
	status, err := g.Log.Status(ctx)
	return err == nil && status.End().Before(mark)
}

func reasonOf(verdict sessions.Verdict) string {
	switch verdict {
	case sessions.Ended:
		return reasonEnded
	case sessions.Expired:
		return reasonExpired
	case sessions.Idle:
		return reasonIdle
	default:
		return reasonNoSession
	}
}
