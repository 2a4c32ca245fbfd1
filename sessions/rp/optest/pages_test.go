package optest_test

import (
	"encoding/hex"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"curfew/sessions/rp/optest"
)

func text(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestPages(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) {
		p.Issuer, p.Title = "/realm/", "A <Title>"
		p.Clients[0].Name = `"Quotes" & <b>`
	})
	room.signIn(t, ada)
	home := text(t, room.get(t, room.provider.Issuer))
	for _, want := range []string{"A &lt;Title&gt;", "Ada Lindqvist", "&#34;Quotes&#34; &amp; &lt;b&gt;", `action="/realm/sign-out"`} {
		if !strings.Contains(home, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	confirm := room.get(t, room.provider.Issuer+"end-session?client_id="+clientID)
	out, err := room.browser.SignOut(t.Context(), room.provider.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range map[string]*http.Response{
		"sign in":    room.get(t, room.authURL(nil)),
		"nobody":     room.get(t, room.provider.Issuer),
		"refused":    room.get(t, room.authURL(func(q url.Values) { q.Del("client_id") })),
		"confirm":    confirm,
		"signed out": out,
	} {
		policy := page.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy is %q", name, policy)
		}
		if got := page.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control is %q", name, got)
		}
		body := text(t, page)
		if !strings.Contains(body, "</html>") || strings.Contains(body, "<script") || strings.Contains(body, "style=") {
			t.Errorf("%s: the page is cut short or has inline script or style:\n%s", name, body)
		}
	}
	for path, want := range map[string]string{"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"} {
		asset := room.get(t, room.provider.Issuer+path)
		if got := asset.Header.Get("Content-Type"); asset.StatusCode != 200 || got != want {
			t.Errorf("%s: answered %d as %q", path, asset.StatusCode, got)
		}
	}
}

func TestAccountsAreShownOnlyInADemo(t *testing.T) {
	for _, show := range []bool{false, true} {
		room := newRoom(t, func(p *optest.Provider) { p.ShowAccounts = show })
		page := text(t, room.get(t, room.authURL(nil)))
		if got := strings.Contains(page, "Grace") && strings.Contains(page, "demo"); got != show {
			t.Errorf("accounts are shown: %t, want %t", got, show)
		}
		// The form is the same to whoever fills it in.
		if login := room.signIn(t, grace); login.Claims["preferred_username"] != "grace" {
			t.Errorf("signed in as %v", login.Claims["preferred_username"])
		}
	}
}

func TestLoginHint(t *testing.T) {
	room := newRoom(t, nil)
	page := text(t, room.get(t, room.authURL(func(q url.Values) { q.Set("login_hint", `ada"><x`) })))
	if !strings.Contains(page, `value="ada&#34;&gt;&lt;x"`) {
		t.Error("the hint is not in the field, or not escaped")
	}
}

func TestSignInWithoutAnApplication(t *testing.T) {
	room := newRoom(t, nil)
	page, err := room.browser.SignIn(t.Context(), room.provider.Issuer+"/sign-in", ada)
	if err != nil || page.Request.URL.Path != "/" {
		t.Fatalf("the browser is at %v, %v", page.Request.URL, err)
	}
	if got := room.get(t, room.provider.Issuer+"/sign-in").Request.URL.Path; got != "/" {
		t.Errorf("signed in already, the browser is at %s", got)
	}
	if got := room.provider.Sessions(); len(got) != 1 || len(got[0].Clients) != 0 {
		t.Errorf("sessions are %+v, want one without clients", got)
	}
}

func TestHandlerRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*optest.Provider){
		"no issuer":       func(p *optest.Provider) { p.Issuer = "" },
		"issuer no URL":   func(p *optest.Provider) { p.Issuer = "://" },
		"query in issuer": func(p *optest.Provider) { p.Issuer += "?a=b" },
		"no clock":        func(p *optest.Provider) { p.Now = nil },
		"no HTTP client":  func(p *optest.Provider) { p.HTTP = nil },
		"no logger":       func(p *optest.Provider) { p.Logger = nil },
		"no users":        func(p *optest.Provider) { p.Users = nil },
		"algorithm":       func(p *optest.Provider) { p.Alg = "none" },
		"logout alg":      func(p *optest.Provider) { p.LogoutAlg = "x" },
		"client id":       func(p *optest.Provider) { p.Clients[0].ID = "" },
		"client secret":   func(p *optest.Provider) { p.Clients[0].Secret = "" },
		"client method":   func(p *optest.Provider) { p.Clients[0].AuthMethod = "x" },
	} {
		provider := newRoom(t, nil).provider
		provider.Clients = slices.Clone(provider.Clients)
		spoil(provider)
		if _, err := provider.Handler(); err == nil {
			t.Errorf("%s: it serves", name)
		}
	}
	if _, err := new(optest.Provider).Handler(); err == nil {
		t.Error("the zero value serves")
	}
}

// Text must stand out from what is behind it by 4.5 to 1, the edges of fields
// by 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	room := newRoom(t, nil)
	style := text(t, room.get(t, room.provider.Issuer+"/style.css"))
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(style, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d colour schemes, want light and dark", len(blocks))
	}
	for i, scheme := range []string{"light", "dark"} {
		colour := make(map[string]string)
		for _, m := range regexp.MustCompile(`--([\w-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(blocks[i][1], -1) {
			colour[m[1]] = m[2]
		}
		for _, pair := range []struct {
			front, back string
			want        float64
		}{
			{"ink", "bg", 4.5}, {"ink", "card", 4.5}, {"muted", "card", 4.5}, {"muted", "bg", 4.5},
			{"on-accent", "accent", 4.5}, {"accent", "card", 4.5}, {"ok", "card", 4.5}, {"bad", "card", 4.5},
			{"field", "card", 3},
		} {
			if got := contrast(t, colour[pair.front], colour[pair.back]); got < pair.want {
				t.Errorf("%s: %s on %s is %.2f to 1, want %.1f", scheme, pair.front, pair.back, got, pair.want)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	first, second := luminance(t, a), luminance(t, b)
	return (max(first, second) + 0.05) / (min(first, second) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	parts, err := hex.DecodeString(colour)
	if err != nil || len(parts) != 3 {
		t.Fatalf("colour %q: %v", colour, err)
	}
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		value := float64(parts[i]) / 255
		if value <= 0.04045 {
			value /= 12.92
		} else {
			value = math.Pow((value+0.055)/1.055, 2.4)
		}
		sum += weight * value
	}
	return sum
}
