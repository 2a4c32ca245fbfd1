package demo_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"curfew/cmd/curfew/demo"
)

// endAfter makes a logout that the replicas follow one after the other, each so
// long after it was sent.
func endAfter(f *fleet, after map[string]time.Duration, answer demo.Answer) func(context.Context, string) (demo.Answer, error) {
	return func(context.Context, string) (demo.Answer, error) {
		f.mu.Lock()
		sent := time.Now()
		for name, d := range after {
			f.replicas[name].until = sent.Add(d)
		}
		f.mu.Unlock()
		<-time.After(answer.Took)
		return answer, nil
	}
}

var soon = map[string]time.Duration{"north": 400 * time.Microsecond, "east": time.Millisecond, "south": 2 * time.Millisecond}

// card is a replica's place in the panel, without what surrounds the texts.
func card(name, state, label, detail string) string {
	return `<li data-replica="` + name + `" data-state="` + state + `"><span class="lamp" aria-hidden="true"></span><strong>` + name +
		`</strong><span class="label">` + label + `</span><span class="detail">` + detail + `</span></li>`
}

func TestSignOutAtProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		s := site(f)
		named := ""
		logout := endAfter(f, soon, demo.Answer{Status: 200, Fence: "complete", Took: 1800 * time.Microsecond, Replica: "east"})
		s.LogoutSession = func(ctx context.Context, sid string) (demo.Answer, error) {
			named = sid
			return logout(ctx, sid)
		}
		w := ask(t, s, http.MethodPost, "/demo/provider", "Sec-Fetch-Site", "same-origin")
		if w.Code != http.StatusOK || named != "op/sid+1" {
			t.Fatalf("status %d, and the provider was told to end %q", w.Code, named)
		}
		wantAll(t, w.Body.String(),
			`data-state="out" data-settled="yes"`, "Signed out on every replica",
			card("north", "out", "refuses: ended", "0.4 ms"),
			card("east", "out", "refuses: ended", "1.0 ms"),
			card("south", "out", "refuses: ended", "2.0 ms"),
			"<strong>east</strong> took the sign-out and answered",
			"<code>200</code><code>Curfew-Fence: complete</code><code>1.8 ms</code>",
			`<a class="button" href="/auth/login?rd=%2F">Sign in again</a>`,
			"<bdi>ada</bdi>",
		)
		if strings.Contains(w.Body.String(), `class="whoami"`) {
			t.Error("the header still shows somebody signed in")
		}
	})
}

func TestSignOutEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		s := site(f)
		named := ""
		logout := endAfter(f, soon, demo.Answer{Status: 200, Fence: "pending", Took: time.Millisecond})
		s.LogoutUser = func(ctx context.Context, sub string) (demo.Answer, error) {
			named = sub
			return logout(ctx, sub)
		}
		w := ask(t, s, http.MethodPost, "/demo/everywhere")
		if w.Code != http.StatusOK || named != "7f3a91c2" {
			t.Fatalf("status %d, and the provider was told to end %q", w.Code, named)
		}
		wantAll(t, w.Body.String(), "The replica that took the sign-out answered", "<code>Curfew-Fence: pending</code>", "Pending: ", "0.4 ms")
	})
}

func TestTimesCountFromWhenItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		s := site(f)
		s.LogoutUser = func(ctx context.Context, sub string) (demo.Answer, error) {
			<-time.After(30 * time.Millisecond) // the provider takes its time to sign
			return endAfter(f, soon, demo.Answer{Status: 200, Took: time.Millisecond})(ctx, sub)
		}
		wantAll(t, ask(t, s, http.MethodPost, "/demo/everywhere").Body.String(), card("east", "out", "refuses: ended", "1.0 ms"))
	})
}

// The provider may have more to do once the replica has answered.
func TestTimesCountFromWhenTheProviderSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		s := site(f)
		s.LogoutUser = func(ctx context.Context, sub string) (demo.Answer, error) {
			sent := time.Now()
			answer, err := endAfter(f, soon, demo.Answer{Status: 200, Sent: sent, Took: time.Millisecond})(ctx, sub)
			<-time.After(30 * time.Millisecond)
			return answer, err
		}
		wantAll(t, ask(t, s, http.MethodPost, "/demo/everywhere").Body.String(), card("east", "out", "refuses: ended", "1.0 ms"))
	})
}

func redirected(location string) *http.Response {
	return &http.Response{StatusCode: http.StatusSeeOther, Body: http.NoBody, Header: http.Header{
		"Location": {location}, "Curfew-Fence": {"complete"}, "Set-Cookie": {"curfew=; Max-Age=0; Path=/", "other=1"},
	}}
}

func TestSignOutInTheApp(t *testing.T) {
	for _, test := range []struct{ location, link string }{
		{"http://127.0.0.1:5556/end?id_token_hint=x&state=y", `href="http://127.0.0.1:5556/end?id_token_hint=x&amp;state=y"`},
		{"http://127.0.0.1:4180/auth/signed-out", ""},
		{"/auth/signed-out", ""},
		{"", ""},
		{"javascript://elsewhere/%0aalert(1)", `href="#ZgotmplZ"`},
		{"http://[broken", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet()
			f.each(func(r *replica) {
				r.logout = redirected(test.location)
				r.until = time.Now().Add(700 * time.Microsecond)
			})
			w := ask(t, site(f), http.MethodPost, "/demo/app", "Origin", "http://127.0.0.1:4180")
			body := w.Body.String()
			wantAll(t, body, `data-settled="yes"`, card("south", "out", "refuses: ended", "0.7 ms"), "<code>303</code><code>Curfew-Fence: complete</code>", test.link)
			if w.Code != http.StatusOK || w.Header().Get("Location") != "" {
				t.Errorf("status %d, headers %v: want a page that stays", w.Code, w.Header())
			}
			if got := w.Header().Values("Set-Cookie"); len(got) != 2 || !strings.HasPrefix(got[0], "curfew=;") {
				t.Errorf("cookies %q", got)
			}
			if linked := strings.Contains(body, "Sign out at the provider too"); linked != (test.link != "") {
				t.Errorf("to %q: linked %v", test.location, linked)
			}
			asked := f.requests("/auth/logout")
			if len(asked) != 1 || asked[0].Method != http.MethodPost || asked[0].Header.Get("Cookie") != "curfew=ticket" {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

func TestSignOutThatFails(t *testing.T) {
	failing := func(context.Context, string) (demo.Answer, error) { return demo.Answer{}, errors.New("secret detail") }
	for name, test := range map[string]struct {
		path  string
		spoil func(*replica)
	}{
		"nobody is told":               {"/demo/everywhere", func(*replica) {}},
		"the provider":                 {"/demo/provider", func(*replica) {}},
		"the user at the provider":     {"/demo/everywhere", func(*replica) {}},
		"no sid":                       {"/demo/provider", func(r *replica) { r.session = `{}` }},
		"no session in JSON":           {"/demo/provider", func(r *replica) { r.session = `<html>` }},
		"no logout":                    {"/demo/app", func(*replica) {}},
		"a logout refused":             {"/demo/app", func(r *replica) { r.logout = &http.Response{StatusCode: 403, Body: http.NoBody, Header: http.Header{}} }},
		"a logout that the log misses": {"/demo/app", func(r *replica) { r.logout = &http.Response{StatusCode: 503, Body: http.NoBody, Header: http.Header{}} }},
	} {
		f := newFleet()
		f.each(test.spoil)
		s := site(f)
		s.LogoutSession, s.LogoutUser = failing, failing
		if name == "nobody is told" {
			s.LogoutUser = func(context.Context, string) (demo.Answer, error) { return demo.Answer{}, nil }
		}
		w := ask(t, s, http.MethodPost, test.path)
		if w.Code != http.StatusBadGateway {
			t.Errorf("%s: status %d", name, w.Code)
		}
		wantAll(t, w.Body.String(), "did not go through", `data-state="in"`, `action="/demo/provider"`)
		if strings.Contains(w.Body.String(), "secret detail") || strings.Contains(w.Body.String(), "data-settled") {
			t.Errorf("%s:\n%s", name, w.Body)
		}
	}
}

func TestReplicaThatNeverHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		s := site(f)
		s.LogoutSession = endAfter(f, map[string]time.Duration{"north": 0, "east": time.Millisecond}, demo.Answer{Status: 200, Fence: "pending"})
		began := time.Now()
		body := ask(t, s, http.MethodPost, "/demo/provider").Body.String()
		wantAll(t, body, `data-state="mixed"`, "Not every replica lets you in", card("east", "out", "refuses: ended", "1.0 ms"), `data-replica="south" data-state="in"`)
		if strings.Contains(body, "data-settled") {
			t.Error("the panel is settled while a replica lets the browser in")
		}
		if took := time.Since(began); took > 1100*time.Millisecond {
			t.Errorf("the watch took %v", took)
		}
	})
}

func TestReplicaThatGoesAwayMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		s := site(f)
		logout := endAfter(f, soon, demo.Answer{Status: 200})
		s.LogoutSession = func(ctx context.Context, sid string) (demo.Answer, error) {
			f.mu.Lock()
			f.replicas["south"].broken = errors.New("gone")
			f.mu.Unlock()
			return logout(ctx, sid)
		}
		wantAll(t, ask(t, s, http.MethodPost, "/demo/provider").Body.String(), `data-state="out"`, "No replica lets you in", `data-replica="south" data-state="silent"`)
	})
}

func TestOtherSitesSignNobodyOut(t *testing.T) {
	for _, path := range []string{"/demo/provider", "/demo/app", "/demo/everywhere"} {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "http://elsewhere.example"},
			{"Origin", "null"},
			{"Origin", "http://127.0.0.1:9999"},
		} {
			f := newFleet()
			// notExpected fails the sign-out, which would be 502.
			w := ask(t, site(f), http.MethodPost, path, headers...)
			if w.Code != http.StatusForbidden {
				t.Errorf("%s with %v: status %d, want 403", path, headers, w.Code)
			}
			if asked := f.requests("/auth/logout"); len(asked) > 0 {
				t.Errorf("%s with %v reached a replica", path, headers)
			}
		}
	}
}

func TestSignOutWithoutSession(t *testing.T) {
	f := newFleet()
	f.each(func(r *replica) { r.status, r.reason = http.StatusUnauthorized, "ended" })
	w := ask(t, site(f), http.MethodPost, "/demo/provider")
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", w.Code)
	}
	wantAll(t, w.Body.String(), "Your session was ended.", `/auth/login?rd=%2F"`)
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name                string
		north, east, south  int
		reason              string
		state, title, label string // the label is east's
	}{
		{"all in", 200, 200, 200, "", "in", "Signed in on every replica", "lets you in"},
		{"one behind", 401, 200, 401, "ended", "mixed", "Not every replica lets you in", "lets you in"},
		{"one unsure", 200, 503, 200, "stale", "mixed", "Not every replica lets you in", "not sure, so lets nobody in"},
		{"all out", 401, 401, 401, "ended", "out", "Signed out on every replica", "refuses: ended"},
		{"never in", 401, 401, 401, "no_session", "out", "Signed out on every replica", "refuses: no session"},
		{"no reason", 401, 401, 401, "", "out", "Signed out on every replica", "refuses"},
		{"forbidden", 403, 403, 403, "group", "out", "Signed out on every replica", "refuses: group"},
		{"out or unsure", 401, 503, 401, "ended", "out", "No replica lets you in", "not sure, so lets nobody in"},
		{"all unsure", 503, 503, 503, "stale", "unsure", "No replica lets anybody in just now", "not sure, so lets nobody in"},
		{"strange", 500, 500, 500, "", "unsure", "No replica lets anybody in just now", "answers 500"},
		{"gone", 503, 0, 503, "", "unsure", "No replica lets anybody in just now", "does not answer"},
	} {
		f := newFleet()
		for name, status := range map[string]int{"north": test.north, "east": test.east, "south": test.south} {
			f.replicas[name].status, f.replicas[name].reason = status, test.reason
			if status == 0 {
				f.replicas[name].broken = errors.New("gone")
			}
		}
		w := ask(t, site(f), http.MethodGet, "/demo/verdicts")
		var got struct {
			State, Title string
			Verdicts     []struct{ Replica, State, Label, Detail string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.State != test.state || got.Title != test.title {
			t.Errorf("%s: %q, %q, want %q, %q", test.name, got.State, got.Title, test.state, test.title)
		}
		if len(got.Verdicts) != 3 || got.Verdicts[1].Replica != "east" || got.Verdicts[1].Label != test.label {
			t.Errorf("%s: verdicts %+v, want of east %q", test.name, got.Verdicts, test.label)
		}
		if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", test.name, h)
		}
		for _, asked := range f.requests("/auth/check") {
			if asked.Header.Get("Cookie") != "curfew=ticket" {
				t.Errorf("%s: asked about cookie %q", test.name, asked.Header.Get("Cookie"))
			}
		}
	}
}
