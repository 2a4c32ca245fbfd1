package rp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/events"
)

func TestLoginAsksTheOP(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.op.discovery = map[string]any{"authorization_endpoint": "https://op.example.com/authorize?realm=x"}
		w.discover()
		w.a.AuthParams = url.Values{"prompt": {"consent"}, "resource": {"a", "b"}, "state": {"mine"}, "redirect_uri": {"https://evil.example.com"}}
		b := newBrowser()
		a := b.get(w.a.Login, "/auth/login")
		location, err := url.Parse(a.Header.Get("Location"))
		if err != nil || a.StatusCode != http.StatusFound || a.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("the login answers %d %v", a.StatusCode, a.Header)
		}
		got := location.Query()
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if len(got[name]) != 1 || len(got.Get(name)) < 26 {
				t.Errorf("%s is %q", name, got[name])
			}
			got.Del(name)
		}
		want := url.Values{
			"realm": {"x"}, "prompt": {"consent"}, "resource": {"a", "b"},
			"response_type": {"code"}, "client_id": {"client"}, "scope": {"openid email"},
			"redirect_uri": {"https://app.example.com/auth/callback"}, "code_challenge_method": {"S256"},
		}
		if got.Encode() != want.Encode() {
			t.Errorf("the request is %s, want %s", got.Encode(), want.Encode())
		}
		w.checkLoginCookie(b, location.Query().Get("state"))
	})
}

func (w *world) checkLoginCookie(b *browser, state string) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(state))
	cookie := b.cookies["__Host-curfew-login-"+base64.RawURLEncoding.EncodeToString(sum[:9])]
	if cookie == nil || !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteLaxMode ||
		cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 3600 || strings.Contains(cookie.Value, state) {
		w.t.Errorf("the login cookie is %v", cookie)
	}
}

func TestLoginTarget(t *testing.T) {
	original := func(page string) []string { return []string{"X-Original-URL", page} }
	tests := []struct {
		query  string
		header []string
		want   string // empty: refused
	}{
		{"", nil, "https://app.example.com/"},
		{"?rd=/docs", nil, "https://app.example.com/docs"},
		{"?next=/docs", nil, "https://app.example.com/docs"},
		{"?url=/docs", nil, "https://app.example.com/docs"},
		{"?url=/c&next=/b&rd=/a", nil, "https://app.example.com/a"},
		{"?rd=https://a.example.net/x", nil, "https://a.example.net/x"},
		{"?rd=/x;y=1", nil, "https://app.example.com/x;y=1"},
		{"?rd=/x%zz", nil, ""},
		{"?rd=https://evil.com/", nil, ""},
		{"?rd=//evil.com/", nil, ""},
		{"?rd=/%5Cevil.com/", nil, ""},
		{"?rd=javascript:alert(1)", nil, ""},
		{"?rd=https://app.example.com@evil.com/", nil, ""},
		{"", original("https://a.example.net/x?y=" + strings.Repeat("1", 3000)), "https://a.example.net/x"},
		{"", original("https://a.example.net/" + strings.Repeat("x", 3000)), "https://a.example.net/"},
		{"", original("/" + strings.Repeat("x", 3000)), "https://app.example.com/"},
		{"", original("https://evil.com/?y=" + strings.Repeat("1", 3000)), ""},
		{"", original("https://a.example.net/x?y=1&z=2"), "https://a.example.net/x?y=1&z=2"},
		{"", original("/x?y=1&z=2"), "https://app.example.com/x?y=1&z=2"},
		{"?rd=/docs", original("/x"), "https://app.example.com/docs"},
		{"", original("https://evil.com/"), ""},
		{"", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "b.example.net", "X-Forwarded-Uri", "/y?z=1"}, "https://b.example.net/y?z=1"},
		{"", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.com", "X-Forwarded-Uri", "/"}, ""},
		{"", original("https://app.example.com/auth/login?rd=/x"), "https://app.example.com/"},
		{"", original("/auth/logout"), "https://app.example.com/"},
		{"?rd=/auth/signed-out", nil, "https://app.example.com/"},
		{"?rd=/author/login", nil, "https://app.example.com/author/login"},
	}
	for _, test := range tests {
		inWorld(t, func(t *testing.T, w *world) {
			b := newBrowser()
			a := b.get(w.a.Login, "/auth/login"+test.query, test.header...)
			if test.want == "" {
				a.want(t, http.StatusBadRequest, "problem return_refused")
				if len(b.cookies) != 0 {
					t.Errorf("%q %v sets cookies", test.query, test.header)
				}
				return
			}
			b.get(w.a.Callback, "/auth/callback?"+w.op.grant(a.Header.Get("Location")).Encode()).want(t, http.StatusFound, test.want)
		})
	}
}

func TestLoginTargetTooLong(t *testing.T) {
	for _, name := range []string{"rd", "next", "url"} {
		inWorld(t, func(t *testing.T, w *world) {
			a := newBrowser().get(w.a.Login, "/auth/login?"+name+"=/"+strings.Repeat("a", 3000))
			a.want(t, http.StatusBadRequest, "problem return_too_long")
		})
	}
}

func TestLoginBeforeDiscovery(t *testing.T) {
	w := newWorld(t)
	newBrowser().get(w.a.Login, "/auth/login").want(t, http.StatusBadGateway, "problem provider_unreachable")
}

// TestLoginCookiesStayFew begins many logins and finishes none. Those begun
// last must still be good.
func TestLoginCookiesStayFew(t *testing.T) {
	for _, path := range []string{"/", "/" + strings.Repeat("a", 1500)} {
		inWorld(t, func(t *testing.T, w *world) {
			b := newBrowser()
			var last, before string
			for range 20 {
				before, last = last, w.begin(b, w.a, "?rd="+path)
				w.ahead += time.Second
			}
			size := 0
			for _, name := range b.logins() {
				size += len(name) + len(b.cookies[name].Value)
			}
			if n := len(b.logins()); n < 2 || n > 8 || size > 6<<10 {
				t.Errorf("%d login cookies of %d bytes are left", n, size)
			}
			b.get(w.a.Callback, last).want(t, http.StatusFound, "https://app.example.com"+path)
			b.get(w.a.Callback, before).want(t, http.StatusFound, "https://app.example.com"+path)
		})
	}
}

func TestLateLoginCookiesGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		w.begin(b, w.a, "")
		w.ahead = 31 * time.Minute
		w.begin(b, w.a, "")
		if n := len(b.logins()); n != 1 {
			t.Errorf("%d login cookies, want 1", n)
		}
	})
}

// TestMadeUpLoginCookies fills a browser with cookies that open nothing.
func TestMadeUpLoginCookies(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		for i := range 50 {
			name := fmt.Sprint("__Host-curfew-login-", i)
			b.cookies[name] = &http.Cookie{Name: name, Value: "gAAAAA=="}
		}
		b.cookies["other"] = &http.Cookie{Name: "other", Value: "kept"}
		for range 8 {
			w.begin(b, w.a, "")
		}
		if n := len(b.logins()); n != 8 || b.cookies["other"] == nil {
			t.Errorf("the browser is left with %v", slices.Collect(maps.Keys(b.cookies)))
		}
	})
}

func TestCookieDomain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.a.CookieName, w.a.CookieDomain, w.a.Secure = "curfew", "example.com", false
		b := newBrowser()
		w.signIn(b, w.a)
		if cookie := b.cookies["curfew"]; cookie == nil || cookie.Domain != "example.com" || cookie.Secure {
			t.Errorf("the session cookie is %v", cookie)
		}
	})
}

// TestMark: a login's place in the log is where the log ends, however far this
// replica has come; only where the log does not say does it take its own.
func TestMark(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.logout("somebody", "")
		release := w.a.hold()
		w.logout("somebody-else", "")
		b := newBrowser()
		ahead := w.begin(b, w.a, "")
		w.log.Stop()
		blind := w.begin(b, w.b, "")
		w.log.Start()
		release()
		for _, test := range []struct {
			callback string
			want     events.Position
		}{{ahead, 2}, {blind, w.b.Registry.Applied().At}} {
			b.get(w.a.Callback, test.callback).want(t, http.StatusFound, "https://app.example.com/")
			started := w.started()
			if got := started[len(started)-1].Begun; got != test.want {
				t.Errorf("the login began at %d, want %d", got, test.want)
			}
		}
	})
}

// TestClearedLoginCookiesFitAnAnswer: proxies take a few KiB of headers in an
// answer (nginx 4), so a browser full of cookies that open nothing is rid of
// them over several answers.
func TestClearedLoginCookiesFitAnAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.a.CookieDomain = "a.rather.long.example.com"
		b := newBrowser()
		for i := range 50 {
			name := fmt.Sprintf("__Host-curfew-login-%012d", i)
			b.cookies[name] = &http.Cookie{Name: name, Value: "gAAAAA=="}
		}
		left := len(b.logins())
		for range 10 {
			a := b.get(w.a.Login, "/auth/login?rd=/"+strings.Repeat("a", 800))
			size := 0
			for name, values := range a.Header {
				for _, value := range values {
					size += len(name) + len(value) + len(": \r\n")
				}
			}
			if a.StatusCode != http.StatusFound || size > 4<<10 {
				t.Errorf("the answer is %d with %d bytes of headers, want less than 4 KiB", a.StatusCode, size)
			}
			if now := len(b.logins()); now > max(left, 8) {
				t.Errorf("%d login cookies, more than the %d before", now, left)
			} else {
				left = now
			}
		}
		if left > 8 {
			t.Errorf("%d login cookies are left", left)
		}
	})
}
