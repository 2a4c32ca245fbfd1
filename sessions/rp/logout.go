package rp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// HeaderFence is the header that says whether every replica has confirmed a
// logout: see sessions.Fence.
const HeaderFence = "Curfew-Fence"

// catchUp bounds the wait for this replica to know the session that is to end.
const catchUp = 2 * time.Second

func (p *Party) confirm(w http.ResponseWriter, r *http.Request) {
	if p.moveHome(w, r, "/logout") {
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	known, trouble := p.known(r)
	found := len(known) > 0 && isAlive(known[0])
	if !found && trouble == nil {
		p.Pages.NobodySignedIn(w, r, p.loginURL("", ""))
		return
	}
	username := ""
	if found {
		if private, err := p.Rows.Private(known[0].Session); err == nil {
			username = private.User.Username
		}
	}
	p.Pages.ConfirmLogout(w, r, username, p.Prefix+"/logout")
}

// SignedOut is where a logout leads (GET). It begins no login by itself.
func (p *Party) SignedOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	p.Pages.SignedOut(w, r, p.loginURL("", ""))
}

// Logout ends the caller's sessions everywhere (POST) and sends the browser on
// to the OP, to end the one there (RP-Initiated Logout 1.0). It is refused to
// pages of other origins. A GET is answered with a page that asks, since any
// page can make a browser follow a link.
func (p *Party) Logout(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		if f := p.signOut(w, r); f != nil {
			p.refuse(w, r, f)
		}
	case http.MethodGet, http.MethodHead:
		p.confirm(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "sign out with POST", http.StatusMethodNotAllowed)
	}
}

func (p *Party) signOut(w http.ResponseWriter, r *http.Request) *fault {
	if err := p.checkOrigin(r); err != nil {
		return &fault{CrossSite, err}
	}
	known, trouble := p.known(r)
	var ids []events.SessionID
	for _, t := range known {
		// That its time is up may be so by this replica's clock alone: whoever
		// signs out must be out at those whose clocks are right.
		if t.verdict != sessions.Ended {
			ids = append(ids, t.Session)
		}
	}
	if f := cmp.Or(p.endAll(w, r, ids), trouble); f != nil {
		return f
	}
	p.clear(w, p.CookieName)
	if len(known) == 0 {
		redirect(w, r, p.at("/signed-out"), http.StatusSeeOther)
		return nil
	}
	redirect(w, r, p.afterLogout(p.private(r.Context(), known[0].Session)), http.StatusSeeOther)
	return nil
}

// endAll ends sessions at the wish of those whose they are, each whatever becomes
// of the others, and has their tokens given back. The header says how far that is.
func (p *Party) endAll(w http.ResponseWriter, r *http.Request, ids []events.SessionID) *fault {
	if len(ids) == 0 {
		return nil
	}
	ended := make([]events.Ended, len(ids))
	for i, id := range ids {
		private := p.private(r.Context(), id)
		ended[i] = events.Ended{
			Session: private.Session,
			Issuer:  private.Issuer,
			Sub:     private.Sub,
			Sid:     private.Sid,
			Reason:  events.SignedOut,
			At:      p.Now().UTC(),
		}
		if c := p.client(private.Issuer); c != nil {
			c.Revoker.take(private)
		}
	}
	fence, err := p.Logouts.End(r.Context(), ended...)
	if err != nil {
		return &fault{LogUnavailable, err}
	}
	for _, id := range ids {
		p.Logger.InfoContext(r.Context(), "signed out", "session", id, "fence", fence.String())
	}
	w.Header().Set(HeaderFence, fence.String())
	return nil
}

// private is what is sealed for a session that is to end, even if it does not
// open: then subscribers are not told whose it was, and the OP's own logout goes
// without a hint.
func (p *Party) private(ctx context.Context, id events.SessionID) sessions.Private {
	private, err := p.Rows.Private(id)
	if err != nil {
		p.Logger.WarnContext(ctx, "a session is signed out that does not open", "session", id, "error", err)
		return sessions.Private{Session: id, Issuer: p.issuerOf(id)}
	}
	return private
}

// moved is the parameter by which moveHome knows whom it has sent already, so that
// a proxy which does not say where browsers see it sends nobody round for ever.
const moved = "moved"

// moveHome sends a browser that a proxy says sees one of our pages at another host
// to the public one, since a form is taken from there alone.
func (p *Party) moveHome(w http.ResponseWriter, r *http.Request, page string) bool {
	seen := r.Header.Get("X-Forwarded-Host")
	query := r.URL.Query()
	if seen == "" || strings.EqualFold(seen, p.PublicURL.Host) || query.Has(moved) {
		return false
	}
	query.Set(moved, "1")
	redirect(w, r, p.at(page+"?"+query.Encode()), http.StatusFound)
	return true
}

// checkOrigin takes the word of Origin over that of Sec-Fetch-Site, and the
// public URL's origin alone: those that a login may return to, or that share the
// cookie, may be other people's. A page's Origin is null where its policy is to
// send no referrer, but also in a sandbox.
func (p *Party) checkOrigin(r *http.Request) error {
	own := strings.TrimSuffix(p.Targets.Home(), "/")
	for _, origin := range r.Header.Values("Origin") {
		if origin != "" && origin != own {
			return fmt.Errorf("rp: sign-out: the origin is %.200q, want %s", origin, own)
		}
	}
	protection := http.NewCrossOriginProtection()
	if err := protection.AddTrustedOrigin(own); err != nil {
		return err
	}
	return protection.Check(r)
}

var errNoEndSession = errors.New("the OP has no end-session endpoint")

// issuerOf is the issuer of a session that does not open; empty if it is not
// configured any more.
func (p *Party) issuerOf(id events.SessionID) string {
	row, _ := p.Registry.Get(id, p.Now())
	issuers := make([]string, len(p.Clients))
	for i, c := range p.Clients {
		issuers[i] = c.Provider.Issuer
	}
	return p.Registry.IssuerOf(row, issuers)
}

// afterLogout is where the browser goes: to the OP of the session where it has an
// end-session endpoint, and otherwise to the page that says that it is done.
func (p *Party) afterLogout(private sessions.Private) string {
	c := p.client(private.Issuer)
	if c == nil {
		return p.at("/signed-out")
	}
	metadata, _ := c.Provider.Metadata()
	at, err := c.endSessionURL(metadata.EndSessionEndpoint, private.Tokens.ID)
	if err != nil {
		return p.at("/signed-out")
	}
	return at
}

func (c *Client) endSessionURL(endpoint, hint string) (string, error) {
	if endpoint == "" {
		return "", errNoEndSession
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	query := u.Query()
	if hint != "" {
		query.Set("id_token_hint", hint)
	}
	query.Set("client_id", c.ID)
	query.Set("post_logout_redirect_uri", c.PostLogoutRedirectURI)
	query.Set("state", rand.Text())
	u.RawQuery = query.Encode()
	return u.String(), nil
}
