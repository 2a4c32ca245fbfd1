package pages

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Open makes pages as New does, with the looks and the words that the folder dir
// has: see docs/pages.md for what it may hold. An empty dir is none. The folder is
// read once, and nothing outside it. Every page is rendered, so that whatever is
// wrong is found here: the error has every fault, one a line, with file and line.
func Open(prefix, dir string) (*Pages, error) {
	if dir == "" {
		return New(prefix), nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	// What was read has been read.
	defer func() { _ = root.Close() }()
	f := folder{root: root, templates: make(map[string]string), texts: make(map[language.Tag]texts)}
	f.readAll()
	p := &Pages{prefix: prefix}
	if p.look, err = f.look(); err != nil {
		f.fault(templateFault(err))
	} else {
		f.fault(rehearse(p, f.templates)...)
	}
	if len(f.faults) > 0 {
		return nil, errors.Join(f.faults...)
	}
	return p, nil
}

// largest is how large a file may be. It is kept in memory, and the logo is sent
// to phones.
const largest = 256 << 10

// folder is what has been found in one.
type folder struct {
	root      *os.Root
	templates map[string]string // by page
	texts     map[language.Tag]texts
	style     string
	logo      *logo
	faults    []error
}

func (f *folder) fault(faults ...error) { f.faults = append(f.faults, faults...) }

func (f *folder) faultf(file, format string, args ...any) {
	f.fault(fmt.Errorf("pages: %s: %w", file, fmt.Errorf(format, args...)))
}

func (f *folder) readAll() {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		f.fault(fmt.Errorf("pages: %w", err))
	}
	for _, entry := range entries {
		// A mounted Kubernetes ConfigMap has its real files behind "..data".
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		take := f.taker(entry.Name())
		if take == nil {
			f.faultf(entry.Name(), "has no meaning here: a pages folder holds %s.html, texts.LANG.yaml, style.css and logo.svg or logo.png",
				strings.Join(append([]string{frame}, pageNames...), ".html, "))
			continue
		}
		if content, fit := f.read(entry.Name()); fit {
			take(entry.Name(), content)
		}
	}
}

var textsFile = regexp.MustCompile(`^texts\.(.+)\.yaml$`)

// taker is what takes a file of this name; nil if nothing does.
func (f *folder) taker(name string) func(name string, content []byte) {
	page, isHTML := strings.CutSuffix(name, ".html")
	switch {
	case isHTML && (page == frame || slices.Contains(pageNames, page)):
		return f.takeTemplate
	case textsFile.MatchString(name):
		return f.takeTexts
	case name == "style.css":
		return f.takeStyle
	case name == "logo.svg", name == "logo.png":
		return f.takeLogo
	}
	return nil
}

// read returns what is in a file, if it is one that can be used.
func (f *folder) read(name string) ([]byte, bool) {
	info, err := f.root.Stat(name)
	switch {
	case err != nil:
		f.faultf(name, "is not to be read (what a link leads to must be in the folder, too): %w", err)
		return nil, false
	case !info.Mode().IsRegular():
		f.faultf(name, "is not a file")
		return nil, false
	}
	file, err := f.root.Open(name)
	if err != nil {
		f.faultf(name, "is not to be read: %w", err)
		return nil, false
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, largest+1))
	switch {
	case err != nil:
		f.faultf(name, "is not to be read: %w", err)
	case len(content) > largest:
		f.faultf(name, "is larger than 256 KiB: make it smaller")
	case len(content) == 0:
		f.faultf(name, "is empty: take it away to have ours")
	case name != "logo.png" && !utf8.Valid(content):
		f.faultf(name, "is not in UTF-8: save it as such")
	default:
		return content, true
	}
	return nil, false
}

func (f *folder) takeTexts(name string, content []byte) {
	spelt := textsFile.FindStringSubmatch(name)[1]
	tag, err := language.Parse(spelt)
	if err != nil || tag.IsRoot() {
		f.faultf(name, "%q is no language: name the file after one like fr or pt-BR", spelt)
		return
	}
	if tag.String() != spelt {
		f.faultf(name, "%q is written %s: rename the file to texts.%s.yaml", spelt, tag, tag)
		return
	}
	found, lines, faults := parseTexts(name, content)
	f.fault(append(faults, found.check(name, lines, english.texts)...)...)
	f.texts[tag] = found
}

// loads are what a stylesheet fetches. The pages' policy lets it fetch nothing.
var loads = regexp.MustCompile(`(?i)@import\b|\burl\(`)

func (f *folder) takeStyle(name string, content []byte) {
	for _, at := range loads.FindAllIndex(content, -1) {
		f.fault(faultAt(name, lineOf(string(content), at[0]), fmt.Sprintf(
			"%s… fetches something, which the pages' policy keeps a browser from: leave it out", content[at[0]:at[1]])))
	}
	f.style = string(content)
}

func (f *folder) takeLogo(name string, content []byte) {
	if f.logo != nil {
		f.faultf(name, "is a second logo beside logo.png: keep one of them")
		return
	}
	var err error
	if f.logo, err = newLogo(name, content); err != nil {
		f.faultf(name, "%w", err)
	}
}

// lineOf is the line that a place in a text is in.
func lineOf(text string, at int) int { return 1 + strings.Count(text[:at], "\n") }

// look is ours with what was found on top.
func (f *folder) look() (*look, error) {
	sheet := style
	if f.style != "" {
		sheet += "\n" + f.style
	}
	return newLook(f.templates, sheet, f.logo, f.tongues()...)
}

// tongues are all languages: ours, and those that the folder adds.
func (f *folder) tongues() []tongue {
	tags := []language.Tag{english.tag, german.tag}
	more := slices.SortedFunc(maps.Keys(f.texts), func(a, b language.Tag) int { return cmp.Compare(a.String(), b.String()) })
	for _, tag := range more {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	tongues := make([]tongue, len(tags))
	for i, tag := range tags {
		tongues[i] = newTongue(tag, f.whole(tag))
	}
	return tongues
}

// whole is every text of a language. What the folder does not say stays as we
// say it, or as the wider language does: de for de-CH; what is still lacking is
// English.
func (f *folder) whole(tag language.Tag) texts {
	all := make(texts)
	lay := func(tag language.Tag) {
		for _, t := range []tongue{english, german} {
			if t.tag == tag {
				maps.Copy(all, t.texts)
			}
		}
		maps.Copy(all, f.texts[tag])
	}
	lay(english.tag)
	var wider []language.Tag
	for ; !tag.IsRoot(); tag = tag.Parent() {
		wider = append(wider, tag)
	}
	for _, tag := range slices.Backward(wider) {
		lay(tag)
	}
	return all
}
