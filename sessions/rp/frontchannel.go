package rp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// maxSid is far more than the sid of any OP known has, in bytes.
const maxSid = 1024

// framed is what a front-channel logout is answered with. It is seen by nobody: the
// OP has it in a frame.
const framed = "<!doctype html>\n<html lang=\"en\"><title>Signed out</title></html>\n"

// FrontchannelLogout ends the sessions of one of the OP's (GET), which has a
// browser ask for it by a frame in its own sign-out page (OpenID Connect
// Front-Channel Logout 1.0 section 2). It goes by the parameter sid, not by the
// browser's cookie, which most browsers do not send from a frame. The parameter
// iss may be missing where there is one OP: Entra ID sends none.
//
// Nothing proves that the OP asks: whoever knows a sid can end its sessions. A
// sid that no session bears, as far as this replica knows, goes into the log as
// well: its login may be on its way, or this replica behind. But it does so only
// as often as the client's Strangers allow, so that nobody can fill the log.
func (p *Party) FrontchannelLogout(w http.ResponseWriter, r *http.Request) {
	if onlyGet(w, r) {
		return
	}
	fence, f := p.endFramed(r)
	if f != nil {
		p.refuse(w, r, f)
		return
	}
	h := w.Header()
	h.Set(HeaderFence, fence.String())
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	// No frame-ancestors: any page may frame this one, which has nothing in it.
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'")
	// That the browser is gone is its own affair.
	_, _ = w.Write([]byte(framed))
}

// onlyGet refuses a HEAD, which http.ServeMux takes for a GET, where a GET does
// more than answer. It reports whether it has.
func onlyGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodHead {
		return false
	}
	w.Header().Set("Allow", http.MethodGet)
	w.WriteHeader(http.StatusMethodNotAllowed)
	return true
}

func (p *Party) endFramed(r *http.Request) (sessions.Fence, *fault) {
	c, sid, err := p.readFramed(r.URL.RawQuery)
	if err != nil {
		return sessions.Pending, &fault{FrontchannelInvalid, err}
	}
	issuer := c.Provider.Issuer
	var fence sessions.Fence
	for ended := events.Position(0); ; {
		newest, f := p.newest(issuer, sid)
		if f != nil {
			return sessions.Pending, f
		}
		// A replica that was behind may know of another by now, that began after the
		// same end was asked for elsewhere.
		if ended > 0 && newest <= ended {
			break
		}
		if fence, f = p.endOf(r, c, sid, newest); f != nil {
			return sessions.Pending, f
		}
		if newest == 0 {
			break
		}
		ended = newest
	}
	p.Logger.InfoContext(r.Context(), "signed out in a frame of the OP's", "issuer", issuer, "sid", printable(sid), "fence", fence.String())
	return fence, nil
}

// endOf ends the sessions of a sid, of which the newest that stands began at a place
// in the log; zero is none, and then it ends a stranger's.
func (p *Party) endOf(r *http.Request, c *Client, sid string, newest events.Position) (sessions.Fence, *fault) {
	now := p.Now()
	logout := events.LogoutReceived{Issuer: c.Provider.Issuer, Sid: sid, JTI: rand.Text(), IssuedAt: now.UTC(), Reason: events.SignedOut}
	switch {
	case newest > 0:
		// However often the end of these is asked for, before it has been applied
		// here, it is one logout to the log, and takes one place in the outbox.
		logout.JTI, logout.IssuedAt = fmt.Sprint("frontchannel:", newest), time.Time{}
	case c.Strangers == nil || !c.Strangers.AllowN(now, 1):
		return sessions.Pending, faultf(TooMany, "too many front-channel logouts for sids that no session bears")
	}
	fence, err := p.Logouts.Receive(r.Context(), logout)
	if err != nil {
		return sessions.Pending, &fault{LogUnavailable, err}
	}
	return fence, nil
}

// newest is where in the log the start of the newest session of a sid is that
// stands, as far as this replica knows; zero if none does.
func (p *Party) newest(issuer, sid string) (newest events.Position, f *fault) {
	ids, err := p.Rows.OfSid(issuer, sid)
	if err != nil {
		return 0, &fault{LogUnavailable, err}
	}
	for _, id := range ids {
		if row, verdict := p.Registry.Get(id, p.Now()); verdict == sessions.Alive {
			newest = max(newest, row.Started)
		}
	}
	return newest, nil
}

var (
	errFramedTwice = errors.New("front-channel logout: iss or sid is there twice")
	errLongSid     = fmt.Errorf("front-channel logout: the sid is longer than %d bytes", maxSid)
	errNoSid       = errors.New("front-channel logout: there is no sid: have the OP send it (frontchannel_logout_session_required)")
	errNoIss       = errors.New("front-channel logout: there is no iss, and several OPs that it may be from")
	errOtherIss    = errors.New("front-channel logout: iss is none of the configured issuers")
)

func (p *Party) readFramed(query string) (c *Client, sid string, err error) {
	asked, err := url.ParseQuery(query)
	if err != nil {
		return nil, "", err
	}
	issuer, sid := asked.Get("iss"), asked.Get("sid")
	c = p.Clients[0]
	if issuer != "" {
		c = p.client(issuer)
	}
	switch {
	case len(asked["iss"]) > 1 || len(asked["sid"]) > 1:
		return nil, "", errFramedTwice
	case sid == "":
		return nil, "", errNoSid
	case len(sid) > maxSid:
		return nil, "", errLongSid
	case issuer == "" && len(p.Clients) > 1:
		return nil, "", errNoIss
	case c == nil:
		return nil, "", errOtherIss
	}
	return c, sid, nil
}
