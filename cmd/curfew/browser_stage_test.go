package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curfew/sessions/pages"
	"curfew/sessions/rp"
)

// shown is a page as people see it, with the same words and times always.
type shown struct {
	name string // a template's, or one that begins with it and says in which case
	show func(*pages.Pages, http.ResponseWriter, *http.Request)
}

// allShown is every page there is.
func allShown() []shown {
	const login = "/auth/login"
	list := []shown{
		{"choose", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) {
			p.ChooseProvider(w, r, []pages.Choice{
				{Title: "Harbour Library staff", Link: login + "?provider=staff"},
				{Title: "Readers", Link: login + "?provider=readers"},
			})
		}},
		{"logout", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) {
			p.ConfirmLogout(w, r, "ada", "/auth/logout")
		}},
		{"nobody", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) { p.NobodySignedIn(w, r, login) }},
		{"signed-out", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) { p.SignedOut(w, r, login) }},
		{"sessions", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) { p.YourSessions(w, r, someVisits(3)) }},
		{"sessions-alone", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) {
			alone := someVisits(1)
			alone.Done = true
			p.YourSessions(w, r, alone)
		}},
		{"problem-not-found", (*pages.Pages).NotFound},
		{"problem-other", func(p *pages.Pages, w http.ResponseWriter, r *http.Request) {
			p.Problem(w, r, http.StatusInternalServerError, "other", "K7Q2M4X9TP")
		}},
	}
	for _, code := range pages.Codes() {
		list = append(list, shown{"problem-" + strings.ReplaceAll(code, "_", "-"), func(p *pages.Pages, w http.ResponseWriter, r *http.Request) {
			p.Problem(w, r, rp.Code(code).Status(), code, "K7Q2M4X9TP")
		}})
	}
	return list
}

// someVisits is what the page of one's own sessions shows, with n of them.
func someVisits(n int) pages.Overview {
	at := time.Date(2026, time.March, 14, 9, 26, 0, 0, time.UTC)
	return pages.Overview{Username: "ada", Action: "/auth/sessions", Visits: []pages.Visit{
		{
			ID: "019cebd5-18c0-7a61-9d34-6b0e4a1f7c21", Current: true, Address: "2001:db8:4:1::27", Since: at.Add(-90 * time.Minute), Seen: at,
			Device: "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
		},
		{
			ID: "019ce6f0-2b40-7c9e-8f12-3d5a90b2e4c6", Address: "203.0.113.45", Since: at.Add(-26 * time.Hour), Seen: at.Add(-47 * time.Minute),
			Device: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
		},
		{
			ID: "019cdf3a-77d0-7e05-b6c8-1a2f8c4d9b30", Address: "198.51.100.7", Since: at.Add(-62 * time.Hour),
			Device: "curl/8.14.1",
		},
	}[:n]}
}

// pageStage serves every page, each at its name below /auth/.
func pageStage(t *testing.T, p *pages.Pages) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth"+p.StylePath(), p.ServeStyle)
	mux.HandleFunc("GET /auth"+p.LogoPath(), p.ServeLogo)
	for _, page := range allShown() {
		mux.HandleFunc("GET /auth/"+page.name, func(w http.ResponseWriter, r *http.Request) { page.show(p, w, r) })
	}
	// A page that is wrong in many ways, so that whoever looks for faults finds some.
	mux.HandleFunc("GET /auth/spoilt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		_, _ = w.Write([]byte(`<!doctype html><title>.</title><style>a { outline: none }</style><img src="/x.png">
<p style="color: red"><font color="#dddddd">pale</font></p><a href="/" tabindex="2">second</a><a href="/" tabindex="1">first</a><pre>` + strings.Repeat("wide", 400) + `</pre>`))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// Whoever adds a page must have it looked at, and have pictures taken of it.
func TestEveryPageIsShown(t *testing.T) {
	templates, err := filepath.Glob("../../sessions/pages/templates/*.html")
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	known := map[string]bool{"frame": true} // is around each
	for _, page := range allShown() {
		known[page.name] = true
		template, _, _ := strings.Cut(page.name, "-")
		known[template] = true
	}
	for _, path := range templates {
		if name := strings.TrimSuffix(filepath.Base(path), ".html"); !known[name] {
			t.Errorf("no page is shown that is made of %s", path)
		}
	}
}
