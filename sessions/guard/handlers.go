package guard

import (
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// about is what GET /session says.
type about struct {
	Session  events.SessionID `json:"session"`
	Issuer   string           `json:"issuer"`
	Sub      string           `json:"sub"`
	Sid      string           `json:"sid,omitempty"`
	Username string           `json:"username"`
	Email    string           `json:"email,omitempty"`
	Name     string           `json:"name,omitempty"`
	Groups   []string         `json:"groups"`
	Started  time.Time        `json:"started"`
	Expires  time.Time        `json:"expires"`
}

// Check answers nginx's auth_request and Envoy's ext_authz: 200 with who it is
// in headers, or 401, 403, 503 with the reason in one. It sets no cookie and
// looks at no method.
func (g *Guard) Check(w http.ResponseWriter, r *http.Request) {
	found := g.judge(r)
	answerWith(w.Header(), found)
	w.WriteHeader(found.status)
}

// Forward answers Traefik and Caddy. It is Check, but a browser that loads a
// page without a session is sent to sign in, and from there back to that page,
// and one that is refused otherwise is told so in a page: these two proxies hand
// the answer on to the browser as it is.
func (g *Guard) Forward(w http.ResponseWriter, r *http.Request) {
	found := g.judge(r)
	answerWith(w.Header(), found)
	if found.status == http.StatusOK || !pageLoad(r) {
		w.WriteHeader(found.status)
		return
	}
	switch found.status {
	case http.StatusForbidden:
		g.Pages.Problem(w, r, found.status, CodeGroup, "")
	case http.StatusServiceUnavailable:
		g.Pages.Problem(w, r, found.status, CodeUnsure, "")
	default:
		w.Header().Set("Location", g.loginFor(sessions.AskedPage(r.Header.Get)))
		w.WriteHeader(http.StatusFound)
	}
}

// Forbidden is the page that Forward shows to those who are not in the group that is
// asked for, for a proxy that makes an answer of its own of the guard's.
func (g *Guard) Forbidden(w http.ResponseWriter, r *http.Request) {
	g.Pages.Problem(w, r, http.StatusForbidden, CodeGroup, "")
}

// Session answers an application or a page that asks who is signed in, in JSON.
func (g *Guard) Session(w http.ResponseWriter, r *http.Request) {
	found := g.judge(r)
	h := w.Header()
	if found.status != http.StatusOK {
		answerWith(h, found)
		w.WriteHeader(found.status)
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	// What is encoded cannot fail; that the client is gone is its own affair.
	_ = json.NewEncoder(w).Encode(found.face.about)
}

// The values that are the same in many answers are shared: net/http reads them
// and does not write.
var (
	noStore    = []string{"no-store"}
	retryAfter = []string{"1"}
)

func answerWith(h http.Header, found answer) {
	h["Cache-Control"] = noStore
	switch found.status {
	case http.StatusOK:
		found.face.show(h)
	case http.StatusServiceUnavailable:
		h["Retry-After"] = retryAfter
		fallthrough
	default:
		h[HeaderReason] = []string{found.reason}
	}
}

// loginFor is the login that leads back to page.
func (g *Guard) loginFor(page string) string {
	if page == "" {
		return g.LoginURL
	}
	return g.LoginURL + "?rd=" + url.QueryEscape(page)
}

// pageLoad reports whether a browser is loading a page, as against a script
// asking for data. Sec-Fetch-Mode says so where it is sent. The method is that
// of the request the proxy asks about.
func pageLoad(r *http.Request) bool {
	method := r.Header.Get("X-Forwarded-Method")
	if method == "" {
		method = r.Method
	}
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return namesHTML(r.Header.Values("Accept")) && r.Header.Get("X-Requested-With") == ""
}

// namesHTML reports whether Accept (RFC 9110 section 12.5.1) names text/html,
// and not to refuse it. A comma inside quotes is not looked for: no browser
// sends one.
func namesHTML(accept []string) bool {
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, err := mime.ParseMediaType(element)
		if err != nil || kind != "text/html" {
			continue
		}
		weight, err := strconv.ParseFloat(cmp.Or(parameters["q"], "1"), 64)
		if err == nil && weight > 0 {
			return true
		}
	}
	return false
}
