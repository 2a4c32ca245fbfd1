package pages_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curfew/sessions/pages"
)

// faults are what is said about a folder, one a line.
func faults(t *testing.T, dir string) []string {
	t.Helper()
	p, err := pages.Open("/auth", dir)
	if err == nil {
		t.Fatal("the folder is taken")
	}
	if p != nil {
		t.Error("there are pages beside the error")
	}
	return strings.Split(err.Error(), "\n")
}

func TestEachFaultOfAFolder(t *testing.T) {
	const main = `{{define "title"}}T{{end}}{{define "main"}}`
	for name, test := range map[string]struct{ file, content, want string }{
		"unknown file":         {"logout.htm", "x", "logout.htm: has no meaning here: a pages folder holds frame.html, problem.html,"},
		"unknown page":         {"login.html", "x", "login.html: has no meaning here"},
		"a note":               {"README.md", "x", "README.md: has no meaning here"},
		"a verb":               {"50%s.css", "x", "50%s.css: has no meaning here: a pages folder holds frame.html, problem.html,"},
		"empty":                {"style.css", "", "style.css: is empty"},
		"too large":            {"logo.png", strings.Repeat("x", 256<<10+1), "logo.png: is larger than 256 KiB"},
		"not UTF-8":            {"nobody.html", "\xff", "nobody.html: is not in UTF-8"},
		"no language":          {"texts.klingonese.yaml", "logo: x", `texts.klingonese.yaml: "klingonese" is no language`},
		"undetermined":         {"texts.und.yaml", "logo: x", `texts.und.yaml: "und" is no language`},
		"oddly spelt":          {"texts.pt-br.yaml", "logo: x", "texts.pt-br.yaml: \"pt-br\" is written pt-BR: rename the file to texts.pt-BR.yaml"},
		"no YAML":              {"texts.fr.yaml", "logo: x\nlogout:\n  title: a: b\n", "texts.fr.yaml:3: is no YAML"},
		"unknown text":         {"texts.en.yaml", "logo: x\nlogout:\n  titel: Bye\n", "texts.en.yaml:3: there is no text logout.titel"},
		"unknown code":         {"texts.en.yaml", "problem.lost.title: Bye\n", "texts.en.yaml:1: there is no text problem.lost.title"},
		"text twice":           {"texts.en.yaml", "logo: x\nlogo: y\n", "texts.en.yaml:2: logo has a text already, in line 1"},
		"text twice, nested":   {"texts.en.yaml", "logout:\n  title: x\nlogout.title: y\n", "texts.en.yaml:3: logout.title has a text already, in line 2"},
		"empty text":           {"texts.en.yaml", "logo: \"\"\n", "texts.en.yaml:1: logo is empty"},
		"a number":             {"texts.en.yaml", "logo: 12\n", "texts.en.yaml:1: logo is no text to YAML: put it into quotes"},
		"nothing":              {"texts.en.yaml", "logo:\n", "texts.en.yaml:1: logo is no text to YAML"},
		"a list":               {"texts.en.yaml", "logo: [a, b]\n", "texts.en.yaml:1: is neither a text nor a group"},
		"one text":             {"texts.en.yaml", "Bye\n", "texts.en.yaml:1: is neither a text nor a group"},
		"an alias":             {"texts.en.yaml", "logo: &l Bye\nlogout.title: *l\n", "texts.en.yaml:2: is neither a text nor a group"},
		"a list as key":        {"texts.en.yaml", "? [a]\n: b\n", "texts.en.yaml:1: a key is not a name"},
		"two documents":        {"texts.en.yaml", "logo: x\n---\nlogo: y\n", "texts.en.yaml:2: a second document begins"},
		"name left out":        {"texts.fr.yaml", "logout.who: Bonjour.\n", "texts.fr.yaml:1: logout.who must have {username} in it, each once"},
		"name misspelt":        {"texts.fr.yaml", "logout.who: Bonjour {user}.\n", "texts.fr.yaml:1: logout.who must have {username} in it"},
		"name where is none":   {"texts.fr.yaml", "logo: \"{username}\"\n", "texts.fr.yaml:1: logo can have nothing in braces"},
		"part left out":        {"texts.fr.yaml", "device.both: \"{browser}\"\n", "texts.fr.yaml:1: device.both must have {browser}, {system} in it"},
		"does not parse":       {"nobody.html", main + "\n{{if}}{{end}}", "nobody.html:2: missing value for if"},
		"unclosed":             {"nobody.html", main, "nobody.html:1: unexpected EOF"},
		"no main":              {"nobody.html", `{{define "title"}}T{{end}}x`, "nobody.html: defines no main"},
		"no title":             {"nobody.html", `{{define "main"}}T{{end}}x`, "nobody.html: defines no title"},
		"frame without main":   {"frame.html", "<p>{{.Lang}}</p>", `frame.html: shows no page: it needs {{template "main" .}}`},
		"unknown field":        {"nobody.html", main + "\n{{.Nobody}}{{end}}", "nobody.html:2:2: executing"},
		"text misspelt":        {"nobody.html", main + `{{.Text "nobody.titel"}}{{end}}`, "there is no text nobody.titel"},
		"frame's field":        {"frame.html", `{{.Words}}{{template "main" .}}`, "frame.html:1:2: executing"},
		"frame's template":     {"frame.html", `{{template "main" .}}{{template "foot" .}}`, `no such template "foot"`},
		"broken HTML":          {"nobody.html", main + `<a href="{{.Link}}{{end}}`, "nobody.html: a tag or a quote in it is left open"},
		"fails now and then":   {"problem.html", main + `{{.Link}}{{.Reference}}{{if not .Reference}}{{index .Choices 3}}{{end}}{{end}}`, "problem.html:1:"},
		"no link":              {"signed-out.html", main + `Bye{{end}}`, "signed-out.html: does not show {{.Link}}"},
		"no reference":         {"problem.html", main + `<a href="{{.Link}}">on</a>{{end}}`, "problem.html: does not show {{.Reference}}"},
		"no choices":           {"choose.html", main + `Choose{{end}}`, "choose.html: does not show {{.Link}} of each of {{.Choices}}"},
		"logout by a link":     {"logout.html", main + `<a href="{{.Action}}">Bye</a>{{end}}`, `logout.html: does not show a form with method="post"`},
		"no others":            {"sessions.html", main + `{{.Link}}<form method="post" action="{{.Action}}">{{range .Visits}}<button name="session" value="{{.ID}}">x</button>{{end}}</form>{{end}}`, `sessions.html: does not show a button with name="others"`},
		"broken frame":         {"frame.html", `{{template "main" .}}<a href="`, "frame.html: a tag or a quote in it is left open"},
		"script":               {"nobody.html", main + "{{.Link}}\n<p\n>\n<script>x</script>{{end}}", "nobody.html:4: <script… is kept from working"},
		"inline style":         {"nobody.html", main + "{{.Link}}\n<p\n style='x'>{{end}}", "nobody.html:3: <p style=… is kept from working"},
		"handler":              {"nobody.html", main + `{{.Link}}<b class="x" onclick="x">{{end}}`, `onclick=… is kept from working`},
		"refresh":              {"frame.html", `{{template "main" .}}<meta http-equiv="refresh">`, "http-equiv… is kept"},
		"image from elsewhere": {"nobody.html", main + `{{.Link}}<img alt="" src="https://example.com/x.png">{{end}}`, "nobody.html:1: <img"},
		"style from elsewhere": {"frame.html", `<link rel="stylesheet" href="//example.com/x.css">{{template "main" .}}`, "frame.html:1: <link"},
		"font":                 {"style.css", "p { color: red }\n@font-face { src: url(x.woff2) }", "style.css:2: url(… fetches something"},
		"import":               {"style.css", `@import "x.css";`, "style.css:1: @import… fetches something"},
		"no PNG":               {"logo.png", "GIF89a", "logo.png: is no PNG image"},
		"no SVG":               {"logo.svg", "<p>logo</p>", "logo.svg: is no SVG image: it must begin with"},
		"SVG of no namespace":  {"logo.svg", "<svg/>", "logo.svg: is no SVG image: it must begin with"},
		"SVG cut off":          {"logo.svg", `<svg xmlns="http://www.w3.org/2000/svg">` + "\n<g>", "logo.svg: is no SVG image (export it as plain SVG): XML syntax error on line 2"},
		"no XML at all":        {"logo.svg", "logo", "logo.svg: is no SVG image"},
	} {
		got := faults(t, folder(t, map[string]string{test.file: test.content}))
		if len(got) != 1 || !strings.HasPrefix(got[0], "pages: ") || !strings.Contains(got[0], test.want) {
			t.Errorf("%s: said\n%s\nwant one fault with %s", name, strings.Join(got, "\n"), test.want)
		}
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	got := faults(t, folder(t, map[string]string{
		"notes.txt":       "x",
		"texts.en.yaml":   "logout:\n  titel: Bye\n  who: Hello\n",
		"texts.fr.yaml":   "logo: 1\n",
		"logout.html":     "{{if}}",
		"signed-out.html": `{{define "title"}}{{.Titel}}{{end}}{{define "main"}}{{.Link}}{{end}}`,
		"logo.svg":        "<p/>",
		"logo.png":        "x",
	}))
	for _, want := range []string{
		"logo.png: is no PNG", "logo.svg: is no SVG", "logout.html:1: ", "notes.txt: has no meaning", "signed-out.html:1:20: ",
		"texts.en.yaml:2: there is no text", "texts.en.yaml:3: logout.who must", "texts.fr.yaml:1: ",
	} {
		found := 0
		for _, line := range got {
			if strings.HasPrefix(line, "pages: "+want) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%q is said %d times:\n%s", want, found, strings.Join(got, "\n"))
		}
	}
	if len(got) != 8 {
		t.Errorf("%d faults, want 8:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestTwoLogosAreOneTooMany(t *testing.T) {
	got := faults(t, folder(t, map[string]string{
		"logo.svg": `<svg xmlns="http://www.w3.org/2000/svg"/>`, "logo.png": picture(t, 3),
	}))
	if len(got) != 1 || !strings.Contains(got[0], "keep one of them") {
		t.Errorf("said %q", got)
	}
}

// What is named in the folder and lies outside is not read, whatever the path
// to it; what a ConfigMap mounts is.
func TestNothingOutsideTheFolderIsRead(t *testing.T) {
	outside := folder(t, map[string]string{"style.css": "p { color: red }"})
	for name, target := range map[string]string{
		"absolute": filepath.Join(outside, "style.css"),
		"relative": "../" + filepath.Base(outside) + "/style.css",
		"nowhere":  "gone.css",
	} {
		dir := t.TempDir()
		if err := os.Symlink(target, filepath.Join(dir, "style.css")); err != nil {
			t.Fatal(err)
		}
		if got := faults(t, dir); len(got) != 1 || !strings.Contains(got[0], "style.css: is not to be read") {
			t.Errorf("%s: said %q", name, got)
		}
	}
	mounted := t.TempDir()
	if err := os.Mkdir(filepath.Join(mounted, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mounted, "..2026", "style.css"), []byte("p { color: red }"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"..data": "..2026", "style.css": "..data/style.css"} {
		if err := os.Symlink(to, filepath.Join(mounted, from)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pages.Open("/auth", mounted); err != nil {
		t.Errorf("a mounted ConfigMap is refused: %v", err)
	}
}

func TestAFolderInTheFolderIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "style.css"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := faults(t, dir); len(got) != 1 || !strings.Contains(got[0], "style.css: is not a file") {
		t.Errorf("said %q", got)
	}
}

// A fault that shows in one language only is found, too.
func TestEveryLanguageIsRehearsed(t *testing.T) {
	for _, language := range []string{"en", "de", "fr"} {
		got := faults(t, folder(t, map[string]string{
			"texts.fr.yaml": "logo: Exemple\n",
			"nobody.html":   `{{define "title"}}T{{end}}{{define "main"}}{{.Link}}{{if eq .Lang "` + language + `"}}{{.Text "nobody.titel"}}{{end}}{{end}}`,
		}))
		if len(got) != 1 || !strings.Contains(got[0], "there is no text nobody.titel") {
			t.Errorf("%s: said %q", language, got)
		}
	}
}

// What is commented out is not there.
func TestCommentsAreNoFault(t *testing.T) {
	open(t, map[string]string{"nobody.html": `{{/* <script> */}}{{define "title"}}T{{end}}{{define "main"}}<!-- <p style="x"> -->{{.Link}}{{end}}`})
}
