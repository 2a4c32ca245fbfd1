package rp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func TestSignIn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		back := w.begin(b, w.a, "?rd=/docs%3Fa%3Db")
		if a := b.do(w.a.Callback, http.MethodHead, back); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != http.MethodGet {
			t.Errorf("HEAD: %d %v", a.StatusCode, a.Header)
		}
		b.get(w.a.Callback, back,
			"User-Agent", "Browser\x01 1\xff", "X-Forwarded-For", "192.0.2.7, 10.0.0.1").
			want(t, http.StatusFound, "https://app.example.com/docs?a=b")
		cookie := b.cookies["__Host-curfew"]
		if cookie == nil || !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 12*3600 {
			t.Errorf("the session cookie is %v", cookie)
		}
		if logins := b.logins(); len(logins) != 0 {
			t.Errorf("login cookies are left: %v", logins)
		}
		for _, r := range []*replica{w.a, w.b} {
			if got := r.verdict(t, b); got != sessions.Alive {
				t.Errorf("replica %s: verdict %v, want alive", r.Replica, got)
			}
		}
		checkStarted(t, w)
	})
}

func checkStarted(t *testing.T, w *world) {
	t.Helper()
	all := w.started()
	if len(all) != 1 {
		t.Fatalf("the log has %d sessions, want 1", len(all))
	}
	now := time.Now().UTC()
	got := all[0]
	want := events.Started{
		Session: got.Session, Secret: got.Secret, Sealed: got.Sealed,
		Issuer: w.op.issuer, Sub: "user-1", Sid: "sid-1", Begun: 0, BegunAt: now, At: now,
		AuthTime: now.Add(-time.Minute), Expires: now.Add(12 * time.Hour), Access: now.Add(5 * time.Minute), Renewable: true,
		Client: events.Client{Address: "192.0.2.7", UserAgent: "Browser 1"},
	}
	if got != want {
		t.Errorf("started is\n%+v, want\n%+v", got, want)
	}
	private, err := sessions.OpenPrivate(ring{}, got.Session, got.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	if private.Tokens.Access != "access-token" || private.Tokens.Refresh != "refresh-token" || !strings.Contains(private.Tokens.ID, ".") ||
		private.Sub != want.Sub || private.Sid != want.Sid || private.Client != want.Client || !private.Started.Equal(now) {
		t.Errorf("sealed is %+v", private)
	}
}

func TestAnyReplicaFinishes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		b.get(w.b.Callback, w.begin(b, w.a, "?rd=/docs")).want(t, http.StatusFound, "https://app.example.com/docs")
		if got := w.a.verdict(t, b); got != sessions.Alive {
			t.Errorf("verdict %v, want alive", got)
		}
	})
}

func TestTwoTabs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		one, two := w.begin(b, w.a, "?rd=/one"), w.begin(b, w.b, "?rd=/two")
		if logins := b.logins(); len(logins) != 2 {
			t.Fatalf("%d login cookies, want 2", len(logins))
		}
		b.get(w.b.Callback, two).want(t, http.StatusFound, "https://app.example.com/two")
		b.get(w.a.Callback, one).want(t, http.StatusFound, "https://app.example.com/one")
		if got := w.b.verdict(t, b); got != sessions.Alive {
			t.Errorf("verdict %v, want alive", got)
		}
	})
}

func TestReplay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		callback := w.begin(b, w.a, "?rd=/docs")
		kept := *b
		kept.cookies = map[string]*http.Cookie{b.logins()[0]: b.cookies[b.logins()[0]]}
		b.get(w.a.Callback, callback).want(t, http.StatusFound, "https://app.example.com/docs")
		b.get(w.a.Callback, callback).want(t, http.StatusFound, "https://app.example.com/")
		kept.get(w.a.Callback, callback).want(t, http.StatusBadGateway, "problem provider_error")
		newBrowser().get(w.a.Callback, callback).want(t, http.StatusBadRequest, "problem state_missing")
		if got := len(w.started()); got != 1 {
			t.Errorf("%d sessions, want 1", got)
		}
	})
}

func TestLateLogin(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		callback := w.begin(b, w.a, "?rd=/docs")
		w.ahead = 31 * time.Minute
		b.get(w.a.Callback, callback).want(t, http.StatusBadRequest, "problem login_expired")

		w.ahead = 0
		signedIn := newBrowser()
		w.signIn(signedIn, w.a)
		callback = w.begin(signedIn, w.a, "?rd=/later")
		w.ahead = 31 * time.Minute
		signedIn.get(w.a.Callback, callback).want(t, http.StatusFound, "https://app.example.com/later")
	})
}

// TestCallbackRefuses goes through what may be wrong with an answer. Nothing of
// it may make a session, and what the browser was told in confidence may not
// show up in the operator's log.
func TestCallbackRefuses(t *testing.T) {
	tests := []struct {
		name   string
		alter  func(w *world, b *browser, q url.Values)
		status int
		code   string
	}{
		{"no state", func(_ *world, _ *browser, q url.Values) { q.Del("state") }, 400, "state_missing"},
		{"another state", func(_ *world, _ *browser, q url.Values) { q.Set("state", "x") }, 400, "state_missing"},
		{"no cookie", func(_ *world, b *browser, _ url.Values) { clear(b.cookies) }, 400, "state_missing"},
		{"tampered cookie", func(_ *world, b *browser, _ url.Values) { tamper(b) }, 400, "state_missing"},
		{"cookie of another state", func(w *world, b *browser, q url.Values) {
			name := b.logins()[0]
			w.begin(b, w.a, "")
			for _, other := range b.logins() {
				if other != name {
					b.cookies[name].Value = b.cookies[other].Value
				}
			}
		}, 400, "state_missing"},
		{"sealed for something else", func(w *world, b *browser, q url.Values) {
			sealed, _ := ring{}.Seal(fmt.Appendf(nil, `{"state":%q,"nonce":"x","verifier":"x","issuer":%q,"begun_at":%q}`,
				q.Get("state"), w.op.issuer, time.Now().Format(time.RFC3339)))
			b.cookies[b.logins()[0]].Value = string(sealed)
		}, 400, "state_missing"},
		{"issuer changed", func(w *world, _ *browser, _ url.Values) { w.a.Provider.Issuer += "/other" }, 400, "state_missing"},
		{"another iss", func(_ *world, _ *browser, q url.Values) { q.Set("iss", "https://evil.example.com") }, 400, "callback_invalid"},
		{"empty iss", func(_ *world, _ *browser, q url.Values) { q.Set("iss", "") }, 400, "callback_invalid"},
		{"iss missing though announced", func(w *world, _ *browser, q url.Values) {
			w.op.discovery = map[string]any{"authorization_response_iss_parameter_supported": true}
			w.discover()
			q.Del("iss")
		}, 400, "callback_invalid"},
		{"another iss with an error", func(_ *world, _ *browser, q url.Values) {
			q.Set("iss", "https://evil.example.com")
			q.Set("error", "access_denied")
		}, 400, "callback_invalid"},
		{"two codes", func(_ *world, _ *browser, q url.Values) { q.Add("code", "x") }, 400, "callback_invalid"},
		{"two states", func(_ *world, _ *browser, q url.Values) { q.Add("state", q.Get("state")) }, 400, "callback_invalid"},
		{"no code", func(_ *world, _ *browser, q url.Values) { q.Del("code") }, 400, "callback_invalid"},
		{"access denied", func(_ *world, _ *browser, q url.Values) { q.Set("error", "access_denied") }, 403, "access_denied"},
		{"OP's error", func(_ *world, _ *browser, q url.Values) { q.Set("error", "server_error") }, 502, "provider_error"},
		{"wrong code", func(_ *world, _ *browser, q url.Values) { q.Set("code", "secret-code") }, 502, "provider_error"},
		{"OP down", func(w *world, _ *browser, _ url.Values) { w.op.down = true }, 502, "provider_unreachable"},
		{"token endpoint moved", func(w *world, _ *browser, _ url.Values) {
			w.op.refuse = http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP
		}, 502, "provider_error"},
		{"keys not to be had", func(w *world, _ *browser, _ url.Values) { w.a.keys.err = outageError{} }, 502, "provider_unreachable"},
		{"log down", func(w *world, _ *browser, _ url.Values) { w.log.Stop() }, 503, "log_unavailable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := newBrowser()
				_, query, _ := strings.Cut(w.begin(b, w.a, ""), "?")
				values, err := url.ParseQuery(query)
				if err != nil {
					t.Fatal(err)
				}
				test.alter(w, b, values)
				a := b.get(w.a.Callback, "/auth/callback?"+values.Encode())
				a.want(t, test.status, "problem "+test.code)
				w.checkRefused(b, a)
			})
		})
	}
}

func (w *world) discover() {
	w.t.Helper()
	if err := w.a.Provider.Discover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// tamper changes one character in the middle of the login cookie.
func tamper(b *browser) {
	cookie := b.cookies[b.logins()[0]]
	value := []byte(cookie.Value)
	value[len(value)/2] ^= 1
	cookie.Value = string(value)
}

func (w *world) checkRefused(b *browser, a answer) {
	w.t.Helper()
	if b.session() != "" || len(w.started()) != 0 {
		w.t.Error("there is a session")
	}
	if len(w.op.strays) != 0 {
		w.t.Errorf("the replica has asked at %s", w.op.strays[0].URL)
	}
	reference := a.Header.Get("X-Reference")
	if reference == "" || !strings.Contains(w.logs.String(), "reference="+reference) {
		w.t.Errorf("the log does not have the reference %q: %s", reference, w.logs)
	}
	for _, secret := range []string{"secret-code", "access-token", "refresh-token", "eyJ"} {
		if strings.Contains(w.logs.String(), secret) {
			w.t.Errorf("%q is in the log: %s", secret, w.logs)
		}
	}
}

func TestCallbackMalformedQuery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := newBrowser()
		callback := w.begin(b, w.a, "")
		b.get(w.a.Callback, callback+"&x=%zz").want(t, http.StatusBadRequest, "problem callback_invalid")
		b.get(w.a.Callback, strings.Replace(callback, "iss=", "iss=x", 1)).want(t, http.StatusBadRequest, "problem callback_invalid")
		// What was wrong with the URL alone leaves the login as it was.
		b.get(w.a.Callback, callback).want(t, http.StatusFound, "https://app.example.com/")
	})
}

// FuzzCallback and FuzzLogin make sure that nothing a browser sends stops the
// process, and that nobody is signed in without the OP.
func FuzzCallback(f *testing.F) {
	f.Add("code=x&state=y&iss=https://op.example.com", "__Host-curfew-login-x=y")
	f.Add("error=access_denied&error_description=%00%ff&state=", "__Host-curfew-login-=; __Host-curfew=x")
	f.Add("state=a;b&code=%", "")
	f.Add("state=a&state=b", "__Host-curfew-login-ypeBEsobvcr6=gAAA==")
	r := newWorld(f).a
	f.Fuzz(func(t *testing.T, query, cookies string) {
		request := httptest.NewRequest(http.MethodGet, "/auth/callback", nil)
		request.URL.RawQuery = query
		request.Header.Set("Cookie", cookies)
		w := httptest.NewRecorder()
		r.Callback(w, request)
		if w.Code < 400 || len(w.Result().Cookies()) > 0 {
			t.Errorf("%q with %q is answered %d %v", query, cookies, w.Code, w.Result().Header)
		}
	})
}

func FuzzLogin(f *testing.F) {
	f.Add("rd=/docs", "__Host-curfew-login-x=y", "https://a.example.net/x")
	f.Add("next=//evil.com", "__Host-curfew-login-", "")
	f.Add("url=%zz", "a=b; __Host-curfew-login-x", "/\\evil")
	r := newWorld(f).a
	if err := r.Provider.Discover(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, cookies, original string) {
		request := httptest.NewRequest(http.MethodGet, "/auth/login", nil)
		request.URL.RawQuery = query
		request.Header.Set("Cookie", cookies)
		request.Header.Set("X-Original-Url", original)
		w := httptest.NewRecorder()
		r.Login(w, request)
		location := w.Header().Get("Location")
		if w.Code != http.StatusBadRequest && (w.Code != http.StatusFound || !strings.HasPrefix(location, "https://op.example.com/authorize?")) {
			t.Errorf("%q is answered %d %q", query, w.Code, location)
		}
	})
}
