package rp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"curfew/events"
	"curfew/sessions"
)

const (
	// appendTimeout bounds all tries to get the start of a session into the
	// log, and tryTimeout each of them.
	appendTimeout = 8 * time.Second
	tryTimeout    = 3 * time.Second
	tryAgain      = 50 * time.Millisecond
	// awaitTimeout bounds the wait for this replica to apply it.
	awaitTimeout = 5 * time.Second
)

// start makes a session of a login that has come back from the OP. The cookie
// is given out only once the session is found alive here, where every logout
// before it in the log has been applied.
//
// Where the answer to the append is lost for good, or this replica does not
// keep up, the log may hold a session whose secret nobody has.
func (p *Party) start(w http.ResponseWriter, r *http.Request, login transaction, u user, log events.LogID) *fault {
	secret := sessions.NewSecret()
	started, err := p.started(r, login, u, secret, log)
	if err != nil {
		return &fault{LogUnavailable, err}
	}
	mark, f := p.record(r.Context(), started, log)
	if f != nil {
		return f
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitTimeout)
	defer cancel()
	if err := p.Registry.Await(ctx, mark); err != nil {
		return faultf(LogUnavailable, "this replica has not applied the session's start at %d: %w", mark.At, err)
	}
	switch _, verdict := p.Registry.Look(started.Session, started.Secret, p.Now()); verdict {
	case sessions.Alive:
	case sessions.Unknown:
		return faultf(LogUnavailable, "session %s is not known after its start was applied", started.Session)
	default:
		p.Logger.InfoContext(r.Context(), "a logout came while the login was on its way", "session", started.Session)
		w.Header().Set("Cache-Control", "no-store")
		p.Pages.SignedOut(w, r, p.loginURL(login.Target, ""))
		return nil
	}
	ticket := sessions.Ticket{Session: started.Session, Secret: secret, Mark: mark}
	http.SetCookie(w, p.cookie(p.CookieName, ticket.Encode(p.Ring), p.Lifetime))
	p.Logger.InfoContext(r.Context(), "signed in", "session", started.Session, "position", mark.At)
	redirect(w, r, login.Target, http.StatusFound)
	return nil
}

// record puts the start into a log, and makes sure that it is in that one: the
// place where the login began means nothing in another.
func (p *Party) record(ctx context.Context, started events.Started, log events.LogID) (events.Mark, *fault) {
	position, err := p.append(ctx, started)
	if errors.Is(err, events.ErrTooLarge) {
		return events.Mark{}, faultf(ProviderError, "the OP says more of the user than the log takes: %w", err)
	}
	if err != nil {
		return events.Mark{}, &fault{LogUnavailable, err}
	}
	switch end, err := p.position(ctx); {
	case err != nil:
		return events.Mark{}, &fault{LogUnavailable, err}
	case end.Log != log:
		return events.Mark{}, faultf(LogUnavailable, "the session's start may be in another log than %s, where its login ended", log)
	}
	return events.Mark{Log: log, At: position}, nil
}

func (p *Party) started(r *http.Request, login transaction, u user, secret sessions.Secret, log events.LogID) (events.Started, error) {
	now := p.Now().UTC()
	private := sessions.Private{
		Session: events.NewSessionID(),
		Issuer:  login.Issuer,
		Sub:     u.sub,
		Sid:     u.sid,
		Secret:  secret.Hash(),
		User:    u.identity,
		Tokens:  u.grant.tokens,
		Client:  clientOf(r, p.Proxies),
		Started: now,
	}
	sealed, err := private.Seal(p.Ring)
	if err != nil {
		return events.Started{}, err
	}
	return events.Started{
		Session:   private.Session,
		Issuer:    private.Issuer,
		Sub:       private.Sub,
		Sid:       private.Sid,
		Secret:    secret.Hash(),
		Begun:     login.mark().In(log),
		BegunAt:   login.BegunAt,
		At:        now,
		AuthTime:  u.authTime,
		Expires:   now.Add(p.Lifetime),
		Access:    u.grant.access.UTC(),
		Renewable: u.grant.tokens.Refresh != "",
		Client:    private.Client,
		Sealed:    sealed,
	}, nil
}

// append puts the start into the log, and asks again with the same event where
// the answer does not come: the log does not take it twice.
func (p *Party) append(ctx context.Context, started events.Started) (events.Position, error) {
	event := events.NewEvent(started, p.Replica, p.Now())
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	for wait := tryAgain; ; wait *= 2 {
		try, done := context.WithTimeout(ctx, tryTimeout)
		position, err := p.Log.Append(try, event, events.IfLast(0))
		done()
		if err == nil || !errors.Is(err, events.ErrUnavailable) {
			return position, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// loginURL is where a person begins a login that returns to target, at the OP of
// that name; empty lets them choose.
func (p *Party) loginURL(target, provider string) string {
	query := url.Values{}
	if target != "" && target != p.Targets.Home() {
		query.Set("rd", target)
	}
	if provider != "" {
		query.Set("provider", provider)
	}
	if len(query) == 0 {
		return p.Prefix + "/login"
	}
	return p.Prefix + "/login?" + query.Encode()
}
