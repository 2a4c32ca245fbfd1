package rp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/pages"
)

const (
	// maxVisits is how many sessions a page lists.
	maxVisits = 100
	// maxForm is more than any form of ours has.
	maxForm = 16 << 10
)

// Yours lists the caller's sessions (GET): those of the same user of the same OP.
// It ends one of them, or all others (POST), unless another origin's page asks
// for it. Nobody is shown anything by a replica that may have missed a logout,
// and whoever is not signed in is sent to do so first.
func (p *Party) Yours(w http.ResponseWriter, r *http.Request) {
	answer := p.list
	if r.Method == http.MethodPost {
		answer = p.endYours
	}
	f := answer(w, r)
	switch {
	case f == nil:
	case f.code == SessionNeeded && r.Method != http.MethodPost:
		redirect(w, r, p.loginURL(p.at("/sessions"), ""), http.StatusFound)
	default:
		p.refuse(w, r, f)
	}
}

// caller is the session that a request comes with, and what is sealed for it.
func (p *Party) caller(r *http.Request) (sessions.Private, *fault) {
	known, trouble := p.known(r)
	switch {
	case !p.Lease.Fresh():
		return sessions.Private{}, faultf(LogUnavailable, "this replica cannot prove that it has missed no logout")
	case len(known) > 0 && isAlive(known[0]):
		private, err := p.Rows.Private(known[0].Session)
		if err != nil {
			return sessions.Private{}, &fault{LogUnavailable, err}
		}
		return private, nil
	case trouble != nil:
		return sessions.Private{}, trouble
	default:
		return sessions.Private{}, &fault{SessionNeeded, errNotSignedIn}
	}
}

var errNotSignedIn = errors.New("the page of somebody's own sessions was asked for by nobody who is signed in")

func (p *Party) list(w http.ResponseWriter, r *http.Request) *fault {
	if p.moveHome(w, r, "/sessions") {
		return nil
	}
	who, f := p.caller(r)
	if f != nil {
		return f
	}
	all, err := p.visits(who)
	if err != nil {
		return &fault{LogUnavailable, err}
	}
	o := pages.Overview{
		Username: who.User.Username, More: len(all) > maxVisits, Action: p.Prefix + "/sessions",
		Done: r.URL.Query().Has("done") && !crossSite(r),
	}
	for _, v := range all[:min(len(all), maxVisits)] {
		visit := pages.Visit{ID: v.id.String(), Since: v.row.At.Time(), Seen: v.row.Seen.Time(), Current: v.current}
		// One that does not open can be listed and ended all the same.
		if private, err := p.Rows.Private(v.id); err == nil {
			visit.Device, visit.Address = private.Client.UserAgent, private.Client.Address
		}
		o.Visits = append(o.Visits, visit)
	}
	w.Header().Set("Cache-Control", "no-store")
	p.Lists.YourSessions(w, r, o)
	return nil
}

// visit is a session of the caller's.
type visit struct {
	id      events.SessionID
	row     sessions.Row
	current bool // the one that the caller comes with
}

// visits are the sessions of the caller that stand: the caller's own first, then
// those that were used last.
func (p *Party) visits(who sessions.Private) ([]visit, error) {
	ids, err := p.Rows.OfSub(who.Issuer, who.Sub)
	if err != nil {
		return nil, err
	}
	var visits []visit
	for _, id := range ids {
		if row, verdict := p.Registry.Get(id, p.Now()); verdict == sessions.Alive {
			visits = append(visits, visit{id, row, id == who.Session})
		}
	}
	slices.SortStableFunc(visits, func(a, b visit) int {
		switch {
		case a.current:
			return -1
		case b.current:
			return 1
		default:
			return cmp.Compare(b.row.LastSeen(), a.row.LastSeen())
		}
	})
	return visits, nil
}

// endYours ends what a form of the page names. A session that is over already, or
// is somebody else's, is none to end. It waits for this replica to have come to the
// log's end: a session that it did not know of yet would go on.
func (p *Party) endYours(w http.ResponseWriter, r *http.Request) *fault {
	if err := p.checkOrigin(r); err != nil {
		return &fault{CrossSite, err}
	}
	who, f := p.caller(r)
	if f != nil {
		return f
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return &fault{FormInvalid, err}
	}
	if err := p.comeToEnd(r.Context()); err != nil {
		return &fault{LogUnavailable, err}
	}
	visits, err := p.visits(who)
	if err != nil {
		return &fault{LogUnavailable, err}
	}
	var ids []events.SessionID
	own := false
	for _, v := range visits {
		if asksFor(r.PostForm, v) {
			ids, own = append(ids, v.id), own || v.current
		}
	}
	if f := p.endAll(w, r, ids); f != nil {
		return f
	}
	switch {
	case own:
		p.clear(w, p.CookieName)
		redirect(w, r, p.at("/signed-out"), http.StatusSeeOther)
	case w.Header().Get(HeaderFence) == sessions.Complete.String():
		redirect(w, r, p.at("/sessions?done=1"), http.StatusSeeOther)
	default:
		redirect(w, r, p.at("/sessions"), http.StatusSeeOther)
	}
	return nil
}

// comeToEnd waits until this replica has come to where the log ends now.
func (p *Party) comeToEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	end, err := p.position(ctx)
	if err != nil {
		return err
	}
	return p.Registry.Await(ctx, end)
}

// crossSite reports whether a link of another site's has led here.
func crossSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin"
}

// asksFor reports whether a form asks for the end of a session.
func asksFor(form url.Values, v visit) bool {
	if form.Has("others") {
		return !v.current
	}
	return slices.Contains(form["session"], v.id.String())
}
