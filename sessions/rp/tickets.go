package rp

import (
	"context"
	"net/http"
	"slices"

	"curfew/events"
	"curfew/sessions"
)

// maxTickets is how many session cookies are looked at. Of a name, a browser
// holds one for each domain and path, so those who may set cookies here can put
// some in front of the good one, and any of them may read as ours.
const maxTickets = 32

// ticket is a session cookie that reads as one, and what this replica thinks of
// the session; Unknown where there is none.
type ticket struct {
	sessions.Ticket
	signed  func() bool
	verdict sessions.Verdict
}

// tickets are the session cookies that read as such, in the browser's order,
// each session once.
func (p *Party) tickets(r *http.Request) []ticket {
	var all []ticket
	for _, cookie := range r.CookiesNamed(p.CookieName) {
		read, signed, err := sessions.ParseTicket(cookie.Value, p.Ring)
		// net/http takes quotes off, which no cookie of ours has.
		if err != nil || cookie.Quoted || slices.ContainsFunc(all, func(t ticket) bool { return t.Ticket == read }) {
			continue
		}
		all = append(all, ticket{read, signed, p.look(read)})
		if len(all) == maxTickets {
			break
		}
	}
	return all
}

func (p *Party) look(t sessions.Ticket) sessions.Verdict {
	_, verdict := p.Registry.Look(t.Session, t.Secret.Hash(), p.Now())
	return verdict
}

// signedIn reports whether a session of the browser's stands, as far as this
// replica knows: enough to spare somebody a page, not to let them in.
func (p *Party) signedIn(r *http.Request) bool { return slices.ContainsFunc(p.tickets(r), isAlive) }

func isAlive(t ticket) bool { return t.verdict == sessions.Alive }

// known finds the caller's sessions, those that stand first. Where this replica
// is behind it waits for them, for all of them together as long as for one: a
// session that it does not know yet must end all the same. The fault says that
// there may be another, beside those returned.
func (p *Party) known(r *http.Request) ([]ticket, *fault) {
	ctx, cancel := context.WithTimeout(r.Context(), catchUp)
	defer cancel()
	var trouble *fault
	all := p.tickets(r)
	for i, t := range all {
		if t.verdict != sessions.Unknown {
			continue
		}
		if p.isAhead(t.Mark) && t.signed() {
			if err := p.Registry.Await(ctx, t.Mark); err != nil && !p.beyond(r.Context(), t.Mark) {
				trouble = faultf(LogUnavailable, "this replica has not come to session %s yet: %w", t.Session, err)
			}
		}
		// Also where it has come that far in the meantime.
		all[i].verdict = p.look(t.Ticket)
	}
	all = slices.DeleteFunc(all, func(t ticket) bool { return t.verdict == sessions.Unknown })
	slices.SortStableFunc(all, func(a, b ticket) int {
		switch {
		case isAlive(a) == isAlive(b):
			return 0
		case isAlive(a):
			return -1
		default:
			return 1
		}
	})
	return all, trouble
}

// beyond reports whether the log ends before mark: it was rolled back, and the
// session is lost.
func (p *Party) beyond(ctx context.Context, mark events.Mark) bool {
	end, err := p.position(ctx)
	return err == nil && end.Before(mark)
}

// isAhead reports whether this replica may still come to mark: one in another
// log is never reached, except from no log at all.
func (p *Party) isAhead(mark events.Mark) bool {
	applied := p.Registry.Applied()
	return applied.Before(mark) || applied.Log == events.LogID{} && mark.Log != applied.Log
}
