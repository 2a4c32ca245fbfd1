package main

import (
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/rp"
)

// sessionView is a session as operators see it.
type sessionView struct {
	Session  events.SessionID `json:"session"`
	Issuer   string           `json:"issuer"`
	Sub      string           `json:"sub"`
	Sid      string           `json:"sid"`
	Username string           `json:"username"`
	Email    string           `json:"email"`
	Started  time.Time        `json:"started"`
	Seen     time.Time        `json:"seen"`
	Expires  time.Time        `json:"expires"`
	// Ended and Reason are there once the session is over.
	Ended  time.Time     `json:"ended,omitzero"`
	Reason events.Reason `json:"reason,omitempty"`
	Client events.Client `json:"client"`
}

// sessionPage is a page of a list.
type sessionPage struct {
	Sessions []sessionView `json:"sessions"`
	// Next is what to give as after for the next page; null on the last.
	Next *events.SessionID `json:"next"`
	// Behind says that the replica may have yet to hear of some, and of ends.
	Behind bool `json:"behind,omitempty"`
}

const (
	defaultPage = 100
	maxPage     = 1000
)

// list answers with the sessions that match, in the order they began.
func (api *adminAPI) list(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problemf(http.StatusBadRequest, "the query is malformed")
	}
	limit := defaultPage
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return problemf(http.StatusBadRequest, "limit is %q, want 1 to %d", text, maxPage)
		}
	}
	var after events.SessionID
	if text := query.Get("after"); text != "" {
		if after, err = events.ParseSessionID(text); err != nil {
			return problemf(http.StatusBadRequest, "after is %q, want the last id of the page before", text)
		}
	}
	page := sessionPage{Sessions: []sessionView{}, Behind: !api.lease.Fresh()}
	for id, err := range api.matching(query.Get("sub"), query.Get("sid")).ids(after, limit) {
		if err != nil {
			return err
		}
		view, found := api.view(id)
		if !found {
			continue
		}
		if len(page.Sessions) == limit {
			page.Next = &page.Sessions[limit-1].Session
			break
		}
		page.Sessions = append(page.Sessions, view)
	}
	writeJSON(w, http.StatusOK, "application/json", page)
	return nil
}

// match is what a list is narrowed to: to any of the names. None narrows
// nothing. Names are looked for by their keys: the store has them in no other
// form.
type match struct {
	api   *adminAPI
	names []nameKeys
}

// nameKeys are a sub and a sid at one issuer; a zero key is not asked for.
type nameKeys struct{ sub, sid sessions.Key }

func (api *adminAPI) matching(sub, sid string) match {
	m := match{api: api}
	if sub == "" && sid == "" {
		return m
	}
	hasher := api.rows.Hasher()
	for _, issuer := range api.issuers {
		m.names = append(m.names, nameKeys{hasher.Sub(issuer, sub), hasher.Sid(issuer, sid)})
	}
	return m
}

// ids goes through the sessions that match, in the order of their ids, after
// one. It asks the store for a page at a time.
func (m match) ids(after events.SessionID, page int) iter.Seq2[events.SessionID, error] {
	return func(yield func(events.SessionID, error) bool) {
		for {
			ids, more, err := m.page(after, page+1)
			if err != nil {
				yield(after, err)
				return
			}
			for _, id := range ids {
				if after = id; m.has(id) && !yield(id, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// page reads from the store. Sessions of one name are few enough to read them
// all at once.
func (m match) page(after events.SessionID, limit int) (ids []events.SessionID, more bool, err error) {
	if len(m.names) == 0 {
		ids, err = m.api.rows.All(after, limit)
		return ids, len(ids) == limit, err
	}
	for _, name := range m.names {
		find, key := m.api.rows.BySub, name.sub
		if !name.sid.IsZero() {
			find, key = m.api.rows.BySid, name.sid
		}
		found, err := find(key)
		if err != nil {
			return nil, false, err
		}
		ids = append(ids, found...)
	}
	ids = slices.DeleteFunc(ids, func(id events.SessionID) bool { return id.Compare(after) <= 0 })
	slices.SortFunc(ids, events.SessionID.Compare)
	return ids, false, nil
}

// has holds a session of the right sid against the sub as well.
func (m match) has(id events.SessionID) bool {
	if len(m.names) == 0 {
		return true
	}
	row, _ := m.api.registry.Get(id, m.api.now())
	return slices.ContainsFunc(m.names, func(name nameKeys) bool {
		return (name.sub.IsZero() || name.sub == row.Sub) && (name.sid.IsZero() || name.sid == row.Sid)
	})
}

// view puts together what the registry and the sealed part say of a session.
func (api *adminAPI) view(id events.SessionID) (sessionView, bool) {
	row, verdict := api.registry.Get(id, api.now())
	issuer := api.registry.IssuerOf(row, api.issuers)
	if row.Started == 0 || issuer == "" {
		return sessionView{}, false
	}
	view := sessionView{
		Session: id, Started: row.At.Time(), Seen: row.LastSeen().Time(), Expires: row.Expires.Time(), Reason: row.Reason(),
	}
	tombstone, covered := api.registry.Covering(row)
	foreseen, ahead := api.registry.Foreseen(id, row)
	switch {
	case row.Ended != 0:
		view.Ended = row.Over.Time()
	case covered && tombstone.Position < row.Started:
		return sessionView{}, false // its login was covered: it never was a session
	case covered:
		view.Ended, view.Reason = tombstone.Stored.Time(), tombstone.Reason()
	// What follows has yet to be written into the log, with the time then.
	case ahead:
		view.Ended, view.Reason = api.now().UTC(), foreseen
	case verdict == sessions.Expired:
		view.Ended, view.Reason = api.now().UTC(), events.Expired
	case verdict == sessions.Idle:
		view.Ended, view.Reason = api.now().UTC(), events.Idle
	}
	private, err := api.rows.Private(id)
	if err != nil {
		// It can be listed and ended all the same.
		api.logger.Warn("a session is shown that does not open", "session", id, "error", err)
		view.Issuer = issuer
		return view, true
	}
	view.Issuer, view.Sub, view.Sid = private.Issuer, private.Sub, private.Sid
	view.Username, view.Email, view.Client = private.User.Username, private.User.Email, private.Client
	return view, true
}

// find is view for an id that somebody names. That there is no such session is
// said only by a replica that would know.
func (api *adminAPI) find(text string) (sessionView, error) {
	id, err := events.ParseSessionID(text)
	if err == nil {
		if view, found := api.view(id); found {
			return view, nil
		}
		if !api.lease.Fresh() {
			return sessionView{}, problemf(http.StatusServiceUnavailable, "this replica is behind the log, and does not know session %s yet", id)
		}
	}
	return sessionView{}, problemf(http.StatusNotFound, "there is no session %q", text)
}

func (api *adminAPI) show(w http.ResponseWriter, r *http.Request) error {
	view, err := api.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, "application/json", view)
	return nil
}

// end ends one session everywhere. One that is over already stays what it was:
// the answer then says how far the others are with that.
func (api *adminAPI) end(w http.ResponseWriter, r *http.Request) error {
	view, err := api.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	ended := events.Ended{
		Session: view.Session, Issuer: view.Issuer, Sub: view.Sub, Sid: view.Sid, Reason: view.Reason, At: api.now().UTC(),
	}
	if ended.Reason == "" {
		ended.Reason = events.Admin
	}
	fence, err := api.logouts.End(r.Context(), ended)
	if err != nil {
		return untaken(err)
	}
	api.logger.InfoContext(r.Context(), "session ended by an operator", "session", view.Session, "fence", fence.String())
	w.Header().Set(rp.HeaderFence, fence.String())
	w.WriteHeader(http.StatusNoContent)
	return nil
}
