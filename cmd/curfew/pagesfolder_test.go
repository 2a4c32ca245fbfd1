package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func pagesIn(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A folder with the operator's own words, style and logo is what people see.
func TestPagesOfAFolder(t *testing.T) {
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"/>`
	h := newAppHouse(t, "CURFEW_PAGES", pagesIn(t, map[string]string{
		"texts.de.yaml": "not_found.title: Hier ist nichts\n", "logo.svg": svg, "style.css": "p { color: teal }\n",
	}))
	for path, want := range map[string]struct {
		status     int
		kind, body string
	}{
		"/auth/nowhere":   {http.StatusNotFound, "text/html; charset=utf-8", `<h1>Hier ist nichts</h1>`},
		"/auth/logo":      {http.StatusOK, "image/svg+xml", svg},
		"/auth/style.css": {http.StatusOK, "text/css; charset=utf-8", "p { color: teal }"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.replicas[0].public+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Language", "de-AT")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want.status || resp.Header.Get("Content-Type") != want.kind || !strings.Contains(string(body), want.body) {
			t.Errorf("%s: %d %s %v, want %d %s with %s\n%s", path, resp.StatusCode, resp.Header.Get("Content-Type"), err, want.status, want.kind, want.body, body)
		}
	}
}

// What is wrong with the folder is wrong with the configuration: all of it is
// told at once, beside what else is wrong, and nothing starts.
func TestAWrongPagesFolder(t *testing.T) {
	_, err := load(with("CURFEW_PREFIX", "auth", "CURFEW_PAGES", pagesIn(t, map[string]string{
		"texts.en.yaml": "logo: 1\n", "logout.html": "{{if}}", "notes.txt": "x",
	})))
	if err == nil {
		t.Fatal("a wrong folder is taken")
	}
	for _, want := range []string{
		"CURFEW_PREFIX: ", "CURFEW_PAGES: pages: texts.en.yaml:1: ", "CURFEW_PAGES: pages: logout.html:1: ", "CURFEW_PAGES: pages: notes.txt: ",
	} {
		if !strings.Contains(err.Error(), "\n  "+want) {
			t.Errorf("%q is not said:\n%v", want, err)
		}
	}
	if _, err := load(with("CURFEW_PAGES", filepath.Join(t.TempDir(), "nowhere"))); err == nil || !strings.Contains(err.Error(), "CURFEW_PAGES: ") {
		t.Errorf("a folder that is not there: %v", err)
	}
}
