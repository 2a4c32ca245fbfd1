package demo

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"curfew/sessions/pages"
)

//go:embed templates assets
var files embed.FS

var templates = map[string]*template.Template{
	"library":  parse("library", "panel"),
	"document": parse("document"),
	"landing":  parse("landing"),
	"notice":   parse("notice"),
}

func parse(names ...string) *template.Template {
	parts := []string{"templates/frame.html"}
	for _, name := range names {
		parts = append(parts, "templates/"+name+".html")
	}
	return template.Must(template.New("frame.html").Funcs(template.FuncMap{
		"initials":     initials,
		"milliseconds": milliseconds,
	}).ParseFS(files, parts...))
}

// What the templates are given.
type (
	libraryPage struct {
		Who       person
		Checked   string // who let the browser in
		Documents []paper
		Panel     panel
	}
	documentPage struct {
		Who     person
		Checked string
		Paper   paper
	}
	landingPage struct {
		Login   string
		Ended   string // why there is no session any more; empty if there was none
		Checked string
	}
	// panel is a session as the replicas see it.
	panel struct {
		State    state
		Title    string
		Verdicts []verdict
		Outcome  *outcome // of a sign-out just made
		Login    string
		Events   []shownEvent
		Provider *url.URL
		Feed     bool
	}
)

// Settled says that what the panel shows is the last word on its session, so
// that the script need not ask again.
func (p panel) Settled() bool { return p.Outcome != nil && p.Outcome.Err == nil && p.State == denies }

// SignedOut says that nobody is to be shown as signed in.
func (p panel) SignedOut() bool { return p.State == denies }

func (f *front) panelOf(verdicts []verdict) panel {
	state, title := overall(verdicts)
	return panel{
		State: state, Title: title, Verdicts: verdicts, Login: f.login("/"), Events: f.events(),
		Provider: f.Provider, Feed: f.Events != nil,
	}
}

func (f *front) panelAfter(out outcome) panel {
	p := f.panelOf(out.Verdicts)
	p.Outcome = &out
	return p
}

// overall is what the verdicts come down to together.
func overall(verdicts []verdict) (state, string) {
	count := make(map[state]int)
	for _, v := range verdicts {
		count[v.State]++
	}
	switch {
	case count[letsIn] == len(verdicts):
		return letsIn, "Signed in on every replica"
	case count[letsIn] > 0:
		return mixed, "Not every replica lets you in"
	case count[denies] == len(verdicts):
		return denies, "Signed out on every replica"
	case count[denies] > 0:
		return denies, "No replica lets you in"
	default:
		return unsure, "No replica lets anybody in just now"
	}
}

// shownEvent is an event as the feed has it.
type shownEvent struct {
	At      string `json:"at"`
	Kind    string `json:"kind"`
	Session string `json:"session,omitempty"`
}

// shownEvents is how many events the feed holds.
const shownEvents = 8

func (f *front) events() []shownEvent {
	if f.Events == nil {
		return nil
	}
	newest := f.Events()
	shown := make([]shownEvent, 0, shownEvents)
	for _, event := range newest[:min(len(newest), shownEvents)] {
		shown = append(shown, shownEvent{
			At: event.At.In(f.Now().Location()).Format("15:04:05.000"), Kind: kindInWords(event.Kind), Session: short(event.Session),
		})
	}
	return shown
}

// kindInWords makes "session started" of curfew.session.started.v1.
func kindInWords(kind string) string {
	kind = strings.TrimSuffix(strings.TrimPrefix(kind, "curfew."), ".v1")
	return strings.ReplaceAll(kind, ".", " ")
}

// short is the end of a session's id: the beginning is a time, which sessions
// of one minute share.
func short(session string) string { return session[max(0, len(session)-8):] }

// initials stand in for a portrait.
func initials(name string) string {
	var letters []rune
	for word := range strings.FieldsSeq(name) {
		letters = append(letters, []rune(word)[0])
	}
	if len(letters) > 2 {
		letters = []rune{letters[0], letters[len(letters)-1]}
	}
	return strings.ToUpper(string(letters))
}

const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func (f *front) show(w http.ResponseWriter, status int, page string, data any) {
	var body bytes.Buffer
	if err := templates[page].Execute(&body, data); err != nil {
		f.Logger.Error("a page of the demo is broken", "page", page, "error", err)
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	// Under no-referrer a browser would send forms with "Origin: null".
	h.Set("Referrer-Policy", "same-origin")
	send(w, status, body.Bytes())
}

func showJSON(w http.ResponseWriter, value any) {
	// What is encoded cannot fail.
	body, _ := json.Marshal(value)
	w.Header().Set("Content-Type", "application/json")
	send(w, http.StatusOK, body)
}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// That the client is gone is its own affair.
	_, _ = w.Write(body)
}

// serveStyle answers with the stylesheet: that of curfew's own pages, and what
// the demo adds.
func serveStyle(w http.ResponseWriter, r *http.Request) {
	// It is embedded, and so there.
	more, _ := files.ReadFile("assets/demo.css")
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(pages.Style()+string(more)))
}

func servePart(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeFileFS(w, r, files, "assets/"+path.Base(r.URL.Path))
}
