package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// soon is within what an open page hears of its session's end.
const soon = time.Second

// pageStream is a page with a stream open.
type pageStream struct {
	t    *testing.T
	resp *http.Response
	// heard receives the first event, and is closed with the stream.
	heard chan heard
}

// heard is an event, and when it came.
type heard struct {
	name, data string
	at         time.Time
}

// streamAt opens a stream. It is closed with the test.
func streamAt(t *testing.T, client *http.Client, base string, cookie *http.Cookie) *pageStream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer time.AfterFunc(patient, cancel).Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/auth/session/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	tab := &pageStream{t, resp, make(chan heard, 1)}
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || resp.StatusCode != http.StatusOK || !strings.HasPrefix(lines.Text(), "retry: ") {
		t.Fatalf("a stream is answered %d and begins with %q", resp.StatusCode, lines.Text())
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		tab.read(lines)
	}()
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
		<-done
	})
	return tab
}

func (o *pageStream) read(lines *bufio.Scanner) {
	defer close(o.heard)
	var event heard
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			event.name = value
		case "data":
			event.data, event.at = value, time.Now()
		case "":
			if event.data != "" {
				o.heard <- event
				event = heard{}
			}
		}
	}
}

// hears wants an event, and that the stream ends with it. It returns when the event
// came.
func (o *pageStream) hears(name, reason string) time.Time {
	o.t.Helper()
	event, open := o.next()
	if !open {
		o.t.Fatal("the stream ended without a word")
	}
	if want := `{"reason":"` + reason + `"}`; event.name != name || event.data != want {
		o.t.Errorf("heard %s %s, want %s %s", event.name, event.data, name, want)
	}
	if further, open := o.next(); open {
		o.t.Errorf("heard %v after the last word", further)
	}
	return event.at
}

func (o *pageStream) next() (event heard, open bool) {
	o.t.Helper()
	select {
	case event, open = <-o.heard:
	case <-time.After(patient):
		o.t.Fatalf("nothing heard for %s", patient)
	}
	return event, open
}

// allHear is hears for several, and returns when the last of them heard.
func allHear(tabs []*pageStream, name, reason string) (last time.Time) {
	for _, tab := range tabs {
		tab.t.Helper()
		if at := tab.hears(name, reason); at.After(last) {
			last = at
		}
	}
	return last
}

// stream opens a stream at a replica.
func (r *replica) stream(cookie string) *pageStream {
	r.t.Helper()
	return streamAt(r.t, http.DefaultClient, r.public, &http.Cookie{Name: "curfew", Value: cookie})
}

// end has an operator end what a body names.
func (r *replica) end(t *testing.T, body string) {
	t.Helper()
	resp, err := http.Post(r.admin+"/v1/logouts", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("an operator's logout is answered %d", resp.StatusCode)
	}
}

func TestOpenTabsHearOfTheEndAtEveryReplica(t *testing.T) {
	h := newSmallHouse(t, nil)
	for _, c := range []struct {
		name, reason string
		end          func(*testing.T, string)
	}{
		{"the provider, by sid", "backchannel", func(t *testing.T, cookie string) { h.op.endSession(t, h.sid(cookie)) }},
		{"the provider, by sub", "backchannel", func(t *testing.T, cookie string) { h.op.endUser(t, h.sub(cookie)) }},
		{"an operator, by sub", "admin", func(t *testing.T, cookie string) { h.replicas[0].end(t, `{"sub":"`+h.sub(cookie)+`"}`) }},
		{"an operator, all", "admin", func(t *testing.T, _ string) { h.replicas[0].end(t, `{"all":true}`) }},
		{"an operator, one", "admin", func(t *testing.T, cookie string) {
			id, _ := h.session(cookie)["session"].(string)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, h.replicas[0].admin+"/v1/sessions/"+id, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusNoContent {
				t.Fatal(resp, err)
			}
		}},
		{"its user", "signed_out", func(t *testing.T, cookie string) { h.replicas[0].signOut(t, cookie) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			promptly(t, soon, func() time.Duration {
				cookie := h.signIn(realop.NewBrowser(t), "ada")
				tabs := make([]*pageStream, len(h.replicas))
				for i, r := range h.replicas {
					tabs[i] = r.stream(cookie)
					tabs[i].t = t
				}
				began := time.Now()
				c.end(t, cookie)
				return allHear(tabs, "ended", c.reason).Sub(began)
			})
		})
	}
}

// TestAThousandOpenTabsHearOfTheirEndAtOnce at another replica than the one that is
// told.
func TestAThousandOpenTabsHearOfTheirEndAtOnce(t *testing.T) {
	h := newSmallHouse(t, nil)
	promptly(t, soon, func() time.Duration {
		var tabs []*pageStream
		for range 20 {
			cookie := h.signIn(realop.NewBrowser(t), "ada")
			for range 50 {
				tabs = append(tabs, h.replicas[1].stream(cookie))
			}
		}
		began := time.Now()
		h.replicas[0].end(t, `{"all":true}`)
		return allHear(tabs, "ended", "admin").Sub(began)
	})
}

// signOut is what the page with the button does.
func (r *replica) signOut(t *testing.T, cookie string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "curfew", Value: cookie})
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("a sign-out is answered %d", resp.StatusCode)
	}
}

// A session that lasts as long as its access token, and has nothing to get another
// with, is over when that ends: nothing is said of it in the log before.
func TestOpenTabHearsThatTheTimeIsUp(t *testing.T) {
	// Long enough to sign in and open a stream meanwhile.
	const life = 5 * time.Second
	address, _ := startNATS(t, t.TempDir(), "-1")
	s := newSite(t, address)
	op := &optest.Provider{
		Now: time.Now, AccessLife: life,
		Clients: []optest.Client{{ID: testClientID, Secret: testClientSecret, RedirectURIs: []string{s.front.URL + "/auth/callback"}}},
		Alter: func(part optest.Part, members map[string]any) {
			if part == optest.TokenAnswer {
				delete(members, "refresh_token")
			}
		},
	}
	realop.Serve(t, op, nil)
	s.open(op.Issuer, "CURFEW_SESSION_UNTIL=access_token")
	promptly(t, life+soon, func() time.Duration {
		began := time.Now()
		cookie := s.signIn(realop.NewBrowser(t), "ada")
		given := time.Now()
		heard := s.replicas[1].stream(cookie).hears("ended", "expired")
		// The token's end is given in whole seconds.
		if took := heard.Sub(began); took < life-time.Second {
			t.Errorf("heard after %s already", took)
		}
		return heard.Sub(given)
	})
}

// While the log is away, a replica that has been given a logout says so, and the
// others, when they cannot know, that they do not.
func TestOpenTabsWhileTheLogIsAway(t *testing.T) {
	const lease = 3 * time.Second
	b := newBroker(t)
	h := newSmallHouseAt(t, b.address, nil, "CURFEW_MAX_STALENESS="+lease.String())
	promptly(t, soon, func() time.Duration {
		told, unsure := h.tabsWhileTheLogIsAway(t, b)
		return max(told, unsure-lease)
	})
}

// tabsWhileTheLogIsAway returns after how long which tab heard.
func (h *house) tabsWhileTheLogIsAway(t *testing.T, b *broker) (toldAfter, unsureAfter time.Duration) {
	t.Helper()
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	token := h.logoutToken(cookie)
	told, other := h.replicas[0].stream(cookie), h.replicas[1].stream(cookie)
	b.kill()
	away := time.Now()
	if resp, _ := h.replicas[0].postLogout(token); resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("without the log, a logout is answered %d", resp.StatusCode)
	}
	toldAfter = told.hears("ended", "backchannel").Sub(away)
	unsureAfter = other.hears("unsure", "stale").Sub(away)
	if resp := h.replicas[1].ask("/auth/session/events", cookie); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("opened anew, it is answered %d", resp.StatusCode)
	}
	b.again()
	h.replicas[0].ready()
	h.replicas[1].ready()
	if resp := h.replicas[1].ask("/auth/session/events", cookie); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("X-Curfew-Reason") != "ended" {
		t.Errorf("with the log back, it is answered %d %q", resp.StatusCode, resp.Header.Get("X-Curfew-Reason"))
	}
	return toldAfter, unsureAfter
}

func TestOpenTabsEndWithTheirReplica(t *testing.T) {
	promptly(t, soon, func() time.Duration {
		h := newAppHouse(t)
		cookie := h.signIn(realop.NewBrowser(t), "ada")
		tabs := make([]*pageStream, 50)
		for i := range tabs {
			tabs[i] = h.replicas[0].stream(cookie)
		}
		wantMetric(t, h, "curfew_open_tabs 50")
		began := time.Now()
		h.stop()
		if took := time.Since(began); took >= drainTime {
			t.Errorf("stopping took %s: the streams held it up", took)
		}
		return allHear(tabs, "unsure", "stopping").Sub(began)
	})
}

func wantMetric(t *testing.T, h *appHouse, line string) {
	t.Helper()
	if got := string(h.call("GET", "/metrics", "").body); !strings.Contains(got, "\n"+line+"\n") {
		t.Errorf("the metrics do not say %s", line)
	}
}

// The server's deadlines are for answers that end.
func TestOpenTabOutlivesTheDeadlines(t *testing.T) {
	h := newAppHouse(t)
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	server := httptest.NewUnstartedServer(h.app.publicHandler())
	const deadline = 2 * time.Second // for the request to be read, too
	server.Config.ReadTimeout, server.Config.WriteTimeout = deadline, deadline
	server.Start()
	t.Cleanup(server.Close)
	tab := streamAt(t, http.DefaultClient, server.URL, &http.Cookie{Name: "curfew", Value: cookie})
	began := time.Now()
	eventually(t, "the deadlines have passed", func() bool { return time.Since(began) > deadline+deadline/4 })
	h.replicas[0].end(t, `{"all":true}`)
	tab.hears("ended", "admin")
}

func TestOpenTabsAreForOwnPagesAndReading(t *testing.T) {
	h := newAppHouse(t)
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	front, err := url.Parse(h.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method string
		header []string
		status int
	}{
		{http.MethodHead, nil, 200},
		{http.MethodHead, []string{"Origin", h.front.URL}, 200},
		{http.MethodHead, []string{"Origin", "https://evil.example"}, 403},
		{http.MethodGet, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{http.MethodPost, nil, 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, h.replicas[0].public+"/auth/session/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = front.Host
		req.AddCookie(&http.Cookie{Name: "curfew", Value: cookie})
		for i := 0; i < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || resp.Header.Get("Set-Cookie") != "" || strings.Contains(string(body), "retry") {
			t.Errorf("%s with %q: answered %d %v %q (%v), want %d", c.method, c.header, resp.StatusCode, resp.Header, body, err, c.status)
		}
	}
}
