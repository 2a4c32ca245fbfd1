package pages_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"curfew/sessions/pages"
)

const hostile = `<script>alert(1)</script>"' onload="x`

// page has a handler answer a browser.
func page(t *testing.T, show func(http.ResponseWriter, *http.Request), accept ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/auth/x", nil)
	r.Header["Accept"] = accept
	w := httptest.NewRecorder()
	show(w, r)
	return w
}

func problem(code, reference string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		pages.New("/auth").Problem(w, r, http.StatusBadGateway, code, reference)
	}
}

func confirm(username, action string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		pages.New("/auth").ConfirmLogout(w, r, username, action)
	}
}

func signedOut(login string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { pages.New("/auth").SignedOut(w, r, login) }
}

func nobody(login string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { pages.New("/auth").NobodySignedIn(w, r, login) }
}

func notFound(w http.ResponseWriter, r *http.Request) { pages.New("/auth").NotFound(w, r) }

func TestCodes(t *testing.T) {
	want := []string{
		"access_denied", "callback_invalid", "cross_site", "form_invalid", "frontchannel_invalid", "group_needed", "log_unavailable", "login_expired",
		"provider_error", "provider_unknown", "provider_unreachable", "return_refused", "return_too_long", "session_needed",
		"state_missing", "token_invalid", "too_many", "unsure", "userinfo_mismatch",
	}
	if got := pages.Codes(); !slices.Equal(got, want) {
		t.Errorf("codes %v, want %v", got, want)
	}
}

func TestEachProblemSaysWhatAndWhatToDo(t *testing.T) {
	titles := make(map[string]string)
	for _, code := range append(pages.Codes(), "never_heard_of") {
		w := page(t, problem(code, "K7Q2M4"), "text/html")
		body := w.Body.String()
		_, title, _ := strings.Cut(body, "<h1>")
		title, _, _ = strings.Cut(title, "</h1>")
		if other, taken := titles[title]; taken || title == "" {
			t.Errorf("%s has the title %q, as has %q", code, title, other)
		}
		titles[title] = code
		if got := strings.Count(body, "<p>"); got != 2 {
			t.Errorf("%s: %d paragraphs, want what happened and what to do", code, got)
		}
		if !strings.Contains(body, "<code>K7Q2M4</code>") {
			t.Errorf("%s does not show its reference", code)
		}
		if !strings.Contains(body, `class="button" href="/`) && (code != "unsure" || !strings.Contains(body, `class="button" href=""`)) {
			t.Errorf("%s leads nowhere", code)
		}
		if w.Code != http.StatusBadGateway {
			t.Errorf("%s: status %d, want the one given", code, w.Code)
		}
	}
}

func TestProblemWithoutReferenceShowsNone(t *testing.T) {
	if body := page(t, problem("token_invalid", "")).Body.String(); strings.Contains(body, "<code>") {
		t.Errorf("an empty reference is shown:\n%s", body)
	}
}

func TestProblemLeadsOn(t *testing.T) {
	for code, want := range map[string]string{
		"return_refused": `href="/"`,
		"login_expired":  `href="/auth/login"`,
		"cross_site":     `href="/auth/logout"`,
		"other":          `href="/"`,
	} {
		if body := page(t, problem(code, "r")).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s lacks %s", code, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	const policy = "default-src 'none'; style-src 'self'; form-action %; frame-ancestors 'none'; base-uri 'none'"
	for name, test := range map[string]struct {
		show  func(http.ResponseWriter, *http.Request)
		forms string
	}{
		"problem":    {problem("token_invalid", "r"), "'none'"},
		"signed out": {signedOut("/auth/login"), "'none'"},
		"nobody":     {nobody("/auth/login"), "'none'"},
		"not found":  {notFound, "'none'"},
		"choose":     {choose(pages.Choice{Title: "Staff", Link: "/auth/login?provider=staff"}), "'none'"},
		"sessions":   {yours(overview()), "'self'"},
		// The redirect that follows the form leads to the provider.
		"logout": {confirm("ada", "/auth/logout"), "'self' http: https:"},
	} {
		h := page(t, test.show).Header()
		for header, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Security-Policy": strings.Replace(policy, "%", test.forms, 1),
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "no-store",
			"Referrer-Policy":         "same-origin",
		} {
			if got := h.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
}

// forbidden is what the policy would keep a browser from honouring, and what
// leads to another host.
var forbidden = regexp.MustCompile(`<script|<style|<img|<iframe|http-equiv|//|\sstyle=|\son\w+=`)

func TestNothingThePolicyForbids(t *testing.T) {
	for _, show := range []func(http.ResponseWriter, *http.Request){
		problem("token_invalid", "r"), confirm("ada", "/auth/logout"), signedOut("/auth/login"),
		nobody("/auth/login"), notFound, choose(pages.Choice{Title: "Staff", Link: "/auth/login"}), yours(overview()),
	} {
		body := page(t, show).Body.String()
		if found := forbidden.FindString(body); found != "" {
			t.Errorf("a page holds %q:\n%s", found, body)
		}
	}
}

func TestHostileTextsStayText(t *testing.T) {
	for name, show := range map[string]func(http.ResponseWriter, *http.Request){
		"reference": problem("token_invalid", hostile),
		"code":      problem(hostile, "r"),
		"username":  confirm(hostile, "/auth/logout"),
		"action":    confirm("ada", hostile),
		"login":     signedOut(hostile),
		"nobody":    nobody(hostile),
		"choice":    choose(pages.Choice{Title: hostile, Link: hostile}),
		"sessions":  yours(pages.Overview{Username: hostile, Action: hostile, Visits: []pages.Visit{{ID: hostile, Device: hostile, Address: hostile}}}),
	} {
		if body := page(t, show).Body.String(); strings.Contains(body, "<script") || strings.Contains(body, `onload="`) {
			t.Errorf("%s reaches the page as it is:\n%s", name, body)
		}
	}
	for name, show := range map[string]func(http.ResponseWriter, *http.Request){
		"action": confirm("ada", "javascript:alert(1)"),
		"login":  signedOut("javascript:alert(1)"),
		"nobody": nobody("javascript:alert(1)"),
		"choice": choose(pages.Choice{Link: "javascript:alert(1)"}),
		"ends":   yours(pages.Overview{Action: "javascript:alert(1)", Visits: []pages.Visit{{}}}),
	} {
		if body := page(t, show).Body.String(); strings.Contains(body, "javascript:") {
			t.Errorf("%s may be a script:\n%s", name, body)
		}
	}
}

func TestConfirmLogoutAsks(t *testing.T) {
	body := page(t, confirm("ada", "/auth/logout")).Body.String()
	for _, want := range []string{`method="post" action="/auth/logout"`, `<bdi>ada</bdi>`, `<button class="button" type="submit">`} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s:\n%s", want, body)
		}
	}
	if body := page(t, confirm("", "/auth/logout")).Body.String(); strings.Contains(body, "signed in as") {
		t.Errorf("names nobody as signed in:\n%s", body)
	}
}

func TestNobodySignedInAsksNothing(t *testing.T) {
	w := page(t, nobody("/auth/login"))
	body := w.Body.String()
	if w.Code != http.StatusOK || strings.Contains(body, "<form") || strings.Contains(body, "Sign out?") {
		t.Errorf("status %d, want a page that asks nothing:\n%s", w.Code, body)
	}
	for _, want := range []string{"Nobody is signed in here", `<a class="button" href="/auth/login">`} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s:\n%s", want, body)
		}
	}
}

func TestNotFoundIsAPageLikeTheOthers(t *testing.T) {
	w := page(t, notFound, "text/html")
	if body := w.Body.String(); w.Code != http.StatusNotFound || !strings.Contains(body, "There is no such page") || !strings.Contains(body, `rel="stylesheet"`) {
		t.Errorf("status %d:\n%s", w.Code, body)
	}
	w = page(t, notFound, "application/json")
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusNotFound || got != "application/problem+json" || !strings.Contains(w.Body.String(), `"code":"not_found"`) {
		t.Errorf("a program gets %d %s:\n%s", w.Code, got, w.Body)
	}
}

func TestSignedOutStartsNoLogin(t *testing.T) {
	w := page(t, signedOut("/auth/login?rd=%2Fa"))
	if w.Code != http.StatusOK || w.Header().Get("Location") != "" || w.Header().Get("Refresh") != "" {
		t.Errorf("status %d, headers %v: want a page that stays", w.Code, w.Header())
	}
	if body := w.Body.String(); !strings.Contains(body, `<a class="button" href="/auth/login?rd=%2Fa">`) {
		t.Errorf("lacks the link to sign in:\n%s", body)
	}
}

func TestProgramsGetAProblemDocument(t *testing.T) {
	for _, test := range []struct {
		accept []string
		page   bool
	}{
		{nil, true},
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, true},
		{[]string{"TEXT/HTML"}, true},
		{[]string{"*/*"}, true},
		{[]string{"text/*"}, true},
		{[]string{"application/json, text/html;q=0.5"}, true},
		{[]string{"image/png", "text/html"}, true},
		{[]string{"application/json"}, false},
		{[]string{"application/json, text/plain, */*"}, false},
		{[]string{"application/problem+json"}, false},
		{[]string{"text/html;q=0"}, false},
		{[]string{"text/html;level=1; q=0.0, application/json"}, false},
		{[]string{"image/png"}, false},
		{[]string{""}, false},
	} {
		w := page(t, problem("access_denied", "R1"), test.accept...)
		want := "application/problem+json"
		if test.page {
			want = "text/html; charset=utf-8"
		}
		if got := w.Header().Get("Content-Type"); got != want {
			t.Errorf("Accept %q: answered %s, want %s", test.accept, got, want)
		}
	}
}

func TestProblemDocument(t *testing.T) {
	w := page(t, problem("access_denied", "R1"), "application/json")
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["code"] != "access_denied" || got["reference"] != "R1" || got["status"] != 502.0 || w.Code != 502 {
		t.Errorf("got %v with status %d", got, w.Code)
	}
	if got["title"] != "You were not let in" || !strings.Contains(got["detail"].(string), "cancelled") {
		t.Errorf("title and detail are %v", got)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestStyle(t *testing.T) {
	p := pages.New("/auth")
	body := page(t, signedOut("/auth/login")).Body.String()
	_, link, _ := strings.Cut(body, `<link rel="stylesheet" href="`)
	link, _, _ = strings.Cut(link, `"`)
	if !strings.HasPrefix(link, "/auth"+p.StylePath()+"?v=") {
		t.Fatalf("the page links %q", link)
	}
	for _, test := range []struct{ target, cache string }{
		{link, "public, max-age=31536000, immutable"},
		{"/auth" + p.StylePath(), "no-cache"},
		{"/auth" + p.StylePath() + "?v=older", "no-cache"},
	} {
		w := httptest.NewRecorder()
		p.ServeStyle(w, httptest.NewRequest(http.MethodGet, test.target, nil))
		if w.Code != http.StatusOK || w.Body.String() != pages.Style() {
			t.Errorf("%s: status %d and %d bytes", test.target, w.Code, w.Body.Len())
		}
		if got := w.Header().Get("Cache-Control"); got != test.cache {
			t.Errorf("%s: Cache-Control %q, want %q", test.target, got, test.cache)
		}
		if got := w.Header().Get("Content-Type"); got != "text/css; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", test.target, got)
		}
	}
	again := httptest.NewRequest(http.MethodGet, "/auth/style.css", nil)
	first := httptest.NewRecorder()
	p.ServeStyle(first, again)
	again.Header.Set("If-None-Match", first.Header().Get("ETag"))
	w := httptest.NewRecorder()
	if p.ServeStyle(w, again); w.Code != http.StatusNotModified {
		t.Errorf("asked again: status %d, want 304", w.Code)
	}
}
