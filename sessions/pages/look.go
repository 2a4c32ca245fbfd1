package pages

import (
	"bytes"
	"embed"
	"html/template"

	"golang.org/x/text/language"
)

// look is what the pages look like and say. It does not change once it is made.
type look struct {
	pages   map[string]*template.Template
	tongues []tongue // the first is English
	matcher language.Matcher
	style   string
	version string // of the style
	logo    *logo  // nil: none
}

//go:embed templates
var templateFiles embed.FS

// pageNames are the pages, each of which has a template of its own; the frame
// around them is shared.
var pageNames = []string{"problem", "logout", "nobody", "signed-out", "choose", "sessions"}

const frame = "frame"

// ours is the look of pages that nobody has changed.
var ours = plain()

func plain() *look {
	l, err := newLook(nil, style, nil, english, german)
	if err != nil {
		panic(err)
	}
	return l
}

// newLook puts a look together. Of the templates, those that are not given are
// ours.
func newLook(templates map[string]string, style string, emblem *logo, tongues ...tongue) (*look, error) {
	l := &look{
		pages: make(map[string]*template.Template), tongues: tongues,
		style: style, version: versionOf(style), logo: emblem,
	}
	for _, page := range pageNames {
		set := template.New("")
		for _, name := range []string{frame, page} {
			text, given := templates[name]
			if !given {
				content, err := templateFiles.ReadFile("templates/" + name + ".html")
				if err != nil {
					return nil, err
				}
				text = string(content)
			}
			if _, err := set.New(name + ".html").Parse(text); err != nil {
				return nil, err
			}
		}
		l.pages[page] = set
	}
	tags := make([]language.Tag, len(tongues))
	for i, t := range tongues {
		tags[i] = t.tag
	}
	l.matcher = language.NewMatcher(tags)
	return l, nil
}

func (l *look) render(page string, v view) ([]byte, error) {
	var body bytes.Buffer
	if err := l.pages[page].ExecuteTemplate(&body, frame+".html", v); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}
