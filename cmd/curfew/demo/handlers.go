package demo

import (
	"net/http"
	"net/url"
	"strings"
)

// guarded asks a replica before anything else, and shows the page only to whom
// it lets in. Who that is comes from the replica's answer alone.
func (f *front) guarded(next func(http.ResponseWriter, *http.Request, verdict)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found := f.askInTurn(r)
		if found.State != letsIn {
			f.turnAway(w, r, found)
			return
		}
		next(w, r, found)
	}
}

// turnAway says why a request does not pass.
func (f *front) turnAway(w http.ResponseWriter, r *http.Request, found verdict) {
	switch {
	case found.status == http.StatusForbidden:
		f.notice(w, http.StatusForbidden, notYours)
	case found.State == denies:
		back := "/"
		if r.Method == http.MethodGet {
			back = r.URL.RequestURI()
		}
		f.show(w, http.StatusUnauthorized, "landing", landingPage{
			Login:   f.login(back),
			Ended:   whyOver(found.header.Get("X-Curfew-Reason")),
			Checked: found.Replica,
		})
	case found.State == silent:
		f.notice(w, http.StatusBadGateway, noAnswer)
	default:
		w.Header().Set("Retry-After", "1")
		// The page asks again by itself: being unsure passes.
		w.Header().Set("Refresh", "2")
		f.notice(w, http.StatusServiceUnavailable, notSure)
	}
}

// login is where a person signs in to come back to a page of this site.
func (f *front) login(back string) string { return f.Prefix + "/login?rd=" + url.QueryEscape(back) }

// whyOver says why a session is over; empty if there was none.
func whyOver(reason string) string {
	switch reason {
	case "ended":
		return "Your session was ended."
	case "expired":
		return "Your session’s time was up."
	case "idle":
		return "Your session was not used for a while."
	default:
		return ""
	}
}

func (f *front) library(w http.ResponseWriter, r *http.Request, found verdict) {
	f.show(w, http.StatusOK, "library", libraryPage{
		Who: personOf(found.header), Checked: found.Replica, Documents: documents, Panel: f.panelOf(f.askAll(r)),
	})
}

func (f *front) document(w http.ResponseWriter, r *http.Request, found verdict) {
	paper, known := paperBySlug(r.PathValue("name"))
	if !known {
		f.nothingHere(w, r)
		return
	}
	f.show(w, http.StatusOK, "document", documentPage{Who: personOf(found.header), Checked: found.Replica, Paper: paper})
}

// live is what the script asks for.
type live struct {
	State    state        `json:"state"`
	Title    string       `json:"title"`
	Verdicts []verdict    `json:"verdicts"`
	Events   []shownEvent `json:"events"`
}

// verdicts puts the browser's cookie to every replica.
func (f *front) verdicts(w http.ResponseWriter, r *http.Request) {
	all := f.askAll(r)
	together, title := overall(all)
	showJSON(w, live{State: together, Title: title, Verdicts: all, Events: f.events()})
}

// notice is a page with one thing to say.
type notice struct{ Title, Text, Link string }

var (
	notSure = notice{
		"Nobody is let in just now",
		"The replica that was asked has no proof that it has seen every sign-out, and what is unsure is a no. This usually passes in a moment; the page tries again by itself.",
		"Try again",
	}
	noAnswer = notice{
		"No replica answers",
		"Every request is asked about before it is served, and there is nobody to ask. Nothing is shown unasked.",
		"Try again",
	}
	notYours = notice{
		"These papers are not for you",
		"You are signed in, but in none of the groups that may read here.",
		"Try again",
	}
	foreign = notice{
		"That came from another site",
		"A page elsewhere tried to sign you out. It was not followed, and your session is as it was.",
		"Back to the library",
	}
	missing = notice{
		"Not on our shelves",
		"There is no such page in this library.",
		"Back to the library",
	}
)

func (f *front) notice(w http.ResponseWriter, status int, n notice) { f.show(w, status, "notice", n) }

func (f *front) crossSite(w http.ResponseWriter, _ *http.Request) {
	f.notice(w, http.StatusForbidden, foreign)
}

func (f *front) nothingHere(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/demo/") {
		http.NotFound(w, r)
		return
	}
	f.notice(w, http.StatusNotFound, missing)
}
