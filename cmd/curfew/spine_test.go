package main

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"curfew/sessions/rp/optest/realop"
)

func TestSignInOncePassEverywhereBeSignedOutEverywhere(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			h := newRealHouse(t, realop.Client{Alg: alg})
			ada := h.signIn(realop.NewBrowser(t), "ada")
			grace := h.signIn(realop.NewBrowser(t), "grace")
			for _, r := range h.replicas {
				resp := r.check(ada)
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("%s answers %d", r.name, resp.StatusCode)
				}
				for name, want := range map[string]string{
					"Remote-User": "ada", "X-Auth-Request-User": "ada", "Remote-Email": "ada@example.com",
					"X-Auth-Request-Groups": "admins,staff", "X-Auth-Request-Sub": h.sub(ada),
				} {
					if got := resp.Header.Get(name); got != want {
						t.Errorf("%s: %s is %q, want %q", r.name, name, got, want)
					}
				}
			}
			h.through.Store(1)
			h.op.endSession(t, h.sid(ada))
			h.wantEverywhere(ada, http.StatusUnauthorized, "ended")
			h.wantEverywhere(grace, http.StatusOK, "")
		})
	}
}

func TestLogoutBySubAlone(t *testing.T) {
	h := newRealHouse(t, realop.Client{SubOnly: true})
	first := h.signIn(realop.NewBrowser(t), "ada")
	second := h.signIn(realop.NewBrowser(t), "ada")
	grace := h.signIn(realop.NewBrowser(t), "grace")
	if sid := h.session(first)["sid"]; sid != nil {
		t.Fatalf("the session bears the sid %v, want none", sid)
	}
	h.through.Store(2)
	h.op.endUser(t, h.sub(first))
	for _, cookie := range []string{first, second} {
		h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
	}
	h.wantEverywhere(grace, http.StatusOK, "")
}

// A second login in the same session of the OP has the same sid.
func TestTwoSessionsWithOneSid(t *testing.T) {
	h := newRealHouse(t, realop.Client{})
	browser := realop.NewBrowser(t)
	first := h.signIn(browser, "ada")
	h.through.Store(1)
	second := h.signIn(browser, "ada")
	if first == second || h.sid(first) != h.sid(second) {
		t.Fatal("want two sessions with one sid")
	}
	h.op.endSession(t, h.sid(first))
	h.wantEverywhere(first, http.StatusUnauthorized, "ended")
	h.wantEverywhere(second, http.StatusUnauthorized, "ended")
}

// The browser comes back with its code after the OP has ended the session.
func TestLogoutWhileTheBrowserIsOnItsWayBack(t *testing.T) {
	h := newRealHouse(t, realop.Client{})
	browser := realop.NewBrowser(t)
	first := h.signIn(browser, "ada")
	h.forget(browser)
	callback := h.untilCallback(browser)
	h.op.endSession(t, h.sid(first))
	resp, err := browser.Get(t.Context(), callback)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.cookie(browser); got != "" {
		t.Errorf("a session was handed out, %d at %s", resp.StatusCode, resp.Request.URL.Path)
	}
}

// The logout comes while a replica exchanges the code: the OP has made its
// tokens, and the start is not in the log yet.
func TestLogoutWhileTheCodeIsExchanged(t *testing.T) {
	h := newRealHouse(t, realop.Client{})
	op, ok := h.op.(realProvider)
	if !ok {
		t.Fatal("not the real provider")
	}
	browser := realop.NewBrowser(t)
	first := h.signIn(browser, "ada")
	h.forget(browser)
	if err := op.HoldTokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan *http.Response)
	go func() {
		resp, err := browser.Get(t.Context(), h.front.URL+"/auth/login?rd=/after")
		if err != nil {
			t.Error(err)
		}
		done <- resp
	}()
	if err := op.AwaitHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.through.Store(1)
	h.op.endSession(t, h.sid(first))
	h.through.Store(0)
	if err := op.ReleaseTokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wantOvertaken(browser, <-done)
	h.wantEverywhere(first, http.StatusUnauthorized, "ended")
}

// wantOvertaken wants a login to have been finished without a fault, and to have
// become no session.
func (h *house) wantOvertaken(b *realop.Browser, resp *http.Response) {
	h.t.Helper()
	if got := h.cookie(b); got != "" {
		h.t.Error("a session was handed out")
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/auth/callback" || !strings.Contains(string(body), "signed out") {
		h.t.Errorf("the login ended at %s with %d:\n%s", resp.Request.URL.Path, resp.StatusCode, body)
	}
}

// The same at an OP that holds the answer back as long as the test likes.
func TestLogoutWhileTheCodeIsExchangedAtTheSmallProvider(t *testing.T) {
	asked, answer := make(chan bool), make(chan bool)
	hold := make(chan bool, 1)
	h := newSmallHouse(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				select {
				case <-hold:
					defer func() {
						asked <- true
						<-answer
					}()
				default:
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	browser := realop.NewBrowser(t)
	first := h.signIn(browser, "ada")
	h.forget(browser)
	hold <- true
	done := make(chan *http.Response)
	go func() {
		resp, err := browser.Get(t.Context(), h.front.URL+"/auth/login?rd=/after")
		if err != nil {
			t.Error(err)
		}
		done <- resp
	}()
	<-asked
	h.through.Store(1)
	h.op.endSession(t, h.sid(first))
	h.through.Store(0)
	close(answer)
	h.wantOvertaken(browser, <-done)
	h.wantEverywhere(first, http.StatusUnauthorized, "ended")
}

func TestLoginRightAfterALogoutBySubLives(t *testing.T) {
	h := newSmallHouse(t, nil)
	for range 20 {
		old := h.signIn(realop.NewBrowser(t), "ada")
		h.through.Store(1)
		h.op.endUser(t, h.sub(old))
		h.through.Store(2)
		fresh := h.signIn(realop.NewBrowser(t), "ada")
		h.wantEverywhere(old, http.StatusUnauthorized, "ended")
		h.wantEverywhere(fresh, http.StatusOK, "")
	}
}

func TestThousandLoginsEachCheckedElsewhereAtOnce(t *testing.T) {
	logins := 1000
	if testing.Short() {
		logins = 50
	}
	h := newSmallHouse(t, nil)
	browser := realop.NewBrowser(t)
	for i := range logins {
		h.through.Store(int32(i % 3))
		cookie := h.signIn(browser, "ada")
		for other := 1; other < 3; other++ {
			r := h.replicas[(i+other)%3]
			if resp := r.check(cookie); resp.StatusCode != http.StatusOK {
				t.Fatalf("login %d: %s answers %d", i, r.name, resp.StatusCode)
			}
		}
	}
}

func TestSessionsOutliveEveryReplica(t *testing.T) {
	h := newSmallHouse(t, nil)
	alive := h.signIn(realop.NewBrowser(t), "ada")
	over := h.signIn(realop.NewBrowser(t), "grace")
	h.op.endSession(t, h.sid(over))
	again := func(what string, change func()) {
		t.Helper()
		for _, r := range h.replicas {
			r.stop()
		}
		change()
		for _, name := range []string{"one", "two", "three"} {
			h.start(name)
		}
		for _, r := range h.replicas {
			r.ready()
		}
		t.Log(what)
		h.wantEverywhere(alive, http.StatusOK, "")
		h.wantEverywhere(over, http.StatusUnauthorized, "ended")
	}
	again("all replicas stopped and started", func() {})
	again("one replica's data deleted", func() {
		if err := os.RemoveAll(h.replicas[1].data); err != nil {
			t.Fatal(err)
		}
	})
}

// forget has the browser forget its session cookie, and nothing else.
func (s *site) forget(b *realop.Browser) {
	u, err := url.Parse(s.front.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	b.Client.Jar.SetCookies(u, []*http.Cookie{{Name: "curfew", Path: "/", MaxAge: -1}})
}

// untilCallback begins a login in a browser that is signed in at the OP, and
// stops before it comes back.
func (s *site) untilCallback(b *realop.Browser) string {
	s.t.Helper()
	client := *b.Client
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/auth/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := client.Get(s.front.URL + "/auth/login?rd=/after")
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	callback := resp.Header.Get("Location")
	if !strings.Contains(callback, "/auth/callback?") {
		s.t.Fatalf("the login came to %s, %d", resp.Request.URL, resp.StatusCode)
	}
	return callback
}
