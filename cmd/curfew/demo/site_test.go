package demo_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"curfew/cmd/curfew/demo"
)

func TestIncompleteSitesAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*demo.Site){
		"no replicas":       func(s *demo.Site) { s.Replicas = nil },
		"a nameless one":    func(s *demo.Site) { s.Replicas[1].Name = "" },
		"one nowhere":       func(s *demo.Site) { s.Replicas[1].Base = nil },
		"one without host":  func(s *demo.Site) { s.Replicas[1].Base = &url.URL{Path: "/"} },
		"no LogoutSession":  func(s *demo.Site) { s.LogoutSession = nil },
		"no LogoutUser":     func(s *demo.Site) { s.LogoutUser = nil },
		"no clock":          func(s *demo.Site) { s.Now = nil },
		"no logger":         func(s *demo.Site) { s.Logger = nil },
		"nothing whatever":  func(s *demo.Site) { *s = demo.Site{} },
		"only a nil origin": func(s *demo.Site) { s.Replicas = []demo.Replica{{Name: "north"}} },
	} {
		s := site(newFleet())
		spoil(&s)
		if _, err := s.Handler(); err == nil || !strings.HasPrefix(err.Error(), "demo: site: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTheGuardDecides(t *testing.T) {
	for _, test := range []struct {
		name   string
		check  int
		reason string
		want   int
		says   string
	}{
		{"let in", http.StatusOK, "", http.StatusOK, "Tide tables"},
		{"nobody", http.StatusUnauthorized, "no_session", http.StatusUnauthorized, ">Sign in<"},
		{"ended", http.StatusUnauthorized, "ended", http.StatusUnauthorized, "Your session was ended."},
		{"expired", http.StatusUnauthorized, "expired", http.StatusUnauthorized, "time was up"},
		{"idle", http.StatusUnauthorized, "idle", http.StatusUnauthorized, "not used for a while"},
		{"in no group", http.StatusForbidden, "group", http.StatusForbidden, "none of the groups"},
		{"unsure", http.StatusServiceUnavailable, "stale", http.StatusServiceUnavailable, "Nobody is let in just now"},
		{"something else", http.StatusTeapot, "", http.StatusServiceUnavailable, "Nobody is let in just now"},
		{"redirected", http.StatusFound, "", http.StatusServiceUnavailable, "Nobody is let in just now"},
	} {
		f := newFleet()
		f.each(func(r *replica) { r.status, r.reason = test.check, test.reason })
		for _, page := range []string{"/", "/documents/tide-tables"} {
			w := ask(t, site(f), http.MethodGet, page)
			if w.Code != test.want {
				t.Errorf("%s, %s: status %d, want %d", test.name, page, w.Code, test.want)
			}
			wantAll(t, w.Body.String(), test.says)
			if letIn := strings.Contains(w.Body.String(), "High water") || strings.Contains(w.Body.String(), "Tide tables"); letIn != (test.check == http.StatusOK) {
				t.Errorf("%s, %s: documents shown: %v", test.name, page, letIn)
			}
		}
	}
}

// A sign-in that begins under one name and comes back under another finds no
// cookie.
func TestOtherHostsLeadToTheSites(t *testing.T) {
	for _, test := range []struct{ host, target, want string }{
		{"127.0.0.1:4180", "/", ""},
		{"localhost:4180", "/", "http://127.0.0.1:4180/"},
		{"localhost:4180", "/documents/berths?x=1&y", "http://127.0.0.1:4180/documents/berths?x=1&y"},
		{"localhost:4180", "/auth/login?rd=%2F", "http://127.0.0.1:4180/auth/login?rd=%2F"},
		{"127.0.0.1", "/", "http://127.0.0.1:4180/"},
		{"elsewhere.example", "//evil.example/", "http://127.0.0.1:4180//evil.example/"},
	} {
		s := site(newFleet())
		s.Host = "127.0.0.1:4180"
		handler, err := s.Handler()
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "http://"+test.host+test.target, nil)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != test.want || (w.Code == http.StatusTemporaryRedirect) != (test.want != "") {
			t.Errorf("%s%s: %d to %q, want %q", test.host, test.target, w.Code, got, test.want)
		}
	}
}

func TestUnsurePagesTryAgain(t *testing.T) {
	f := newFleet()
	f.each(func(r *replica) { r.status = http.StatusServiceUnavailable })
	w := ask(t, site(f), http.MethodGet, "/")
	if w.Header().Get("Retry-After") != "1" || w.Header().Get("Refresh") != "2" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestHeadersOfEveryPage(t *testing.T) {
	f := newFleet()
	unsure := newFleet()
	unsure.each(func(r *replica) { r.status = http.StatusServiceUnavailable })
	nobody := newFleet()
	nobody.each(func(r *replica) { r.status = http.StatusUnauthorized })
	for _, test := range []struct {
		f              *fleet
		method, target string
		headers        []string
	}{
		{f, http.MethodGet, "/", nil},
		{f, http.MethodGet, "/documents/berths", nil},
		{f, http.MethodGet, "/documents/none", nil},
		{f, http.MethodGet, "/nowhere", nil},
		{unsure, http.MethodGet, "/", nil},
		{nobody, http.MethodGet, "/", nil},
		{f, http.MethodPost, "/demo/provider", []string{"Sec-Fetch-Site", "cross-site"}},
		{f, http.MethodPost, "/demo/provider", nil},
	} {
		w := ask(t, site(test.f), test.method, test.target, test.headers...)
		h := w.Header()
		for name, want := range map[string]string{
			"Content-Type":           "text/html; charset=utf-8",
			"Cache-Control":          "no-store",
			"X-Content-Type-Options": "nosniff",
			"Referrer-Policy":        "same-origin",
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
				"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", test.method, test.target, name, got, want)
			}
		}
		if found := inline.FindString(w.Body.String()); found != "" {
			t.Errorf("%s %s holds %q, which the policy forbids", test.method, test.target, found)
		}
	}
}

// inline is what the policy keeps a browser from honouring.
var inline = regexp.MustCompile(`<style|http-equiv|<script[^>]*>[^<]|<script(?:>| [^s])|\sstyle=|\son\w+=|src="[^/]|src="//`)

func TestSignInLeadsBack(t *testing.T) {
	f := newFleet()
	f.each(func(r *replica) { r.status = http.StatusUnauthorized })
	w := ask(t, site(f), http.MethodGet, "/documents/tide-tables?a=1&b=%22")
	wantAll(t, w.Body.String(), `href="/auth/login?rd=%2Fdocuments%2Ftide-tables%3Fa%3D1%26b%3D%2522"`)
	s := site(f)
	s.Prefix = "/gate"
	wantAll(t, ask(t, s, http.MethodGet, "/").Body.String(), `href="/gate/login?rd=%2F"`)
}

func TestWhoItIsComesFromTheGuard(t *testing.T) {
	f := newFleet()
	body := ask(t, site(f), http.MethodGet, "/", "Remote-Name", "Mallory", "X-Auth-Request-User", "mallory").Body.String()
	if strings.Contains(strings.ToLower(body), "mallory") {
		t.Errorf("the browser's own word is taken:\n%s", body)
	}
	wantAll(t, body, "Ada Lindqvist", ">AL<", "<bdi>ada</bdi>", "ada@example.com",
		"<bdi>admins</bdi>", "<bdi>staff</bdi>", "<code>019ab6d4-71e0-7c32-9f1d-4be2a0c10058</code>")
	f.each(func(r *replica) { delete(r.identity, "Remote-Name"); delete(r.identity, "X-Auth-Request-Groups") })
	wantAll(t, ask(t, site(f), http.MethodGet, "/").Body.String(), "<bdi>ada</bdi></span>", ">none<")
}

func TestChecksAreAsAProxyAsks(t *testing.T) {
	f := newFleet()
	ask(t, site(f), http.MethodGet, "/documents/berths?x=1", "Remote-User", "mallory", "X-Original-Url", "http://elsewhere/")
	asked := f.requests("/auth/check")
	if len(asked) != 1 {
		t.Fatalf("%d checks for one document", len(asked))
	}
	h := asked[0].Header
	for name, want := range map[string]string{
		"Cookie": "curfew=ticket", "X-Forwarded-Method": "GET", "X-Forwarded-Proto": "http", "X-Forwarded-For": "192.0.2.1",
		"X-Forwarded-Host": "127.0.0.1:4180", "X-Forwarded-Uri": "/documents/berths?x=1", "Remote-User": "", "X-Original-Url": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if asked[0].Host != "127.0.0.1:4180" {
		t.Errorf("asked for host %q", asked[0].Host)
	}
}

func TestHostileTextsStayText(t *testing.T) {
	const hostile = `<script>alert(1)</script>"' onload="x`
	f := newFleet()
	f.each(func(r *replica) {
		for name := range r.identity {
			r.identity.Set(name, hostile)
		}
	})
	s := site(f)
	s.Replicas[0].Name = hostile
	s.Events = func() []demo.Event { return []demo.Event{{At: time.Now(), Kind: hostile, Session: hostile}} }
	for _, page := range []string{"/", "/documents/lost"} {
		body := ask(t, s, http.MethodGet, page).Body.String()
		if strings.Contains(body, "<script>") || strings.Contains(body, `onload="`) {
			t.Errorf("%s shows a text as it is:\n%s", page, body)
		}
	}
}

func TestFeed(t *testing.T) {
	s := site(newFleet())
	if body := ask(t, s, http.MethodGet, "/").Body.String(); strings.Contains(body, "feed") {
		t.Error("there is a feed where nothing feeds it")
	}
	at := time.Date(2026, 3, 2, 10, 11, 12, 345e6, time.UTC)
	s.Now = func() time.Time { return at }
	s.Events = func() []demo.Event {
		events := []demo.Event{{At: at, Kind: "curfew.session.ended.v1", Session: "019ab6d4-71e0-7c32-9f1d-4be2a0c10058"}}
		for range 20 {
			events = append(events, demo.Event{At: at, Kind: "curfew.logout.received.v1"})
		}
		return events
	}
	body := ask(t, s, http.MethodGet, "/").Body.String()
	wantAll(t, body, "<li><time>10:11:12.345</time><span>session ended</span><code>…a0c10058</code></li>", "<span>logout received</span></li>")
	if got := strings.Count(body, "<time>"); got != 8 {
		t.Errorf("%d events are shown, want the newest 8", got)
	}
}

func TestAssets(t *testing.T) {
	s := site(newFleet())
	for target, want := range map[string][2]string{
		"/demo/style.css": {"text/css; charset=utf-8", ".replicas"},
		"/demo/panel.js":  {"text/javascript; charset=utf-8", "/demo/verdicts"},
		"/demo/icon.svg":  {"image/svg+xml", "<svg"},
	} {
		w := ask(t, s, http.MethodGet, target)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want[0] || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: status %d, headers %v", target, w.Code, w.Header())
		}
		wantAll(t, w.Body.String(), want[1])
	}
	wantAll(t, ask(t, s, http.MethodGet, "/demo/style.css").Body.String(), "--accent: #3b4cca", "prefers-color-scheme: dark")
}

func TestNothingElseIsThere(t *testing.T) {
	s := site(newFleet())
	for _, test := range []struct {
		method, target string
		want           int
	}{
		{http.MethodGet, "/documents/none", http.StatusNotFound},
		{http.MethodGet, "/documents/", http.StatusNotFound},
		{http.MethodGet, "/demo/", http.StatusNotFound},
		{http.MethodGet, "/demo/demo.css", http.StatusNotFound},
		{http.MethodPost, "/elsewhere", http.StatusNotFound},
		{http.MethodPost, "/documents/berths", http.StatusNotFound},
		{http.MethodDelete, "/demo/provider", http.StatusNotFound},
		// A browser that reloads the answer to a sign-out.
		{http.MethodGet, "/demo/provider", http.StatusSeeOther},
		{http.MethodGet, "/demo/app", http.StatusSeeOther},
		{http.MethodGet, "/demo/everywhere", http.StatusSeeOther},
	} {
		if w := ask(t, s, test.method, test.target); w.Code != test.want {
			t.Errorf("%s %s: status %d, want %d", test.method, test.target, w.Code, test.want)
		}
	}
}
