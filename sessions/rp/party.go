package rp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/pages"
)

// Ring seals, opens and signs with keys that every replica has.
type Ring interface {
	sessions.Sealer
	sessions.Signer
}

// Rows opens what is sealed for a session.
type Rows interface {
	// Private is never older than what the registry knows of the session.
	Private(events.SessionID) (sessions.Private, error)
	// OfSid and OfSub list the sessions of one of an OP's, or of one of its
	// users: all that the registry knows of, whether they are over or not, and
	// whether they open or not.
	OfSid(issuer, sid string) ([]events.SessionID, error)
	OfSub(issuer, sub string) ([]events.SessionID, error)
}

// Pages are what a person sees. Each method answers the request, whole.
type Pages interface {
	// Problem says what went wrong and what to do; code is one of Codes, and
	// the operator finds the cause in the log under reference.
	Problem(w http.ResponseWriter, r *http.Request, status int, code, reference string)
	// ConfirmLogout has a button that posts to action; username may be empty.
	ConfirmLogout(w http.ResponseWriter, r *http.Request, username, action string)
	// NobodySignedIn says so, and links to loginURL.
	NobodySignedIn(w http.ResponseWriter, r *http.Request, loginURL string)
	// SignedOut links to loginURL and does not go there by itself.
	SignedOut(w http.ResponseWriter, r *http.Request, loginURL string)
}

// Lists are the pages that list something to choose from. Each method answers the
// request, whole.
type Lists interface {
	// ChooseProvider asks where somebody wants to sign in.
	ChooseProvider(w http.ResponseWriter, r *http.Request, choices []pages.Choice)
	// YourSessions lists somebody's own sessions.
	YourSessions(w http.ResponseWriter, r *http.Request, o pages.Overview)
}

// Party signs users in and out. Its fields must not be changed once it is used.
// Its handlers answer for any host they are asked at, but what they hand out
// leads to PublicURL.
type Party struct {
	// Clients are this service at each OP that people may sign in at: one or
	// more. Where there are several, people choose.
	Clients []*Client

	// PublicURL is where browsers see this service, of which only the origin
	// counts, and Prefix the path that the handlers are below: /auth.
	PublicURL *url.URL
	Prefix    string
	// Lifetime is how long a session may last.
	Lifetime time.Duration
	Targets  sessions.Targets
	// CookieName is the session cookie's; login cookies' names begin with it.
	CookieName   string
	CookieDomain string
	// Secure says that cookies are for TLS only.
	Secure bool
	// Proxies are the networks of proxies whose addresses in X-Forwarded-For
	// are not the client's. From others the header must have been taken away.
	Proxies []netip.Prefix

	Log      events.Log
	Registry *sessions.Registry
	Rows     Rows
	Ring     Ring
	Logouts  *sessions.Logouts
	Pages    Pages
	Lists    Lists
	// Lease says whether what this replica knows may be shown to anybody.
	Lease *sessions.Lease
	// Replica is this replica's name.
	Replica string
	Now     func() time.Time
	Logger  *slog.Logger
}

// Validate names everything that is wrong with p's settings. Whether its parts
// are there is not checked.
func (p *Party) Validate() error {
	var faults []error
	if len(p.Clients) == 0 {
		faults = append(faults, errors.New("rp: there is no provider"))
	}
	for i, c := range p.Clients {
		faults = append(faults, c.validate())
		for _, other := range p.Clients[:i] {
			faults = append(faults, c.tellApart(other))
		}
	}
	if p.Lifetime <= 0 {
		faults = append(faults, fmt.Errorf("rp: session lifetime %s: want more than zero", p.Lifetime))
	}
	return errors.Join(faults...)
}

// client finds the client at an issuer; nil if there is none.
func (p *Party) client(issuer string) *Client {
	for _, c := range p.Clients {
		if c.Provider.Issuer == issuer {
			return c
		}
	}
	return nil
}

// at is the absolute URL of one of our own pages.
func (p *Party) at(page string) string {
	return p.PublicURL.Scheme + "://" + p.PublicURL.Host + p.Prefix + page
}
