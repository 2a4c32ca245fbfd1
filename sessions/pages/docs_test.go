package pages_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"curfew/sessions/pages"
)

func guide(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../../docs/pages.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// example is a block of the page whose first line names a file.
var example = regexp.MustCompile("(?ms)^```\\w+ (\\S+)\n(.*?)^```$")

// The examples of docs/pages.md are a folder that works, and do what it says.
func TestTheExamplesOfTheGuide(t *testing.T) {
	files := make(map[string]string)
	for _, match := range example.FindAllStringSubmatch(guide(t), -1) {
		files[match[1]] = match[2]
	}
	for _, name := range []string{"texts.en.yaml", "texts.fr.yaml", "logo.svg", "style.css", "frame.html", "signed-out.html"} {
		if files[name] == "" {
			t.Errorf("there is no example of %s", name)
		}
	}
	p := open(t, files)
	for language, wants := range map[string][]string{
		"en": {"<title>Goodbye · Example Ltd</title>", `alt="Example Ltd"`, "nothing you had open", ">Imprint</a>"},
		"fr": {"<h1>Au revoir</h1>", "Se reconnecter", ">Mentions légales</a>"},
		"de": {"Sie sind abgemeldet", ">Imprint</a>"},
	} {
		body := speaking(p, language).Body.String()
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: lacks %s:\n%s", language, want, body)
			}
		}
	}
	w := httptest.NewRecorder()
	p.ServeStyle(w, httptest.NewRequest(http.MethodGet, "/auth/style.css", nil))
	if !strings.HasSuffix(w.Body.String(), "\n"+files["style.css"]) {
		t.Error("the example's stylesheet is not at the end of what is served")
	}
}

// The fault that the guide shows is the one that there is.
func TestTheFaultOfTheGuide(t *testing.T) {
	got := faults(t, folder(t, map[string]string{"texts.en.yaml": "signed_out:\n  titel: Goodbye\n"}))
	if want := "\nCURFEW_PAGES: " + strings.Join(got, "\n") + "\n"; !strings.Contains(guide(t), want) {
		t.Errorf("the guide does not say %q", want)
	}
}

var given = regexp.MustCompile("(?m)^\\| ([^|]+) \\| `(\\.[^`]+)` \\|")

// What the guide says that a template is given, it is given.
func TestTheTableOfTheGuide(t *testing.T) {
	names := regexp.MustCompile("`([a-z-]+)`")
	rows := given.FindAllStringSubmatch(guide(t), -1)
	if len(rows) < 20 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	for _, row := range rows {
		on := names.FindAllStringSubmatch(row[1], -1)
		if row[1] == "all" {
			on = [][]string{{"", "problem"}, {"", "logout"}, {"", "nobody"}, {"", "signed-out"}, {"", "choose"}, {"", "sessions"}}
		}
		for _, page := range on {
			ours, err := os.ReadFile("templates/" + page[1] + ".html")
			if err != nil {
				t.Fatal(err)
			}
			open(t, map[string]string{page[1] + ".html": strings.Replace(string(ours), `{{define "main" -}}`, `{{define "main" -}}{{if `+row[2]+`}}{{end}}`, 1)})
		}
	}
}

// The guide links to the texts, so they must be the ones in use.
func TestTheTextsOfTheGuide(t *testing.T) {
	if got, want := speaking(pages.New("/auth")).Body.String(), flatten(t, "texts/en.yaml")["signed_out.what"]; !strings.Contains(got, want) {
		t.Errorf("the page does not say %q:\n%s", want, got)
	}
}
