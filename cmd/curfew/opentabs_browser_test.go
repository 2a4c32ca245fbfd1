package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"curfew/sessions/rp/optest/realop"
)

// shop is an application whose pages have the script of docs/open-tabs.md, with a
// proxy for /auth/ in front of one replica, which a test can take away.
type shop struct {
	*httptest.Server
	auth http.Handler
	away atomic.Bool
	// open is how many streams are, and refused how many requests were in vain.
	open, refused atomic.Int32
}

func newShop(t *testing.T, r *replica) *shop {
	t.Helper()
	at, err := url.Parse(r.public)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{auth: &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(at)
		pr.SetXForwarded()
		pr.Out.Host = pr.In.Host
	}}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP shows a page, the script, or what curfew answers.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:")
	switch {
	case r.URL.Path == "/static/curfew.js":
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, documentedScript())
	case !strings.HasPrefix(r.URL.Path, "/auth/"):
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>shop</title><link rel="icon" href="data:,"><script type="module" src="/static/curfew.js"></script>`)
	case s.away.Load():
		s.refused.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	default:
		if r.Method == http.MethodGet && r.URL.Path == "/auth/session/events" {
			s.open.Add(1)
			defer s.open.Add(-1)
		}
		s.auth.ServeHTTP(w, r)
	}
}

// documentedScript is the first in docs/open-tabs.md.
func documentedScript() string {
	page, err := os.ReadFile("../../docs/open-tabs.md")
	if err != nil {
		return "throw " + fmt.Sprintf("%q", err)
	}
	_, script, _ := strings.Cut(string(page), "```js\n")
	script, _, _ = strings.Cut(script, "```")
	return script
}

// holds has a person hold a session.
func (b *tab) holds(cookie, address string) {
	b.t.Helper()
	act(b, chromedp.Func(func(ctx context.Context, at *chromedp.Target) error {
		_, err := cdp.Call(ctx, at, network.SetCookie, network.SetCookieParams{Name: "curfew", Value: cookie, URL: address})
		return err
	}))
}

// TestScriptOutlastsTroubles: a browser gives up a stream that is answered with
// anything but 200, and the script must not.
func TestScriptOutlastsTroubles(t *testing.T) {
	h := newSmallHouse(t, nil)
	s := newShop(t, h.replicas[1])
	person := openChromium(t).person(t)
	streams := func(n int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("streams open: %d", n), func() bool { return s.open.Load() == n })
	}
	enter := func() string {
		cookie := h.signIn(realop.NewBrowser(t), "ada")
		person.holds(cookie, s.URL)
		person.open(s.URL + "/")
		streams(1)
		return cookie
	}
	leaves := func(cookie string) (took time.Duration) {
		t.Helper()
		sid := h.sid(cookie)
		began := time.Now()
		h.op.endSession(t, sid)
		person.arrives(s.URL + "/auth/signed-out")
		return time.Since(began)
	}
	const loaded = soon + time.Second

	// It listens.
	promptly(t, loaded, func() time.Duration { return leaves(enter()) })

	// It could not listen.
	cookie := enter()
	s.away.Store(true)
	s.CloseClientConnections()
	streams(0)
	h.op.endSession(t, h.sid(cookie))
	s.away.Store(false)
	person.arrives(s.URL + "/auth/signed-out")

	// It listens again.
	promptly(t, loaded, func() time.Duration {
		cookie := enter()
		s.away.Store(true)
		s.CloseClientConnections()
		streams(0)
		refused := s.refused.Load()
		eventually(t, "the browser has given up and the script goes on", func() bool { return s.refused.Load() > refused+2 })
		s.away.Store(false)
		streams(1)
		return leaves(cookie)
	})

	// It was not there. The browser may have put the page aside whole, and show it so.
	cookie = enter()
	person.open("about:blank")
	h.op.endSession(t, h.sid(cookie))
	act(person, chromedp.NavigateBack())
	person.arrives(s.URL + "/auth/signed-out")
	for _, complaint := range person.complained() {
		if !strings.HasPrefix(complaint, "not loaded: ") {
			t.Errorf("the browser complains: %s", complaint)
		}
	}
}
