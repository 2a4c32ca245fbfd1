package pages

import (
	"fmt"
	"strings"
)

// view is what the templates are given. Those of a folder are written against
// it: docs/pages.md says what it has.
type view struct {
	Lang      string
	Direction string
	Style     string // address of the stylesheet
	Logo      string // address of the logo; empty: there is none
	Problem   problem
	Reference string
	Link      string
	Username  string
	Action    string
	Choices   []Choice
	Visits    []visit
	Others    bool // there is more than the current session
	More      bool
	Done      bool
	texts     texts
}

// Text is the text of a key in the page's language.
func (v view) Text(key string) (string, error) {
	text, known := v.texts[key]
	if !known {
		return "", fmt.Errorf("there is no text %s (one of your own goes into texts.en.yaml, too: the others fall back to it)", key)
	}
	return text, nil
}

// around is a text with a place in it for a name.
type around struct{ Before, After string }

// Around is a text taken apart at its name, so that a template can set the name
// off, wherever the language has it.
func (v view) Around(key string) (around, error) {
	text, err := v.Text(key)
	at := placeholder.FindStringIndex(text)
	if err != nil || at == nil {
		return around{Before: text}, err
	}
	return around{text[:at[0]], text[at[1]:]}, nil
}

// fill puts values into a text, given in pairs of place and value.
func (t texts) fill(key string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(t[key])
}
