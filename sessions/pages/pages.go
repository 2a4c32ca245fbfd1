// Package pages answers people: with what went wrong in a sign-in and what they
// can do about it, with the questions where to sign in and whether to sign out,
// with their own sessions, and with the word that something is done. The pages
// speak the languages there are texts in, run no script, load nothing from
// elsewhere and may not be framed.
package pages

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
)

// Pages answers people. The zero value serves pages for a service without a
// prefix.
type Pages struct {
	prefix string
	look   *look // nil: ours
}

// New makes the pages of a service whose own addresses begin with prefix, such
// as /auth.
func New(prefix string) *Pages { return &Pages{prefix: prefix} }

// looks is what the pages look like.
func (p *Pages) looks() *look { return cmp.Or(p.look, ours) }

// Which forms a page may send. A browser also holds form-action against every
// redirect that follows the form, and the logout's leads to the provider, and
// from there to wherever the provider's own logout goes: a list of origins
// would leave people with a button that does nothing.
const (
	noForm     = "'none'"
	ownForm    = "'self'"
	logoutForm = "'self' http: https:"
)

// Problem answers with what went wrong, under status, or as an RFC 9457 problem
// for a program. The code is one of Codes; any other gets a general text. The
// reference is what a person can quote to whoever runs the service; it may be
// empty.
func (p *Pages) Problem(w http.ResponseWriter, r *http.Request, status int, code, reference string) {
	v := p.view(r)
	next, known := steps[code]
	v.Problem = v.texts.problem("general")
	if known {
		v.Problem = v.texts.problem("problem." + code)
	}
	v.Link, v.Reference = p.link(next), reference
	p.problem(w, r, status, code, v)
}

// NotFound answers for an address below the prefix that there is no page at.
func (p *Pages) NotFound(w http.ResponseWriter, r *http.Request) {
	v := p.view(r)
	v.Problem, v.Link = v.texts.problem("not_found"), p.link(stepHome)
	p.problem(w, r, http.StatusNotFound, "not_found", v)
}

func (p *Pages) problem(w http.ResponseWriter, r *http.Request, status int, code string, v view) {
	if !wantsPage(r) {
		writeProblem(w, status, code, v)
		return
	}
	p.write(w, status, "problem", noForm, v)
}

// ConfirmLogout asks whether to sign out, with a button that posts to action.
// The username may be empty.
func (p *Pages) ConfirmLogout(w http.ResponseWriter, r *http.Request, username, action string) {
	v := p.view(r)
	v.Username, v.Action = username, action
	p.write(w, http.StatusOK, "logout", logoutForm, v)
}

// NobodySignedIn says that there is no session to sign out of. It links to
// loginURL.
func (p *Pages) NobodySignedIn(w http.ResponseWriter, r *http.Request, loginURL string) {
	v := p.view(r)
	v.Link = loginURL
	p.write(w, http.StatusOK, "nobody", noForm, v)
}

// SignedOut says that the session is over. It links to loginURL and does not go
// there by itself: a provider that still knows the user would sign them
// straight in again.
func (p *Pages) SignedOut(w http.ResponseWriter, r *http.Request, loginURL string) {
	v := p.view(r)
	v.Link = loginURL
	p.write(w, http.StatusOK, "signed-out", noForm, v)
}

func (p *Pages) link(next step) string {
	switch next {
	case stepLogin:
		return p.prefix + "/login"
	case stepLogout:
		return p.prefix + "/logout"
	case stepAgain:
		return "" // the page's own address, whatever it is
	default:
		return "/"
	}
}

// view has what every page is given, in the language that the request asks for.
func (p *Pages) view(r *http.Request) view { return p.viewIn(p.looks().speaks(r)) }

func (p *Pages) viewIn(spoken tongue) view {
	l := p.looks()
	v := view{
		Lang: spoken.tag.String(), Direction: spoken.direction, texts: spoken.texts,
		Style: p.prefix + p.StylePath() + "?v=" + l.version,
	}
	if l.logo != nil {
		v.Logo = p.prefix + p.LogoPath() + "?v=" + l.logo.version
	}
	return v
}

func (p *Pages) write(w http.ResponseWriter, status int, page, forms string, v view) {
	body, err := p.looks().render(page, v)
	if err != nil {
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	images := ""
	if v.Logo != "" {
		images = " img-src 'self';"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self';"+images+" form-action "+forms+
		"; frame-ancestors 'none'; base-uri 'none'")
	answer(w, status, v.Lang, body)
}

// problemDetails is an RFC 9457 problem.
type problemDetails struct {
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Reference string `json:"reference,omitempty"`
}

func writeProblem(w http.ResponseWriter, status int, code string, v view) {
	// What is encoded cannot fail.
	body, _ := json.Marshal(problemDetails{v.Problem.Title, status, v.Problem.What + " " + v.Problem.Do, code, v.Reference})
	w.Header().Set("Content-Type", "application/problem+json")
	answer(w, status, v.Lang, append(body, '\n'))
}

func answer(w http.ResponseWriter, status int, lang string, body []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept, Accept-Language")
	h.Set("Content-Language", lang)
	h.Set("X-Content-Type-Options", "nosniff")
	// Under no-referrer a browser would send the logout form with "Origin:
	// null", which an older one could not show to be our own.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// That the client is gone is its own affair.
	_, _ = w.Write(body) //nolint:gosec // html/template has escaped what is in it, or it is JSON
}
