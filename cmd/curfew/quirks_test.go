package main

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curfew/sessions/guard"
	"curfew/sessions/rp/optest/realop"
)

// TestQuirks runs the program in front of each provider of testdata/quirks: people
// sign in, and go by whatever that provider has to end a session.
func TestQuirks(t *testing.T) {
	for name, s := range readShapes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newActor(t, s, "")
			a.letsIn(t)
			for _, l := range s.LogoutTokens {
				a.logsOut(t, l)
			}
			a.refreshes(t)
			for i := range s.Refusals {
				a.refusesRefresh(t, &s.Refusals[i])
			}
			a.lapses(t)
			a.isLeft(t)
		})
	}
}

// letsIn wants an application to be told what the shape says.
func (a *actor) letsIn(t *testing.T) {
	t.Helper()
	cookie := a.home.signIn(realop.NewBrowser(t), "ada")
	resp := a.home.replicas[0].check(cookie)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the guard answers %d", resp.StatusCode)
	}
	if len(a.shape.Told) == 0 {
		t.Error("the shape does not say what an application is told")
	}
	for name, want := range a.shape.Told {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	person := a.shape.People["ada"]
	session := a.home.session(cookie)
	if got := a.home.sub(cookie); got != person.Sub {
		t.Errorf("sub is %q, want %q", got, person.Sub)
	}
	if got, _ := session["sid"].(string); got != person.Sid {
		t.Errorf("sid is %q, want %q", got, person.Sid)
	}
}

// logsOut has ada signed in twice with one browser, which is one session of the
// provider's, and grace with another; and the provider say that ada has left.
func (a *actor) logsOut(t *testing.T, l logoutShape) {
	t.Helper()
	browser := realop.NewBrowser(t)
	first := a.home.signIn(browser, "ada")
	a.home.forget(browser)
	second := a.home.signIn(browser, "ada")
	grace := a.home.signIn(realop.NewBrowser(t), "grace")
	token := a.logoutToken(t, l, "ada")
	if l.Waits {
		a.posted(t, browser, l, token)
	} else {
		a.wantTaken(t, l, token)
	}
	for _, cookie := range []string{first, second} {
		a.home.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
	}
	a.home.wantEverywhere(grace, http.StatusOK, "")

	// Sent once more, it strikes nobody who has signed in since.
	fresh := a.home.signIn(realop.NewBrowser(t), "ada")
	for range l.Again + 1 {
		a.wantTaken(t, l, token)
	}
	a.home.wantEverywhere(fresh, http.StatusOK, "")
	a.home.wantEverywhere(grace, http.StatusOK, "")
	if t.Failed() {
		t.Fatalf("with the logout token %q", l.When)
	}
}

func (a *actor) wantTaken(t *testing.T, l logoutShape, token string) {
	t.Helper()
	if status, fence, body := a.post(l, token); status != http.StatusOK || fence != "complete" || body != "" {
		t.Errorf("%s: answered %d, fence %q, %q; want 200, complete, nothing", l.When, status, fence, body)
	}
}

// posted has the browser sign out of the application, and the provider send the
// token while the browser waits for it to end its own session.
func (a *actor) posted(t *testing.T, browser *realop.Browser, l logoutShape, token string) {
	t.Helper()
	var sent atomic.Bool
	a.set(func() {
		a.ending = func() {
			a.wantTaken(t, l, token)
			sent.Store(true)
		}
	})
	if _, err := browser.Post(t.Context(), a.home.front.URL+"/auth/logout", url.Values{}); err != nil {
		t.Fatal(err)
	}
	if !sent.Load() {
		t.Error("the browser did not come to the end-session endpoint")
	}
}

// briefly signs ada in with an access token that lasts for some seconds.
func (a *actor) briefly(t *testing.T, seconds int) string {
	t.Helper()
	a.set(func() { a.brief = seconds })
	defer a.set(func() { a.brief = 0 })
	return a.home.signIn(realop.NewBrowser(t), "ada")
}

// refreshes wants the session to go on with what the provider answers, and to end
// as it would have without.
func (a *actor) refreshes(t *testing.T) {
	t.Helper()
	if a.shape.Refreshed == nil {
		return
	}
	cookie := a.briefly(t, 1)
	eventually(t, "new tokens", func() bool {
		a.home.wantEverywhere(cookie, http.StatusOK, "")
		return a.home.refreshed("refreshed") == 1
	})
	for name, want := range a.shape.Told {
		if got := a.home.replicas[0].check(cookie).Header.Get(name); got != want {
			t.Errorf("refreshed, %s is %q, want %q", name, got, want)
		}
	}
	if len(a.shape.LogoutTokens) == 0 {
		return
	}
	began := time.Now().Unix()
	eventually(t, "another iat than before", func() bool { return time.Now().Unix() > began })
	l := a.shape.LogoutTokens[0]
	a.wantTaken(t, l, a.logoutToken(t, l, "ada"))
	a.home.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
}

// refusesRefresh wants the session to end when the provider refuses.
func (a *actor) refusesRefresh(t *testing.T, r *refusal) {
	t.Helper()
	cookie := a.briefly(t, 1)
	a.set(func() { a.refusal = r })
	defer a.set(func() { a.refusal = nil })
	if r.Unheard {
		eventually(t, "a try, "+r.When, func() bool {
			a.home.wantEverywhere(cookie, http.StatusOK, "")
			return a.home.refreshed("trouble") > 0
		})
		return
	}
	eventually(t, "the end of a session, "+r.When, func() bool {
		resp := a.home.replicas[0].check(cookie)
		return resp.StatusCode == http.StatusUnauthorized && resp.Header.Get(guard.HeaderReason) == "ended"
	})
	if got := a.home.refreshed("refused"); got == 0 {
		t.Errorf("%s: no refresh is counted as refused", r.When)
	}
}

// lapses wants a session that cannot be refreshed to be over with its access
// token, where the shape's settings say so.
func (a *actor) lapses(t *testing.T) {
	t.Helper()
	if a.shape.Answer["refresh_token"] != nil || a.shape.Settings["CURFEW_SESSION_UNTIL"] != "access_token" {
		return
	}
	seconds := 2
	cookie := a.briefly(t, seconds)
	for a.home.replicas[0].check(cookie).StatusCode != http.StatusOK {
		// The sign-in may have taken longer than its token was to last.
		if seconds *= 2; seconds > 16 {
			t.Fatal("a session is over before its access token is")
		}
		cookie = a.briefly(t, seconds)
	}
	eventually(t, "the access token's end", func() bool {
		resp := a.home.replicas[0].check(cookie)
		return resp.StatusCode == http.StatusUnauthorized && resp.Header.Get(guard.HeaderReason) == "expired"
	})
}

// isLeft has ada sign out of the application.
func (a *actor) isLeft(t *testing.T) {
	t.Helper()
	browser := realop.NewBrowser(t)
	cookie := a.home.signIn(browser, "ada")
	client := *browser.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.PostForm(a.home.front.URL+"/auth/logout", url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	a.home.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
	at := resp.Header.Get("Location")
	want := a.home.front.URL + "/auth/signed-out"
	if end, has := fill(a.shape.Discovery, a.values(""))["end_session_endpoint"].(string); has {
		want = end + "?"
		if query := at[min(len(want), len(at)):]; !strings.Contains(query, "id_token_hint=") || !strings.Contains(query, "post_logout_redirect_uri=") {
			t.Errorf("the provider is asked to end its session with %q", query)
		}
	}
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(at, want) {
		t.Errorf("signing out answers %d and leads to %q, want %q", resp.StatusCode, at, want)
	}
}
