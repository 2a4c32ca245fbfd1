package pages_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"curfew/sessions/pages"
)

// flatten lists the texts of a file by key.
func flatten(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(content, &tree); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	flat := make(map[string]string)
	var walk func(key string, value any)
	walk = func(key string, value any) {
		group, ok := value.(map[string]any)
		for name, below := range group {
			walk(strings.TrimPrefix(key+"."+name, "."), below)
		}
		if text, isText := value.(string); !ok && isText {
			flat[key] = text
		} else if !ok {
			t.Errorf("%s: %s is %v, not a text", file, key, value)
		}
	}
	walk("", tree)
	return flat
}

// Every language says everything: the same texts, none of them empty, and the
// problems that there are codes for.
func TestEveryLanguageIsWhole(t *testing.T) {
	want := flatten(t, "texts/en.yaml")
	for _, file := range []string{"texts/en.yaml", "texts/de.yaml"} {
		got := flatten(t, file)
		for key := range want {
			if strings.TrimSpace(got[key]) == "" {
				t.Errorf("%s: %s has no text", file, key)
			}
		}
		for key := range got {
			if _, known := want[key]; !known {
				t.Errorf("%s: %s is not in texts/en.yaml", file, key)
			}
		}
		var codes []string
		for key := range got {
			if code, ok := strings.CutPrefix(strings.TrimSuffix(key, ".title"), "problem."); ok && strings.HasSuffix(key, ".title") {
				codes = append(codes, code)
			}
		}
		slices.Sort(codes)
		if !slices.Equal(codes, pages.Codes()) {
			t.Errorf("%s has problems %v, want %v", file, codes, pages.Codes())
		}
	}
	// Our own files pass what a folder's must, names in braces included.
	for _, language := range []string{"en", "de"} {
		content, err := os.ReadFile("texts/" + language + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		open(t, map[string]string{"texts." + language + ".yaml": string(content)})
	}
}

func TestTheLanguageIsTheRequests(t *testing.T) {
	const en, de = "You are signed out", "Sie sind abgemeldet"
	for _, test := range []struct {
		accept []string
		lang   string
		title  string
	}{
		{nil, "en", en},
		{[]string{""}, "en", en},
		{[]string{"en-GB,en;q=0.9"}, "en", en},
		{[]string{"de"}, "de", de},
		{[]string{"DE-at"}, "de", de},
		{[]string{"de-AT"}, "de", de},
		{[]string{"de-CH-1901"}, "de", de},
		{[]string{"fr, de;q=0.5"}, "de", de},
		{[]string{"fr", "de;q=0.5"}, "de", de},
		{[]string{"en;q=0.4, de;q=0.6"}, "de", de},
		{[]string{"de;q=0.4, en;q=0.6"}, "en", en},
		{[]string{"de;q=0, en;q=0.1"}, "en", en},
		{[]string{"de;q=0"}, "en", en},
		{[]string{"ja"}, "en", en},
		{[]string{"*"}, "en", en},
		{[]string{"*, de;q=0.5"}, "de", de},
		{[]string{"de;q=x"}, "en", en},
		{[]string{"!"}, "en", en},
		{[]string{strings.Repeat("fr,", 400) + "de"}, "en", en},
		{[]string{strings.Repeat("-", 1000)}, "en", en},
	} {
		w := speaking(pages.New("/auth"), test.accept...)
		body := w.Body.String()
		if !strings.Contains(body, "<h1>"+test.title+"</h1>") || !strings.Contains(body, `<html lang="`+test.lang+`" dir="ltr">`) {
			t.Errorf("%.60q: want %s:\n%s", test.accept, test.lang, body)
		}
		if got := w.Header().Get("Content-Language"); got != test.lang {
			t.Errorf("%.60q: Content-Language %q, want %s", test.accept, got, test.lang)
		}
		if got := w.Header().Get("Vary"); got != "Accept, Accept-Language" {
			t.Errorf("%.60q: Vary %q", test.accept, got)
		}
	}
}

func TestEveryPageSpeaksGerman(t *testing.T) {
	for want, show := range map[string]func(http.ResponseWriter, *http.Request){
		"Sie wurden nicht eingelassen":  problem("access_denied", "K7Q2M4"),
		"Etwas ist schiefgegangen":      problem("never_heard_of", ""),
		"Diese Seite gibt es nicht":     notFound,
		"Abmelden?":                     confirm("ada", "/auth/logout"),
		"Sie sind abgemeldet":           signedOut("/auth/login"),
		"Hier ist niemand angemeldet":   nobody("/auth/login"),
		"Wo möchten Sie sich anmelden?": choose(pages.Choice{Title: "Staff", Link: "/auth/login"}),
		"2. November 2026, 23:05 UTC":   yours(overview()),
		"An diesen Stellen ist <strong><bdi>ada</bdi></strong> angemeldet.": yours(overview()),
		"Sie sind als <strong><bdi>ada</bdi></strong> angemeldet.":          confirm("ada", "/auth/logout"),
	} {
		r := httptest.NewRequest(http.MethodGet, "/auth/x", nil)
		r.Header.Set("Accept-Language", "de-AT,de;q=0.9,en;q=0.8")
		w := httptest.NewRecorder()
		if show(w, r); !strings.Contains(w.Body.String(), want) || w.Header().Get("Content-Language") != "de" {
			t.Errorf("lacks %s:\n%s", want, w.Body)
		}
	}
}

func TestProgramsAreToldInTheirLanguage(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/auth/x", nil)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Language", "de")
	w := httptest.NewRecorder()
	problem("access_denied", "R1")(w, r)
	var got struct{ Code, Title string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Code != "access_denied" || got.Title != "Sie wurden nicht eingelassen" || w.Header().Get("Content-Language") != "de" {
		t.Errorf("got %+v in %q", got, w.Header().Get("Content-Language"))
	}
}
