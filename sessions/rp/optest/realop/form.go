package realop

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// form is a provider's form, told from all others by its data-step attribute.
type form struct {
	step   string
	action *url.URL
	values url.Values
}

// stepAuto is the step of a form that a page sends by itself, with the one
// script there is: oidc-provider's form_post.
const (
	stepAuto   = "auto"
	autoScript = "document.forms[0].submit()"
)

// findForm reads the first form with a data-step on a page; nil if there is
// none. The pages of both providers are written so that a lenient XML decoder
// can read them, which saves an HTML parser.
func findForm(page *url.URL, body []byte) (*form, error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	decoder.Strict = false
	decoder.AutoClose = xml.HTMLAutoClose
	decoder.Entity = xml.HTMLEntity
	var found *form
	reader := formReader{page: page, auto: bytes.Contains(body, []byte(autoScript))}
	for {
		token, err := decoder.Token()
		if err != nil { // the page's end, or one that only a browser can read
			return found, nil //nolint:nilerr // what was found up to there counts
		}
		switch token := token.(type) {
		case xml.StartElement:
			if found, err = reader.read(found, token); err != nil {
				return nil, err
			}
		case xml.EndElement:
			if token.Name.Local == "form" && found != nil {
				return found, nil
			}
		}
	}
}

type formReader struct {
	page *url.URL
	auto bool
}

// read takes an element in: f is nil until its form has begun.
func (r formReader) read(f *form, element xml.StartElement) (*form, error) {
	attr := make(map[string]string, len(element.Attr))
	for _, a := range element.Attr {
		attr[a.Name.Local] = a.Value
	}
	if r.auto && attr["data-step"] == "" {
		attr["data-step"] = stepAuto
	}
	switch {
	case f == nil && element.Name.Local == "form" && attr["data-step"] != "":
		action, err := r.page.Parse(attr["action"])
		if err != nil {
			return nil, fmt.Errorf("page %s: form: %w", r.page.Redacted(), err)
		}
		return &form{step: attr["data-step"], action: action, values: url.Values{}}, nil
	case f != nil && element.Name.Local == "input" && attr["name"] != "":
		if _, checked := attr["checked"]; attr["type"] != "radio" || checked {
			f.values.Set(attr["name"], attr["value"])
		}
	}
	return f, nil
}

// isPage reports whether a response may hold a form.
func isPage(response *http.Response) bool {
	return strings.HasPrefix(response.Header.Get("Content-Type"), "text/html")
}
