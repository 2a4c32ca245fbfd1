package pages

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// parts are what each page's template must define for the frame.
var parts = []string{"title", "main"}

// takeTemplate keeps a template that can be put beside others.
func (f *folder) takeTemplate(name string, content []byte) {
	text := string(content)
	f.fault(barredIn(name, text)...)
	page := strings.TrimSuffix(name, ".html")
	parsed, err := template.New(name).Parse(text)
	if err != nil {
		f.fault(templateFault(err))
		return
	}
	if page == frame {
		if !showsMain.MatchString(text) {
			f.faultf(name, `shows no page: it needs {{template "main" .}}`)
			return
		}
		f.templates[page] = text
		return
	}
	for _, part := range parts {
		if parsed.Lookup(part) == nil {
			f.faultf(name, `defines no %s: put it between {{define "%s"}} and {{end}}`, part, part)
			return
		}
	}
	f.templates[page] = text
}

var showsMain = regexp.MustCompile(`\{\{-?\s*template\s+"main"\s+\.\s*-?\}\}`)

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->|\{\{-?\s*/\*.*?\*/\s*-?\}\}`)
	// barred is what the pages' policy keeps a browser from honouring.
	barred = regexp.MustCompile(`(?is)<(?:script|style|iframe|object|embed|base)\b` +
		`|<meta\b[^<>]*?\shttp-equiv` +
		`|<[a-z][^<>]*?\s(?:style|on[a-z]+)\s*=` +
		`|<(?:img|link|source|video|audio|input)\b[^<>]*?\s(?:src|srcset|href)\s*=\s*["']?\s*(?:data:|(?:https?:)?//)`)
)

// barredIn finds what would be in a page for nothing.
func barredIn(file, text string) (faults []error) {
	text = comment.ReplaceAllStringFunc(text, func(c string) string { return strings.Repeat("\n", strings.Count(c, "\n")) })
	for _, at := range barred.FindAllStringIndex(text, -1) {
		found := strings.Join(strings.Fields(text[at[0]:at[1]]), " ")
		faults = append(faults, faultAt(file, lineOf(text, at[1]-1), fmt.Sprintf(
			"%s… is kept from working by the pages' policy, as are all scripts, inline styles and what is fetched from elsewhere: use a class, and style.css", found)))
	}
	return faults
}

var templateError = regexp.MustCompile(`(?s)^(?:html/)?template: ?(.*)$`)

// templateFault says what the template package says, which has file and line.
func templateFault(err error) error {
	text := err.Error()
	if match := templateError.FindStringSubmatch(text); match != nil {
		text = match[1]
	}
	return errors.New("pages: " + strings.Join(strings.Fields(text), " ") + " (docs/pages.md says what a template is given)")
}

// renderFault says what is wrong with a page. What a folder's template leaves
// open comes to light at the end of the frame, which may be ours.
func renderFault(err error, page string, theirs map[string]string) error {
	var syntax *template.Error
	if errors.As(err, &syntax) && syntax.ErrorCode == template.ErrEndContext {
		return fmt.Errorf("pages: %s.html: a tag or a quote in it is left open", blamed(page, theirs))
	}
	return templateFault(err)
}

// What the samples hold, to be found again on the page.
const (
	sampleLink      = "/sample-link"
	sampleAction    = "/sample-action"
	sampleChoice    = "/sample-choice"
	sampleVisit     = "sample-visit"
	sampleReference = "SAMPLE"
)

// essential is what a page is of no use without, by what it comes from.
var essential = map[string]map[string]string{
	"problem":    {sampleLink: "{{.Link}}", sampleReference: "{{.Reference}}"},
	"logout":     {sampleAction: "{{.Action}}", `method="post"`: `a form with method="post"`},
	"nobody":     {sampleLink: "{{.Link}}"},
	"signed-out": {sampleLink: "{{.Link}}"},
	"choose":     {sampleChoice: "{{.Link}} of each of {{.Choices}}"},
	"sessions": {
		sampleLink: "{{.Link}}", sampleAction: "{{.Action}}", `method="post"`: `a form with method="post"`,
		sampleVisit: "{{.ID}} of each of {{.Visits}}", `name="session"`: `a button with name="session"`, `name="others"`: `a button with name="others"`,
	},
}

// rehearse renders each page in each language, with all there can be and with as
// little, and returns what is wrong with the templates, of which theirs are a
// folder's.
func rehearse(p *Pages, theirs map[string]string) []error {
	faults := make(map[string]error)
	for _, spoken := range p.look.tongues {
		full, bare := p.samples(spoken)
		for _, page := range pageNames {
			body, err := p.look.render(page, full)
			if err == nil {
				_, err = p.look.render(page, bare)
			}
			if err != nil {
				err = renderFault(err, page, theirs)
				faults[err.Error()] = err
				continue
			}
			for part, source := range essential[page] {
				if !bytes.Contains(body, []byte(part)) {
					err := fmt.Errorf("pages: %s.html: does not show %s, without which the page is of no use", blamed(page, theirs), source)
					faults[err.Error()] = err
				}
			}
		}
	}
	sorted := make([]error, 0, len(faults))
	for _, text := range slices.Sorted(maps.Keys(faults)) {
		sorted = append(sorted, faults[text])
	}
	return sorted
}

// blamed is the folder's template that a page's fault comes from.
func blamed(page string, theirs map[string]string) string {
	if _, changed := theirs[page]; !changed {
		return frame
	}
	return page
}

// samples are a view with everything in it and one with as little as there can
// be.
func (p *Pages) samples(spoken tongue) (full, bare view) {
	at := time.Date(2026, 5, 4, 13, 2, 1, 0, time.UTC)
	full, bare = p.viewIn(spoken), p.viewIn(spoken)
	bare.Problem, bare.Link, bare.Action = bare.texts.problem("general"), sampleLink, sampleAction
	bare.Visits = []visit{newVisit(Visit{Current: true}, bare.texts)}
	full.Problem, full.Reference, full.Link, full.Action = bare.Problem, sampleReference, sampleLink, sampleAction
	full.Username, full.Choices = "ada", []Choice{{Title: "Sample", Link: sampleChoice}}
	full.Visits = append(full.Visits, newVisit(Visit{Device: "Firefox/1 Linux", Address: "192.0.2.1", Since: at, Seen: at, Current: true}, full.texts),
		newVisit(Visit{ID: sampleVisit, Since: at}, full.texts))
	full.Others, full.More, full.Done = true, true, true
	return full, bare
}
