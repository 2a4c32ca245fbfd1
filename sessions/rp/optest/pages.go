package optest

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

//go:embed assets
var assets embed.FS

// pagePolicy lets pages load their stylesheet and icon and nothing else. It
// says nothing of form-action: browsers hold that rule against the redirect
// that follows a form too, and that one leads to the application.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// What the templates are given.
type (
	signInPage struct {
		Action   string
		Client   string // empty: the person came by themselves
		Username string
		Wrong    bool
		Accounts []User // shown if there are any
	}
	homePage struct {
		User    User
		Since   time.Time
		Clients []string
	}
	confirmPage struct {
		User   User
		Action string
		Client string
	}
	signedOutPage struct {
		Told []told
	}
	told struct {
		Delivery
		Name string
		Good bool
	}
)

func (p *Provider) toldOf(delivery Delivery) told {
	good := delivery.Status == http.StatusOK || delivery.Status == http.StatusNoContent
	return told{Delivery: delivery, Name: p.client(delivery.Client).DisplayName(), Good: good}
}

// refusePage tells the person that the application's request is not to be
// answered.
func (p *Provider) refusePage(w http.ResponseWriter, why string) {
	p.page(w, http.StatusBadRequest, "refused", why)
}

func (p *Provider) page(w http.ResponseWriter, status int, name string, data any) {
	var body bytes.Buffer
	frame := struct {
		Title, Base string
		Page        any
	}{orDefault(p.Title, "Example Identity"), p.base, data}
	if err := p.template(name).Execute(&body, frame); err != nil {
		p.Logger.Error("page not made", "page", name, "error", err)
		http.Error(w, "The page was not made.", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(body.Bytes()); err != nil {
		p.Logger.Warn("page not sent", "error", err)
	}
}

// template parses a page each time: a page is rarer than a parse is dear, and
// nothing is kept in a global.
func (p *Provider) template(name string) *template.Template {
	return template.Must(template.New("frame.html").Funcs(template.FuncMap{
		"initials": initials,
		"ms":       func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) },
		"clock":    func(at time.Time) string { return at.Format("15:04") },
		"machine":  func(at time.Time) string { return at.Format(time.RFC3339) },
	}).ParseFS(assets, "assets/frame.html", "assets/"+name+".html"))
}

// initials stand in for a portrait.
func initials(name string) string {
	var letters strings.Builder
	for word := range strings.FieldsSeq(name) {
		first, _ := utf8.DecodeRuneInString(word)
		letters.WriteRune(first)
	}
	return letters.String()
}

func serveAsset(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeFileFS(w, r, assets, "assets/"+path.Base(r.URL.Path))
}
