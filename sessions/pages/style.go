package pages

import (
	"crypto/sha256"
	_ "embed" // the stylesheet
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

//go:embed style.css
var style string

// versionOf changes with the text.
func versionOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// Style is our stylesheet, for pages that are to look like these.
func Style() string { return style }

// StylePath is where ServeStyle is expected, below the prefix.
func (p *Pages) StylePath() string { return "/style.css" }

// ServeStyle answers with the stylesheet. The pages ask for it with its version
// in the query, and then it may be kept for good. Asked for another version, as
// by the page of a replica that is older or newer, it answers with its own,
// which is better than none, and has the browser ask again next time.
func (p *Pages) ServeStyle(w http.ResponseWriter, r *http.Request) {
	l := p.looks()
	serve(w, r, "text/css; charset=utf-8", l.version, l.style)
}

// serve answers with what a page links to under its version.
func serve(w http.ResponseWriter, r *http.Request, kind, version, content string) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", `"`+version+`"`)
	if r.URL.Query().Get("v") == version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}
