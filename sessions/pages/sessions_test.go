package pages_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"curfew/sessions/pages"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
)

func choose(choices ...pages.Choice) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { pages.New("/auth").ChooseProvider(w, r, choices) }
}

func yours(o pages.Overview) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { pages.New("/auth").YourSessions(w, r, o) }
}

// overview is of somebody with a session here and two elsewhere.
func overview() pages.Overview {
	berlin := time.FixedZone("CET", 3600)
	return pages.Overview{
		Username: "ada", Action: "/auth/sessions",
		Visits: []pages.Visit{
			{ID: "id-1", Device: firefox, Address: "192.0.2.7", Since: time.Date(2026, 11, 3, 0, 5, 0, 0, berlin), Seen: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC), Current: true},
			{ID: "id-2", Device: iphone, Address: "2001:db8::7", Since: time.Date(2026, 11, 20, 18, 30, 0, 0, time.UTC)},
			{ID: "id-3", Device: "curl/8.14", Address: "198.51.100.9", Since: time.Date(2026, 11, 21, 18, 30, 0, 0, time.UTC)},
		},
	}
}

func TestChooseProviderLinksEach(t *testing.T) {
	w := page(t, choose(pages.Choice{Title: "Staff", Link: "/auth/login?provider=staff"}, pages.Choice{Title: "Guests & friends", Link: "/auth/login?provider=guests&rd=%2Fa"}))
	body := w.Body.String()
	for _, want := range []string{
		"<h1>Where do you want to sign in?</h1>",
		`<a class="button quiet" href="/auth/login?provider=staff"><bdi>Staff</bdi></a>`,
		`href="/auth/login?provider=guests&amp;rd=%2Fa"><bdi>Guests &amp; friends</bdi></a>`,
	} {
		if w.Code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("status %d, lacks %s:\n%s", w.Code, want, body)
		}
	}
	if got := strings.Count(body, "<li>"); got != 2 {
		t.Errorf("%d choices, want 2", got)
	}
}

func TestYourSessionsListsEach(t *testing.T) {
	w := page(t, yours(overview()))
	body := w.Body.String()
	for _, want := range []string{
		`These are the places where <strong><bdi>ada</bdi></strong> is signed in.`,
		`<h2 id="device-0" title="` + firefox + `"><bdi>Firefox on Linux</bdi></h2>`, `<h2 id="device-1" title="` + iphone + `"><bdi>Safari on iPhone</bdi></h2>`, `<h2 id="device-2" class="raw" title="curl/8.14"><bdi>curl/8.14</bdi></h2>`,
		// In UTC, whichever zone it was told in.
		`<time datetime="2026-11-02T23:05:00Z">2 November 2026, 23:05 UTC</time>`,
		`<time datetime="2026-11-26T09:00:00Z">26 November 2026, 09:00 UTC</time>`,
		`<bdi>2001:db8::7</bdi>`,
		`<button class="button danger" type="submit" name="others" value="1">`,
	} {
		if w.Code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("status %d, lacks %s:\n%s", w.Code, want, body)
		}
	}
	if got := strings.Count(body, ">Last used<"); got != 1 {
		t.Errorf("%d sessions say when they were last used, want the one of which it is known", got)
	}
}

var button = regexp.MustCompile(`<button id="([^"]+)"[^>]* name="session" value="([^"]+)" aria-labelledby="([^"]+)" aria-describedby="([^"]+)">`)

// A button says which session it ends to those who hear the page, too: its name
// is made of its own word and the device.
func TestEachButtonNamesItsSession(t *testing.T) {
	body := page(t, yours(overview())).Body.String()
	buttons := button.FindAllStringSubmatch(body, -1)
	if len(buttons) != 2 || buttons[0][2] != "id-2" || buttons[1][2] != "id-3" {
		t.Fatalf("buttons %q, want one for each session but the current", buttons)
	}
	for i, b := range buttons {
		labels := strings.Fields(b[3])
		if len(labels) != 2 || labels[0] != b[1] {
			t.Errorf("button %d is labelled by %q, want itself and its device", i, labels)
		}
		for _, id := range append(labels, b[4]) {
			if got := strings.Count(body, `id="`+id+`"`); got != 1 {
				t.Errorf("button %d refers to %s, which is there %d times", i, id, got)
			}
		}
	}
	if got := strings.Count(body, `method="post" action="/auth/sessions"`); got != 3 {
		t.Errorf("%d forms, want two for a session and one for all others", got)
	}
	if !strings.Contains(body, `href="/auth/logout"`) {
		t.Errorf("the current session does not lead to the sign-out page:\n%s", body)
	}
}

func TestYourSessionsSaysWhatThereIs(t *testing.T) {
	const others, nowhere, more, done = `name="others"`, "signed in nowhere else", "more sessions than this page lists", `role="status"`
	alone := overview()
	alone.Visits = alone.Visits[:1]
	for name, test := range map[string]struct {
		change func(*pages.Overview)
		want   map[string]bool
	}{
		"several":        {func(*pages.Overview) {}, map[string]bool{others: true, nowhere: false, more: false, done: false}},
		"more":           {func(o *pages.Overview) { o.More = true }, map[string]bool{others: true, more: true}},
		"alone":          {func(o *pages.Overview) { *o = alone }, map[string]bool{others: false, nowhere: true, more: false}},
		"alone and more": {func(o *pages.Overview) { *o = alone; o.More = true }, map[string]bool{others: true, nowhere: false, more: true}},
		"done":           {func(o *pages.Overview) { o.Done = true }, map[string]bool{done: true}},
		"nameless":       {func(o *pages.Overview) { o.Username = "" }, map[string]bool{"where you are signed in": true, "<strong>": false}},
	} {
		o := overview()
		test.change(&o)
		body := page(t, yours(o)).Body.String()
		for part, want := range test.want {
			if got := strings.Contains(body, part); got != want {
				t.Errorf("%s: %q is there: %t, want %t:\n%s", name, part, got, want, body)
			}
		}
	}
}
