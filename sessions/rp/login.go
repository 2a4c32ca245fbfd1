package rp

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/pages"
)

// statusTimeout bounds the wait for the log to say how far it has come.
const statusTimeout = 2 * time.Second

// Login begins a login (GET): it sends the browser to the OP, and from there,
// by Callback, to the page named by the parameter rd, next or url, or by the
// proxy (see sessions.AskedPage), or else to the public origin's root. Where
// there are several OPs, the parameter provider names one, and without it people
// are asked.
func (p *Party) Login(w http.ResponseWriter, r *http.Request) {
	if f := p.begin(w, r); f != nil {
		p.refuse(w, r, f)
	}
}

func (p *Party) begin(w http.ResponseWriter, r *http.Request) *fault {
	target, named, err := p.target(r)
	if errors.Is(err, sessions.ErrTargetLong) {
		return &fault{ReturnTooLong, err}
	}
	if err != nil {
		return &fault{ReturnRefused, err}
	}
	client, f := p.chosen(r)
	if f != nil {
		return f
	}
	if client == nil && !named {
		// The proxy has put the login in the place of the page that was asked
		// for, where the chooser would pass for that page.
		redirect(w, r, p.at(strings.TrimPrefix(p.loginURL(target, ""), p.Prefix)), http.StatusFound)
		return nil
	}
	if client == nil {
		w.Header().Set("Cache-Control", "no-store")
		p.Lists.ChooseProvider(w, r, p.choices(target))
		return nil
	}
	metadata, known := client.Provider.Metadata()
	if !known {
		return faultf(ProviderUnreachable, "there is no discovery document from the OP yet")
	}
	begun, err := p.position(r.Context())
	if err != nil {
		// What this replica has applied lies before the log's end, so a logout
		// in between covers the login: too strict, never too lax.
		begun = p.Registry.Applied()
	}
	login := newTransaction(metadata.Issuer, target, begun, p.Now())
	location, err := client.authorizationURL(metadata.AuthorizationEndpoint, login)
	if err != nil {
		return &fault{ProviderError, err}
	}
	if err := p.setLogin(w, r, login); err != nil {
		return &fault{LogUnavailable, err}
	}
	redirect(w, r, location, http.StatusFound)
	return nil
}

// chosen is the client whose OP a login is to begin at; nil if people are to be
// asked.
func (p *Party) chosen(r *http.Request) (*Client, *fault) {
	name := r.URL.Query().Get("provider")
	for _, c := range p.Clients {
		if name != "" && name == c.Name {
			return c, nil
		}
	}
	switch {
	case name != "":
		return nil, faultf(ProviderUnknown, "there is no provider %q", printable(name))
	case len(p.Clients) == 1:
		return p.Clients[0], nil
	default:
		return nil, nil
	}
}

// choices are the OPs that people may sign in at, each with where its login
// begins, in the operator's order.
func (p *Party) choices(target string) []pages.Choice {
	choices := make([]pages.Choice, len(p.Clients))
	for i, c := range p.Clients {
		choices[i] = pages.Choice{Title: c.title(), Link: p.loginURL(target, c.Name)}
	}
	return choices
}

// target is the absolute URL to return to, and whether the browser's own request
// names it, or nobody does.
func (p *Party) target(r *http.Request) (target string, named bool, err error) {
	asked := sessions.AskedPage(r.Header.Get)
	named = asked == ""
	// A semicolon parts nothing (URL Standard section 5.1): net/url would drop what
	// has one in it.
	query, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return "", named, err
	}
	for _, name := range []string{"url", "next", "rd"} {
		if value := query.Get(name); value != "" {
			asked, named = value, true
		}
	}
	if asked == "" {
		return p.Targets.Home(), named, nil
	}
	target, err = p.Targets.Resolve(asked)
	if err != nil {
		return "", named, err
	}
	if p.isOwn(target) {
		return p.Targets.Home(), true, nil
	}
	return target, named, nil
}

// isOwn recognises our own pages on any origin, for a proxy names those too
// when they are asked for: to return to the login would go round for ever.
func (p *Party) isOwn(target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	page, below := strings.CutPrefix(u.Path, p.Prefix)
	page = strings.TrimSuffix(page, "/")
	own := []string{"/login", "/callback", "/logout", "/signed-out", "/backchannel-logout", "/frontchannel-logout", "/check", "/forward", "/forbidden"}
	return below && (slices.Contains(own, page) || strings.HasPrefix(page, "/callback/"))
}

// position is where the log ends, now.
func (p *Party) position(ctx context.Context) (events.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	status, err := p.Log.Status(ctx)
	if err != nil {
		return events.Mark{}, err
	}
	return status.End(), nil
}

// authorizationURL is an authentication request (OpenID Connect Core 1.0
// section 3.1.2.1) with PKCE (RFC 7636).
func (c *Client) authorizationURL(endpoint string, login transaction) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	query := u.Query()
	maps.Copy(query, c.AuthParams)
	query.Set("response_type", "code")
	query.Set("client_id", c.ID)
	query.Set("redirect_uri", c.RedirectURI)
	query.Set("scope", strings.Join(c.Scopes, " "))
	query.Set("state", login.State)
	query.Set("nonce", login.Nonce)
	query.Set("code_challenge", oauth2.S256ChallengeFromVerifier(login.Verifier))
	query.Set("code_challenge_method", "S256")
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// redirect sends the browser on and lets nobody keep the answer, which has
// cookies in it.
func redirect(w http.ResponseWriter, r *http.Request, to string, status int) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, to, status) //nolint:gosec // to the OP, to a page of ours, or to one that Targets has let through
}
