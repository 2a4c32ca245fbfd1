package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions/rp/optest/realop"
)

// watcher is a client of the stream of events.
type watcher struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

// listen opens a stream. It is closed with the test.
func listen(t *testing.T, base, query string, header ...string) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%s: %d %q", query, resp.StatusCode, kind)
	}
	return &watcher{t, resp, bufio.NewScanner(resp.Body)}
}

// next is the next event with its name and number, comments left out.
func (l *watcher) next() (id, name string, data []byte) {
	l.t.Helper()
	for l.lines.Scan() {
		field, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = []byte(value)
		case "":
			if data != nil {
				return id, name, data
			}
		}
	}
	l.t.Fatalf("the stream ended: %v", l.lines.Err())
	return
}

// until takes events until one is of a kind.
func (l *watcher) until(kind events.Type) eventView {
	l.t.Helper()
	for {
		id, _, data := l.next()
		var event eventView
		if err := json.Unmarshal(data, &event); err != nil {
			l.t.Fatalf("%s: %v", data, err)
		}
		if id != fmt.Sprint(event.Position) {
			l.t.Errorf("number %s of position %d", id, event.Position)
		}
		if event.Type == kind {
			return event
		}
	}
}

func TestTheLogIsStreamed(t *testing.T) {
	h := newAppHouse(t)
	all := listen(t, h.admin(), "")
	ends := listen(t, h.admin(), "?subject=curfew.session.*.ended")
	view, cookie := h.signedIn("ada")
	started := all.until(events.TypeStarted)
	if started.Subject != "curfew.session."+view.Session.String()+".started" || started.ID == "" || started.Time.IsZero() || started.Source != "/curfew/only" {
		t.Errorf("got %+v", started)
	}
	var sub string
	if err := json.Unmarshal(started.Data["sub"], &sub); err != nil || sub != view.Sub {
		t.Errorf("sub is %s", started.Data["sub"])
	}
	for _, name := range []string{"sealed", "secret"} {
		if value, held := started.Data[name]; held {
			t.Errorf("%s is shown: %s", name, value)
		}
	}
	h.call("DELETE", "/v1/sessions/"+view.Session.String(), "")
	if _, _, data := ends.next(); !strings.Contains(string(data), `"type":"curfew.session.ended.v1"`) || !strings.Contains(string(data), view.Session.String()) {
		t.Errorf("the first end is %s", data)
	}
	ended := all.until(events.TypeEnded)

	again := listen(t, h.admin(), fmt.Sprintf("?since=%d", started.Position-1))
	if got := again.until(events.TypeStarted); got.Position != started.Position {
		t.Errorf("since the one before: %+v", got)
	}
	// A browser that reconnects asks for the same address, and says how far it
	// has come.
	resumed := listen(t, h.admin(), "?since=0&subject=curfew.session.>", "Last-Event-ID", fmt.Sprint(started.Position))
	if _, _, data := resumed.next(); !strings.Contains(string(data), fmt.Sprintf(`{"position":%d,`, ended.Position)) {
		t.Errorf("resumed with %s, want position %d", data, ended.Position)
	}
	if all.until(events.TypeAlive).Position <= ended.Position {
		t.Error("a heartbeat from before")
	}
	h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
}

func TestStreamsThatCannotBeginAreProblems(t *testing.T) {
	h := newAppHouse(t)
	for query, says := range map[string]string{
		"?since=x": "since", "?since=-1": "since", "?since=1.5": "since", "?since=18446744073709551616": "since",
		"?since=1000000": "the log ends at", "?subject=session.>": "only curfew.session", "?subject=curfew..x": "part",
	} {
		h.call("GET", "/v1/events"+query, "").wantProblem(t, query, http.StatusBadRequest, says)
	}
}

// What asks for the header alone must not have its connection taken up.
func TestHeadOfTheStreamEnds(t *testing.T) {
	h := newAppHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	w := httptest.NewRecorder()
	err := h.api.events(w, httptest.NewRequestWithContext(ctx, http.MethodHead, "/v1/events", nil))
	if err != nil || ctx.Err() != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %d %v, %v, %v", w.Code, w.Header(), err, ctx.Err())
	}
}

// The server's deadlines are for answers that end.
func TestAStreamOutlivesTheDeadlines(t *testing.T) {
	h := newAppHouse(t)
	server := httptest.NewUnstartedServer(h.api.handler())
	const deadline = 200 * time.Millisecond
	server.Config.ReadTimeout, server.Config.WriteTimeout = deadline, deadline
	server.Start()
	t.Cleanup(server.Close)
	stream := listen(t, server.URL, "")
	stream.lines.Buffer(nil, 1<<20)
	began := time.Now()
	for time.Since(began) < 5*deadline { // heartbeats come every second
		stream.until(events.TypeAlive)
	}
	if got := len(h.sessions("").Sessions); got != 0 {
		t.Errorf("%d sessions", got)
	}
	stream.resp.Body.Close()
	// The server, when it closes, waits for what is under way.
}

func TestAStreamEndsWithItsReplicaAndSaysSo(t *testing.T) {
	h := newAppHouse(t)
	stream := listen(t, h.admin(), "?subject=curfew.logout.>")
	began := time.Now()
	h.stop()
	if took := time.Since(began); took >= drainTime {
		t.Errorf("stopping took %s: the stream held it up", took)
	}
	_, name, data := stream.next()
	var p problemError
	if err := json.Unmarshal(data, &p); err != nil || name != "problem" || p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "stopping") {
		t.Errorf("the last word is %q %s (%v)", name, data, err)
	}
}

func TestSubjectsMatchAsNATSHasIt(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"", "curfew.logout.x", true},
		{">", "curfew.logout.x", true},
		{"curfew.>", "curfew.logout.x", true},
		{"curfew.*", "curfew.logout.x", false},
		{"curfew.*.*", "curfew.logout.x", true},
		{"curfew.*.>", "curfew.logout.x", true},
		{"curfew.session.*.ended", "curfew.session.a.ended", true},
		{"curfew.session.*.ended", "curfew.session.a.started", false},
		{"curfew.session.*.ended", "curfew.session.a.b.ended", false},
		{"curfew.session.a.ended", "curfew.session.a.ended", true},
		{"curfew.session.a", "curfew.session.a.ended", false},
		{"curfew.session.a.>", "curfew.session.a", false},
		{"curfew.session.a.ended.>", "curfew.session.a.ended", false},
		{"*.*.*.*", "curfew.session.a.ended", true},
		{"curfew.Session.>", "curfew.session.a.ended", false},
	} {
		if got := matches(c.pattern, c.subject); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.subject, got)
		}
	}
	for pattern, fit := range map[string]bool{
		"": true, ">": true, "*.>": true, "curfew.>": true, "curfew.session.>": true, "curfew.*.x": true, "curfew.replica.a.alive": true,
		".": false, "curfew": false, "session.>": false, "curfew.ended.*": false, "curfew.>.x": false, "curfew.session.a*": false,
		"curfew.session.>x": false, "curfew..x": false, "curfew.session. ": false, "curfew.session.": false, "other.>": false,
	} {
		if err := checkPattern(pattern); (err == nil) != fit {
			t.Errorf("%q: %v, want fit %v", pattern, err, fit)
		}
	}
}

// Nothing that opens anything is in what operators are answered.
func TestNoAnswerHoldsASecret(t *testing.T) {
	h := newAppHouse(t, "CURFEW_ADMIN_TOKEN", "operator-token")
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	id, _ := h.replicas[0].session(cookie)["session"].(string)
	h.stored(id)
	bearer := []string{"Authorization", "Bearer operator-token"}
	answers := ""
	for _, ask := range []struct{ method, path, body string }{
		{"GET", "/v1/sessions", ""}, {"GET", "/v1/sessions/" + id, ""}, {"GET", "/v1/replicas", ""}, {"GET", "/metrics", ""},
		{"DELETE", "/v1/sessions/" + id, ""}, {"POST", "/v1/logouts", `{"all":true}`}, {"POST", "/v1/logouts", `{"all":1}`},
	} {
		answer := h.call(ask.method, ask.path, ask.body, bearer...)
		answers += fmt.Sprint(answer.Header) + string(answer.body)
	}
	stream := listen(t, h.admin(), "?since=0", bearer...)
	for {
		_, _, data := stream.next()
		answers += string(data)
		if strings.Contains(string(data), "curfew.logout.received.v1") {
			break
		}
	}
	if !strings.Contains(answers, "curfew.session.started.v1") {
		t.Error("the stream has shown no session")
	}
	needles := tokensIn(t, h.tokens.Bytes())
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		t.Fatal(err)
	}
	secret := sha256.Sum256(raw[17:49])
	needles["cookie"], needles["cookie's secret"], needles["its hash"] = cookie, cookie[24:64], hex.EncodeToString(secret[:])
	needles["admin token"], needles["client secret"], needles["sealed"] = "operator-token", testClientSecret, "gAAAA"
	search(t, needles, "an answer", []byte(answers))
	search(t, map[string]string{"admin token": "operator-token"}, "the replica's log", []byte(h.said.String()))
}

// A connection's deadline is not counted by the time of day, which can be set.
func TestStreamOfEventsUnderAClockThatIsOff(t *testing.T) {
	late := func() time.Time { return time.Now().Add(-time.Hour) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := &stream{w: w, control: http.NewResponseController(w), now: late}
		s.open()
		s.close(problemf(http.StatusServiceUnavailable, "this replica is stopping"))
	}))
	defer server.Close()
	if _, name, _ := listen(t, server.URL, "").next(); name != "problem" {
		t.Errorf("the last word is %q", name)
	}
}
