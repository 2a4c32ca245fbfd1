package main

import (
	"context"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// scene is a thing that people do.
type scene struct {
	name string
	play func(*browsed, *testing.T)
}

// TestBrowser has a browser do what people do, through each proxy as it is
// shipped.
func TestBrowser(t *testing.T) {
	scenes := []scene{
		{"a deep link leads through the sign-in to its page", (*browsed).deepLink},
		{"two tabs sign in at once", (*browsed).twoTabs},
		{"signing out ends the other tab and stays signed out", (*browsed).signingOut},
		{"a logout at the provider ends the tab", (*browsed).providerLogout},
		{"a frame in the provider's page ends the tab, and nothing else may be framed", (*browsed).framedLogout},
		{"one's own sessions are ended from another browser", (*browsed).ownSessions},
	}
	last := scene{"a log that is away is a page", (*browsed).logAway} // for it stays away
	for _, proxy := range []struct {
		name, scheme string
		start        func(*browsed)
		scenes       []scene
	}{
		{"nginx", "https", func(b *browsed) { b.nginx(asShipped, "127.0.0.1:4180", b.way.Addr().String()) },
			append(slices.Clone(scenes), scene{"what goes wrong is a page", (*browsed).wrongTurns}, last)},
		{"caddy", "http", func(b *browsed) { b.caddy(asShipped, "127.0.0.1:4180", b.way.Addr().String()) },
			append(slices.Clone(scenes), last)},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			needs(t, proxy.name)
			b := newBrowsed(t, openChromium(t), proxy.scheme)
			proxy.start(b)
			for _, scene := range proxy.scenes {
				t.Run(scene.name, func(t *testing.T) { scene.play(b, t) })
			}
		})
	}
}

// TestBrowserAtARealProvider signs in and out at npm's oidc-provider, whose forms,
// policies and redirects are other people's.
func TestBrowserAtARealProvider(t *testing.T) {
	h := newRealHouse(t, realop.Client{})
	p := openChromium(t).person(t)
	p.open(h.front.URL + "/auth/login?rd=/after%3Fa%3Db")
	p.fill(`[name="username"]`, "ada")
	p.fill(`[name="password"]`, "demo")
	p.click(`form[data-step="sign-in"] button`)
	p.click(`form[data-step="consent"] button`)
	p.arrives(h.front.URL + "/after?a=b")
	p.complained() // of the provider's form
	p.open(h.front.URL + "/auth/sessions")
	if got := p.text("main strong"); got != "ada" {
		t.Errorf("the sessions are %q's, want ada's", got)
	}
	p.open(h.front.URL + "/auth/logout")
	p.click("form button")
	p.click(`form[data-step="confirm"] button`)
	p.arrivesAt(h.front.URL + "/auth/signed-out?")
	p.open(h.front.URL + "/auth/logout")
	if got := p.text("h1"); got != "Nobody is signed in here" {
		t.Errorf("the page says %q", got)
	}
	if got := p.complained(); got != nil {
		t.Errorf("the browser complains: %q", got)
	}
}

// TestBrowserChooses has somebody choose between two providers, on a page that
// nginx shows at the address that was asked for.
func TestBrowserChooses(t *testing.T) {
	needs(t, "nginx")
	b, guests := newChoosing(t, openChromium(t), "https")
	b.nginx(asShipped, "127.0.0.1:4180", b.way.Addr().String())
	for name, op := range map[string]*optest.Provider{"The staff": b.op, "The guests": guests} {
		p := b.person(t)
		p.open(b.url + "/report?x=1&y=a%26b")
		if got := p.text("h1"); got != "Where do you want to sign in?" || p.unstyled() {
			t.Errorf("the page says %q", got)
		}
		p.click(`a[href*="provider=` + strings.TrimPrefix(name, "The ") + `"]`)
		b.op = op
		b.signs(p, "ada")
		b.isAt(p, "ada", "/report?x=1&y=a%26b")
		if got := p.complained(); got != nil {
			t.Errorf("the browser complains: %q", got)
		}
	}
}

func (b *browsed) deepLink(t *testing.T) {
	ada := b.person(t)
	b.enters(ada, "ada", "/report/a%20b?x=1&next=%2Felse&rd=https%3A%2F%2Fevil.example%2F&q=a%26b+c%23d")
	// Signed in already: no form on the way to another.
	ada.open(b.url + "/report/2?page=3")
	b.isAt(ada, "ada", "/report/2?page=3")
}

func (b *browsed) twoTabs(t *testing.T) {
	one := b.person(t)
	two := one.another()
	one.open(b.url + "/one?tab=1")
	two.open(b.url + "/two?tab=2")
	b.signs(one, "ada")
	b.isAt(one, "ada", "/one?tab=1")
	b.signs(two, "ada")
	b.isAt(two, "ada", "/two?tab=2")
	one.open(b.url + "/one?again")
	b.isAt(one, "ada", "/one?again")
}

// signingOut ends what other tabs use, and leads to a page from which one signs in
// by asking and in no other way, however long one looks at it.
func (b *browsed) signingOut(t *testing.T) {
	ada := b.person(t)
	b.enters(ada, "ada", "/desk")
	two := ada.another()
	two.open(b.url + "/two")
	b.isAt(two, "ada", "/two")
	b.signsOut(ada, "ada")
	two.leaves(b)
	ada.click("a.button")
	b.signs(ada, "grace")
	b.isAt(ada, "grace", "/")

	b.signsOut(ada, "grace")
	asked := b.asked.Load()
	ada.waits()
	ada.arrivesAt(b.url + "/auth/signed-out")
	if got := b.asked.Load(); got != asked {
		t.Errorf("the provider was asked for %d logins by a page that nobody touched", got-asked)
	}
}

// signsOut goes by way of the provider to the page that says that it is done.
func (b *browsed) signsOut(p *tab, name string) {
	p.t.Helper()
	p.open(b.url + "/auth/logout")
	if got := p.text("main strong"); got != name {
		p.t.Errorf("the question names %q, want %s", got, name)
	}
	p.click(`form button[type="submit"]`)
	p.arrivesAt(b.url + "/auth/signed-out")
}

// waits lets an hour of the page's own time pass. Then time stands still for this
// person, who is good for nothing else any more.
func (b *tab) waits() {
	b.t.Helper()
	act(b, chromedp.WaitEvent(emulation.VirtualTimeBudgetExpired, nil, chromedp.Func(
		func(ctx context.Context, at *chromedp.Target) error {
			_, err := cdp.Call(ctx, at, emulation.SetVirtualTimePolicy, emulation.SetVirtualTimePolicyParams{
				Policy: emulation.VirtualTimePolicyAdvance, Budget: new(float64(time.Hour.Milliseconds())),
			})
			return err
		})))
}

// leaves waits until a tab has gone to the signed-out page by itself, in place of
// the page that it was at.
func (b *tab) leaves(at *browsed) {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			b.t.Logf("the browser complains: %q", b.complained())
		}
	}()
	b.arrives(at.url + "/auth/signed-out")
	history := act(b, chromedp.NavigationEntries())
	for _, entry := range history.Entries[:history.CurrentIndex] {
		if page, err := url.Parse(entry.URL); err == nil && page.Host == at.host() && !strings.HasPrefix(page.Path, "/auth/") {
			b.t.Errorf("the way back leads to %s", entry.URL)
		}
	}
}

func (b *browsed) providerLogout(t *testing.T) {
	grace := b.person(t)
	b.enters(grace, "grace", "/desk")
	b.house.op.endUser(t, "2be80d54")
	grace.leaves(b)
	// The provider does not know the browser any more either.
	grace.open(b.url + "/desk?again")
	b.signs(grace, "grace")
	b.isAt(grace, "grace", "/desk?again")
}

// framedLogout has a page of another site frame what it may, and what it may not.
func (b *browsed) framedLogout(t *testing.T) {
	grace := b.person(t)
	b.enters(grace, "grace", "/desk")
	sid := act(grace, chromedp.Evaluate[string](`fetch("/auth/session").then((r) => r.json()).then((s) => s.sid)`, chromedp.EvalAwaitPromise))
	framing := func(address string) string {
		return elsewhere(t, `<iframe src="`+html.EscapeString(b.url+address)+`"></iframe>`).URL
	}
	other := grace.another()
	for _, page := range []string{"/auth/logout", "/auth/sessions", "/auth/signed-out", "/auth/login?rd=https://evil.example"} {
		other.open(framing(page))
		eventually(t, page+" is kept out of a frame", func() bool {
			return strings.Contains(strings.Join(other.complained(), "\n"), "frame-ancestors")
		})
	}
	b.isAt(grace, "grace", "/desk")
	other.open(framing("/auth/frontchannel-logout?" + url.Values{"iss": {b.op.Issuer}, "sid": {sid}}.Encode()))
	grace.leaves(b)
	if got := other.complained(); got != nil {
		t.Errorf("the browser complains: %q", got)
	}
}

// elsewhere is another site, whose one page holds this.
func elsewhere(t *testing.T, holds string) *httptest.Server {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><link rel="icon" href="data:,">`+holds)
	}))
	t.Cleanup(site.Close)
	return site
}

func (b *browsed) ownSessions(t *testing.T) {
	desk, phone, lent := b.person(t), b.person(t), b.person(t)
	for _, p := range []*tab{desk, phone, lent} {
		b.enters(p, "noor", "/desk")
	}
	visits := func() int {
		return act(phone, chromedp.Evaluate[int](`document.querySelectorAll(".visits > li").length`))
	}
	id := act(desk, chromedp.Evaluate[string](`fetch("/auth/session").then((r) => r.json()).then((s) => s.session)`, chromedp.EvalAwaitPromise))
	phone.open(b.url + "/auth/sessions")
	if got := visits(); got != 3 {
		t.Errorf("%d sessions are listed, want 3", got)
	}
	phone.click(`button[value="` + id + `"]`)
	phone.arrives(b.url + "/auth/sessions?done=1")
	if got := visits(); got != 2 || phone.text(`[role="status"]`) == "" {
		t.Errorf("%d sessions are left, want 2 and a word about it", got)
	}
	desk.leaves(b)
	phone.click(`button[name="others"]`)
	lent.leaves(b)
	eventually(t, "one session is left", func() bool { return phone.where() != "" && visits() == 1 })
	phone.open(b.url + "/desk?still")
	b.isAt(phone, "noor", "/desk?still")
	for _, p := range []*tab{desk, phone, lent} {
		if got := p.complained(); got != nil {
			t.Errorf("the browser complains: %q", got)
		}
	}
}

// wrongTurns takes wrong turns by the means by which people take them.
func (b *browsed) wrongTurns(t *testing.T) {
	evil := elsewhere(t, `<form method="post" action="`+b.url+`/auth/logout"><button>Win</button></form>`)
	for _, turn := range []struct {
		name, title string
		status      int64
		take        func(*tab)
	}{
		{"a link that leads elsewhere", "That address is not part of this service", 400, func(p *tab) {
			p.open(b.url + "/auth/login?rd=https%3A%2F%2Fevil.example%2F")
		}},
		{"a link that is too long", "That address is too long", 400, func(p *tab) {
			p.open(b.url + "/auth/login?rd=/" + strings.Repeat("a", 2048))
		}},
		{"coming back to what was never begun", "This sign-in was not begun here", 400, func(p *tab) {
			p.open(b.url + "/auth/callback?state=x&code=y")
		}},
		{"cancelling", "You were not let in", 403, func(p *tab) {
			p.open(b.comeBack(p, url.Values{"error": {"access_denied"}}))
		}},
		{"a provider in trouble", "Your sign-in provider reports a problem", 502, func(p *tab) {
			p.open(b.comeBack(p, url.Values{"error": {"server_error"}}))
		}},
		{"an answer without a code", "The sign-in came back incomplete", 400, func(p *tab) {
			p.open(b.comeBack(p, nil))
		}},
		{"a provider that is down", "Your sign-in provider does not answer", 502, func(p *tab) {
			b.away.Store(true)
			p.open(b.url + "/desk")
			b.signs(p, "ada")
			p.arrivesAt(b.url + "/auth/callback")
			b.away.Store(false)
		}},
		{"a provider that answers for another login", "The proof of who you are did not hold", 502, func(p *tab) {
			b.lying.Store(true)
			p.open(b.url + "/desk")
			b.signs(p, "ada")
			p.arrivesAt(b.url + "/auth/callback")
			b.lying.Store(false)
		}},
		{"a button of another site's", "Another site tried to sign you out", 403, func(p *tab) {
			b.enters(p, "ada", "/desk")
			p.open(evil.URL)
			p.click("button")
			p.arrives(b.url + "/auth/logout")
		}},
		{"a provider that there is not", "There is no such provider here", 400, func(p *tab) { p.open(b.url + "/auth/login?provider=nobody") }},
		{"an address that leads nowhere", "There is no such page", 404, func(p *tab) { p.open(b.url + "/auth/nowhere") }},
		{"signing out where nobody is signed in", "Nobody is signed in here", 200, func(p *tab) { p.open(b.url + "/auth/logout") }},
	} {
		t.Run(turn.name, func(t *testing.T) {
			p := b.person(t)
			turn.take(p)
			if got := p.text("h1"); got != turn.title || p.answered() != turn.status {
				t.Errorf("the page says %q with %d, want %q with %d", got, p.answered(), turn.title, turn.status)
			}
			if got := p.complained(); got != nil {
				t.Errorf("the browser complains: %q", got)
			}
		})
	}
}

func (b *browsed) logAway(t *testing.T) {
	b.nats.kill()
	p := b.person(t)
	p.open(b.url + "/auth/login?rd=/desk")
	b.signs(p, "ada")
	p.arrivesAt(b.url + "/auth/callback")
	if got := p.text("h1"); got != "A short pause" || p.answered() != http.StatusServiceUnavailable || p.unstyled() {
		t.Errorf("the page says %q with %d", got, p.answered())
	}
}

// comeBack begins a login and returns the address at which the provider answers
// it.
func (b *browsed) comeBack(p *tab, answer url.Values) string {
	p.t.Helper()
	p.open(b.url + "/desk")
	p.arrivesAt(b.op.Issuer)
	at, err := url.Parse(p.where())
	if err != nil {
		p.t.Fatal(err)
	}
	back := url.Values{"state": {at.Query().Get("state")}, "iss": {b.op.Issuer}}
	maps.Copy(back, answer)
	return b.url + "/auth/callback?" + back.Encode()
}
