package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/sessions/pages"
)

// screen is what a page is seen on.
type screen struct {
	name          string
	width, height int64
	dark          bool
}

// screens are those that every page is looked at on.
func screens() []screen {
	return []screen{
		{"light", 760, 560, false},
		{"dark", 760, 560, true},
		{"light-phone", 390, 760, false},
		{"dark-phone", 390, 760, true},
	}
}

// looks has a tab be a screen.
func (b *tab) looks(s screen, scale float64) {
	b.t.Helper()
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	act(b, chromedp.EmulateViewport(s.width, s.height, chromedp.EmulateScale(scale)))
	act(b, chromedp.Func(func(ctx context.Context, at *chromedp.Target) error {
		_, err := cdp.Call(ctx, at, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// TestPages has a browser look at every page.
func TestPages(t *testing.T) {
	axe := readAxe(t)
	stage := pageStage(t, pages.New("/auth"))
	b := openChromium(t).person(t)
	b.brings(axe)
	t.Run("whoever looks for faults finds them", func(t *testing.T) { b.findsFaults(t, stage) })
	b.looksAtAll(t, stage, screens()...)
}

// TestPagesWithALogo does so in a language whose words are long, with a logo that
// is wider than a phone.
func TestPagesWithALogo(t *testing.T) {
	axe := readAxe(t)
	dir := t.TempDir()
	logo := `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="90" viewBox="0 0 900 90"><rect width="900" height="90" fill="#888"/></svg>`
	for name, content := range map[string]string{"logo.svg": logo, "texts.de.yaml": "logo: Hafenbibliothek"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := pages.Open("/auth", dir)
	if err != nil {
		t.Fatal(err)
	}
	stage := pageStage(t, p)
	b := openChromium(t).person(t)
	act(b, chromedp.Func(func(ctx context.Context, at *chromedp.Target) error {
		_, err := cdp.Call(ctx, at, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "de"}})
		return err
	}))
	b.brings(axe)
	b.looksAtAll(t, stage, screens()[3])
	if got := act(b, chromedp.Evaluate[string](`document.documentElement.lang + " " + (document.querySelector("img").naturalWidth > 0)`)); got != "de true" {
		t.Errorf("the language, and whether the logo is shown: %s", got)
	}
}

// looksAtAll wants no fault of any page.
func (b *tab) looksAtAll(t *testing.T, stage *httptest.Server, on ...screen) {
	for _, shown := range allShown() {
		t.Run(shown.name, func(t *testing.T) {
			whole := b.t
			b.t = t
			defer func() { b.t = whole }()
			b.open(stage.URL + "/auth/" + shown.name)
			if got := b.complained(); got != nil {
				t.Errorf("the browser complains: %q", got)
			}
			if b.unstyled() {
				t.Error("the page's own stylesheet does not work")
			}
			for _, fault := range slices.Concat(b.narrow(), b.tabbed()) {
				t.Error(fault)
			}
			for _, s := range on {
				b.looks(s, 1)
				for _, fault := range b.judged() {
					t.Errorf("%s: %s", s.name, fault)
				}
			}
		})
	}
}

func (b *tab) findsFaults(t *testing.T, stage *httptest.Server) {
	b.open(stage.URL + "/auth/spoilt")
	if got := strings.Join(b.complained(), "\n"); strings.Count(got, "Content Security Policy") < 3 {
		t.Errorf("of a style, a styled element and a picture that its policy forbids the browser says: %s", got)
	}
	if !b.unstyled() || b.narrow() == nil || b.tabbed() == nil {
		t.Error("a page that is too wide, has no style, and jumps about under the tab key passes")
	}
	got := strings.Join(b.judged(), "\n")
	for _, want := range []string{"image-alt", "html-has-lang", "tabindex", "region", "color-contrast"} {
		if !strings.Contains(got, want) {
			t.Errorf("axe does not find %s: %s", want, got)
		}
	}
	// The pages' policy keeps out what somebody gets into one.
	b.open(stage.URL + "/auth/signed-out")
	act(b, chromedp.Evaluate[chromedp.Void](`document.body.append(Object.assign(document.createElement("script"), {textContent: "window.got = 1"}))`))
	if act(b, chromedp.Evaluate[bool](`"got" in window`)) || b.complained() == nil {
		t.Error("a script that was put into a page has run")
	}
}

// unstyled reports whether a page looks as it does without a stylesheet.
func (b *tab) unstyled() bool {
	b.t.Helper()
	return act(b, chromedp.Evaluate[bool](`getComputedStyle(document.body).marginTop != "0px"`))
}

// narrow finds where one would have to scroll sideways: on a screen of 320 pixels,
// which is one of 1280 magnified four times (WCAG 1.4.10), on one magnified twice,
// and with letters twice as large (1.4.4).
func (b *tab) narrow() (faults []string) {
	b.t.Helper()
	defer act(b, chromedp.Evaluate[chromedp.Void](`document.documentElement.style.fontSize = ""`))
	for _, c := range []struct {
		width   int64
		scale   float64
		letters string
	}{{320, 1, ""}, {640, 2, ""}, {1280, 1, "200%"}} {
		b.looks(screen{width: c.width, height: 800}, c.scale)
		wide := act(b, chromedp.Evaluate[int64](`document.documentElement.style.fontSize = "`+c.letters+`", document.documentElement.scrollWidth`))
		if wide > c.width {
			faults = append(faults, fmt.Sprintf("the page is %d pixels wide where there are %d, letters %q", wide, c.width, c.letters))
		}
	}
	return faults
}

// controls lists what can be used on a page, in the order in which it is read.
const controls = `[...document.querySelectorAll("a[href], button, input, select, summary")].map((e, i) => (e.dataset.at = i, e.innerText))`

// focused says which of the controls has the focus, if whoever looks can see it
// once the page has been scrolled to it.
const focused = `new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))).then(() => {
	const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
	if (e === document.body) return "nothing";
	if (!e.matches(":focus-visible") || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return "no outline at " + e.innerText;
	const ring = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
	if (box.top < ring || box.bottom > innerHeight - ring || box.left < ring || box.right > innerWidth - ring) return "out of sight, from " + box.top + " to " + box.bottom + " of " + innerHeight + ": " + e.innerText;
	return e.dataset.at;
})`

// tabbed finds what is not reached, in its order and to be seen, with the tab key.
func (b *tab) tabbed() (faults []string) {
	b.t.Helper()
	names := act(b, chromedp.Evaluate[[]string](controls))
	act(b, chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	for i, name := range names {
		act(b, chromedp.KeyEvent(kb.Tab))
		if got := act(b, chromedp.Evaluate[string](focused, chromedp.EvalAwaitPromise)); got != fmt.Sprint(i) {
			faults = append(faults, fmt.Sprintf("the tab key reaches %s, want %d, %q", got, i, name))
		}
	}
	if len(names) == 0 {
		faults = append(faults, "the page leads nowhere")
	}
	return faults
}

// readAxe reads axe, the rules of accessible pages. Without it the test is skipped,
// or fails where CI=true.
func readAxe(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("testdata/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		what := "NOT TESTED: axe is not installed: run make parts to have pages held to its rules"
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	return string(content)
}

// brings has every page from now on come with axe, past its policy, as an
// extension of a browser would.
func (b *tab) brings(axe string) {
	b.t.Helper()
	act(b, chromedp.Func(func(ctx context.Context, at *chromedp.Target) error {
		_, err := cdp.Call(ctx, at, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: axe})
		return err
	}))
}

// judge asks axe for what is wrong, and for what it cannot tell.
const judge = `axe.run(document, {
	runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	resultTypes: ["violations", "incomplete"],
}).then((r) => [...r.violations, ...r.incomplete].flatMap((v) => v.nodes.map((n) =>
	v.id + ": " + v.help + ": " + n.html + " " + n.failureSummary)))`

// judged is what axe finds wrong with a page.
func (b *tab) judged() []string {
	b.t.Helper()
	return act(b, chromedp.Evaluate[[]string](judge, chromedp.EvalAwaitPromise))
}
