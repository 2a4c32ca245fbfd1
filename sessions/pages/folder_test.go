package pages_test

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curfew/sessions/pages"
)

// folder makes a folder with these files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, files map[string]string) *pages.Pages {
	t.Helper()
	p, err := pages.Open("/auth", folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// speaking asks for the signed-out page in some languages.
func speaking(p *pages.Pages, languages ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/auth/signed-out", nil)
	r.Header["Accept-Language"] = languages
	w := httptest.NewRecorder()
	p.SignedOut(w, r, "/auth/login")
	return w
}

func TestNoFolderIsOurs(t *testing.T) {
	p, err := pages.Open("/auth", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := speaking(p).Body.String(), speaking(pages.New("/auth")).Body.String(); got != want {
		t.Errorf("without a folder:\n%s\nwant\n%s", got, want)
	}
	if _, err := pages.Open("/auth", filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("a folder that is not there is opened")
	}
}

func TestAnEmptyFolderChangesNothing(t *testing.T) {
	p := open(t, map[string]string{".gitkeep": ""})
	if got, want := speaking(p).Body.String(), speaking(pages.New("/auth")).Body.String(); got != want {
		t.Errorf("with an empty folder:\n%s\nwant\n%s", got, want)
	}
}

func TestAFolderChangesWhatItHas(t *testing.T) {
	p := open(t, map[string]string{
		"texts.en.yaml": "signed_out:\n  title: Goodbye\nlogo: Example Ltd\nown:\n  imprint: Imprint\n",
		"texts.de.yaml": "own.imprint: Impressum\n",
		"texts.fr.yaml": "signed_out:\n  title: Au revoir\n  link: Se reconnecter\n",
		"texts.ar.yaml": "signed_out.title: مع السلامة\n",
		"frame.html": `<!doctype html><html lang="{{.Lang}}" dir="{{.Direction}}"><title>{{template "title" .}}</title>` +
			`<link rel="stylesheet" href="{{.Style}}"><img src="{{.Logo}}" alt="{{.Text "logo"}}">{{template "main" .}}<a href="/imprint">{{.Text "own.imprint"}}</a></html>`,
		"logo.svg":  `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><circle r="2"/></svg>`,
		"style.css": ":root { --accent: #066; }",
	})
	for _, test := range []struct{ accept, lang, direction, want string }{
		{"en", "en", "ltr", "<h1>Goodbye</h1>|>Imprint</a>|Sign in again|alt=\"Example Ltd\""},
		{"de", "de", "ltr", "<h1>Sie sind abgemeldet</h1>|>Impressum</a>"},
		{"fr-CA", "fr", "ltr", "<h1>Au revoir</h1>|Se reconnecter|Your session has ended|>Imprint</a>"},
		{"ar", "ar", "rtl", "<h1>مع السلامة</h1>"},
	} {
		w := speaking(p, test.accept)
		body := w.Body.String()
		for want := range strings.SplitSeq(test.want, "|") {
			if !strings.Contains(body, want) {
				t.Errorf("%s: lacks %s:\n%s", test.accept, want, body)
			}
		}
		if got := w.Header().Get("Content-Language"); got != test.lang || !strings.Contains(body, `lang="`+test.lang+`" dir="`+test.direction+`"`) {
			t.Errorf("%s: Content-Language %s:\n%s", test.accept, got, body)
		}
	}
	if got := speaking(p).Header().Get("Content-Security-Policy"); !strings.Contains(got, "; img-src 'self'; form-action") {
		t.Errorf("with a logo the policy is %q", got)
	}
	w := httptest.NewRecorder()
	p.ServeStyle(w, httptest.NewRequest(http.MethodGet, "/auth/style.css", nil))
	if got, want := w.Body.String(), pages.Style()+"\n:root { --accent: #066; }"; got != want {
		t.Errorf("the stylesheet has %d bytes, want ours with theirs behind it", len(got))
	}
}

// A wider language is what a narrower one falls back to.
func TestANarrowLanguageLeansOnItsWiderOne(t *testing.T) {
	p := open(t, map[string]string{
		"texts.de.yaml":    "signed_out.tip: Tür zu.\n",
		"texts.de-CH.yaml": "signed_out.title: Uf Widerluege\n",
	})
	for accept, want := range map[string]string{"de-CH": "Uf Widerluege", "de-AT": "Sie sind abgemeldet", "en": "You are signed out"} {
		body := speaking(p, accept).Body.String()
		if !strings.Contains(body, want) || accept != "en" && !strings.Contains(body, "Tür zu.") {
			t.Errorf("%s: lacks %s, or what German says:\n%s", accept, want, body)
		}
	}
}

func picture(t *testing.T, side int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLogo(t *testing.T) {
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
	for name, test := range map[string]struct{ content, kind string }{
		"logo.svg": {svg, "image/svg+xml"},
		"logo.png": {picture(t, 3), "image/png"},
	} {
		p := open(t, map[string]string{name: test.content})
		_, link, _ := strings.Cut(speaking(p).Body.String(), `<img class="logo" src="`)
		link, _, _ = strings.Cut(link, `"`)
		if !strings.HasPrefix(link, "/auth"+p.LogoPath()+"?v=") {
			t.Fatalf("%s: the page shows %q", name, link)
		}
		w := httptest.NewRecorder()
		p.ServeLogo(w, httptest.NewRequest(http.MethodGet, link, nil))
		if w.Code != http.StatusOK || w.Body.String() != test.content {
			t.Errorf("%s: status %d, %d bytes", name, w.Code, w.Body.Len())
		}
		for header, want := range map[string]string{
			"Content-Type":            test.kind,
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "public, max-age=31536000, immutable",
			"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
}

func TestNoLogoIsNoPage(t *testing.T) {
	p := pages.New("/auth")
	w := httptest.NewRecorder()
	p.ServeLogo(w, httptest.NewRequest(http.MethodGet, "/auth/logo", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "There is no such page") {
		t.Errorf("status %d:\n%s", w.Code, w.Body)
	}
	if body := speaking(p).Body.String(); strings.Contains(body, "<img") {
		t.Errorf("a page without a logo shows one:\n%s", body)
	}
}

// A program that holds pages as its zero value has no folder, and works.
func TestTheZeroValueServes(t *testing.T) {
	var p pages.Pages
	if body := speaking(&p).Body.String(); !strings.Contains(body, `href="/style.css?v=`) || !strings.Contains(body, "You are signed out") {
		t.Errorf("the zero value says:\n%s", body)
	}
}
