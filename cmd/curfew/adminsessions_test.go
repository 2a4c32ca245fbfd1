package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func TestOperatorsSeeSessions(t *testing.T) {
	h := newAppHouse(t)
	first, _ := h.signedIn("ada")
	second, _ := h.signedIn("ada")
	other, _ := h.signedIn("grace")
	if first.Issuer != h.op.Issuer || first.Username != "ada" || first.Email != "ada@example.com" || first.Sub == "" || first.Sid == "" {
		t.Errorf("got %+v", first)
	}
	if age := time.Since(first.Started); age < 0 || age > patient || first.Seen.Before(first.Started) || first.Expires.Sub(first.Started) < 11*time.Hour {
		t.Errorf("started %s, seen %s, expires %s", first.Started, first.Seen, first.Expires)
	}
	if first.Client.Address == "" || first.Client.UserAgent == "" || first.Reason != "" || !first.Ended.IsZero() {
		t.Errorf("got %+v", first)
	}
	for query, want := range map[string][]sessionView{
		"":                                    {first, second, other},
		"?sub=&sid=":                          {first, second, other},
		"?sub=" + url.QueryEscape(first.Sub):  {first, second},
		"?sub=nobody":                         {},
		"?sid=" + url.QueryEscape(second.Sid): {second},
		"?sid=" + second.Sid + "&sub=" + other.Sub:               {},
		"?sid=" + second.Sid + "&sub=" + second.Sub:              {second},
		"?after=" + first.Session.String():                       {second, other},
		"?after=" + other.Session.String():                       {},
		"?sub=" + first.Sub + "&after=" + first.Session.String(): {second},
	} {
		got := h.sessions(query)
		if !slices.Equal(got.Sessions, want) || got.Next != nil {
			t.Errorf("%q: got %+v, next %v, want %d sessions", query, got.Sessions, got.Next, len(want))
		}
	}
	if empty := h.call("GET", "/v1/sessions?sub=nobody", ""); strings.TrimSpace(string(empty.body)) != `{"sessions":[],"next":null}` {
		t.Errorf("nobody's list is %s", empty.body)
	}
}

func TestPagesHoldEverySessionOnce(t *testing.T) {
	h := newAppHouse(t)
	var want []sessionView
	for range 5 {
		view, _ := h.signedIn("ada")
		want = append(want, view)
	}
	for _, narrow := range []string{"", "&sub=" + want[0].Sub} {
		for limit := 1; limit <= 6; limit++ {
			var got []sessionView
			pages := 0
			for query := fmt.Sprintf("?limit=%d%s", limit, narrow); ; pages++ {
				page := h.sessions(query)
				got = append(got, page.Sessions...)
				if len(page.Sessions) > limit || pages > len(want) {
					t.Fatalf("limit %d: a page of %d", limit, len(page.Sessions))
				}
				if page.Next == nil {
					break
				}
				if last := page.Sessions[len(page.Sessions)-1].Session; *page.Next != last {
					t.Errorf("next is %s, want the last id %s", page.Next, last)
				}
				query = fmt.Sprintf("?limit=%d&after=%s%s", limit, page.Next, narrow)
			}
			if !slices.Equal(got, want) || pages != (len(want)-1)/limit {
				t.Errorf("limit %d%s: %d sessions on %d pages before the last", limit, narrow, len(got), pages)
			}
		}
	}
}

func TestBadQueriesAreProblems(t *testing.T) {
	h := newAppHouse(t)
	for query, says := range map[string]string{
		"?limit=0": "limit", "?limit=-1": "limit", "?limit=1001": "limit", "?limit=many": "limit", "?limit=1.5": "limit",
		"?after=x": "after", "?after=" + strings.ToUpper(events.NewID()): "after", "?sub=%zz": "query",
	} {
		h.call("GET", "/v1/sessions"+query, "").wantProblem(t, query, http.StatusBadRequest, says)
	}
	unknown := events.NewSessionID().String()
	for _, id := range []string{unknown, "x", "%2e%2e", "00000000-0000-0000-0000-000000000000"} {
		h.call("GET", "/v1/sessions/"+id, "").wantProblem(t, id, http.StatusNotFound, "there is no session")
		h.call("DELETE", "/v1/sessions/"+id, "").wantProblem(t, id, http.StatusNotFound, "there is no session")
	}
	for path, allow := range map[string]string{
		"/v1/sessions": "GET", "/v1/sessions/" + unknown: "DELETE, GET", "/v1/replicas": "GET", "/v1/events": "GET",
	} {
		answer := h.call("PUT", path, "")
		answer.wantProblem(t, path, http.StatusMethodNotAllowed, path)
		if got := answer.Header.Get("Allow"); !strings.HasPrefix(got, allow) {
			t.Errorf("%s allows %q, want %q", path, got, allow)
		}
	}
	for _, path := range []string{"/v1/", "/v1/nothing", "/v1/sessions/a/b"} {
		h.call("GET", path, "").wantProblem(t, path, http.StatusNotFound, "there is nothing")
	}
}

func TestAnOperatorEndsASession(t *testing.T) {
	h := newAppHouse(t)
	view, cookie := h.signedIn("ada")
	_, beside := h.signedIn("ada")
	before := time.Now().Add(-time.Second)
	for range 2 { // again, it is ended as it was
		answer := h.call("DELETE", "/v1/sessions/"+view.Session.String(), "")
		if answer.StatusCode != http.StatusNoContent || answer.Header.Get("Curfew-Fence") != "complete" || len(answer.body) > 0 {
			t.Errorf("answered %d, fence %q, %q", answer.StatusCode, answer.Header.Get("Curfew-Fence"), answer.body)
		}
	}
	h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
	h.wantEverywhere(beside, http.StatusOK, "")
	over := h.shown(view.Session.String())
	if over.Reason != events.Admin || over.Ended.Before(before) || over.Username != "ada" {
		t.Errorf("got %+v", over)
	}
	if list := h.sessions(""); len(list.Sessions) != 2 || list.Sessions[0] != over {
		t.Errorf("the list has %+v", list.Sessions)
	}
}

// A session that something else has ended keeps its reason, whoever writes its
// end.
func TestEndingWhatIsOverKeepsItsReason(t *testing.T) {
	h := newAppHouse(t)
	view, _ := h.signedIn("ada")
	if _, err := h.op.LogoutSession(t.Context(), view.Sid); err != nil {
		t.Fatal(err)
	}
	over := h.shown(view.Session.String())
	if over.Reason != events.Backchannel || over.Ended.IsZero() {
		t.Errorf("got %+v", over)
	}
	if got := h.call("DELETE", "/v1/sessions/"+view.Session.String(), "").StatusCode; got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}
	if got := h.shown(view.Session.String()).Reason; got != events.Backchannel {
		t.Errorf("the reason has become %q", got)
	}
}

func TestIdsAreNotDeniedByAReplicaThatIsBehind(t *testing.T) {
	h := newAppHouse(t)
	h.api.lease = &sessions.Lease{Length: time.Second, Clock: readClock}
	_, err := h.api.find(events.NewSessionID().String())
	if p := problemOf(err); p.Status != http.StatusServiceUnavailable {
		t.Errorf("got %v, want 503", err)
	}
	w := httptest.NewRecorder()
	if err := h.api.list(w, httptest.NewRequest(http.MethodGet, "/v1/sessions", nil)); err != nil || !strings.Contains(w.Body.String(), `"behind":true`) {
		t.Errorf("the list is %s, %v", w.Body, err)
	}
}

// What the log has yet to take has effect here, and shows.
func TestEndsThatTheLogHasYetToTakeAreShown(t *testing.T) {
	h := newAppHouse(t)
	view, cookie := h.signedIn("ada")
	_, graces := h.signedIn("grace")
	logout := events.LogoutReceived{Issuer: view.Issuer, Sid: view.Sid, JTI: "1", Reason: events.Backchannel, Replica: "only"}
	h.app.registry.Foresee(logout)
	h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
	h.wantEverywhere(graces, http.StatusOK, "")
	if got := h.shown(view.Session.String()); got.Reason != events.Backchannel || got.Ended.IsZero() {
		t.Errorf("got %+v", got)
	}
	if list := h.sessions(""); len(list.Sessions) != 2 || list.Sessions[0].Reason != events.Backchannel || list.Sessions[1].Reason != "" {
		t.Errorf("the list has %+v", list.Sessions)
	}
	h.app.registry.Unforesee(logout)
	if got := h.shown(view.Session.String()); got.Reason != "" {
		t.Errorf("got %+v", got)
	}
}

// keptEnds remembers what it is asked to end.
type keptEnds struct {
	brokenLogouts
	ends []events.Ended
}

// End takes it down.
func (l *keptEnds) End(_ context.Context, ended ...events.Ended) (sessions.Fence, error) {
	l.ends = append(l.ends, ended...)
	return sessions.Complete, nil
}

// The end of a session that a logout covers may not be in the log yet. Then it
// is written with the reason it will have.
func TestAnEndIsWrittenWithItsOwnReason(t *testing.T) {
	h := newAppHouse(t)
	view, _ := h.signedIn("ada")
	kept := new(keptEnds)
	h.api.logouts = kept
	end := func() {
		t.Helper()
		w := httptest.NewRecorder()
		h.api.handler().ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "http://127.0.0.1/v1/sessions/"+view.Session.String(), nil))
		if w.Code != http.StatusNoContent {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	}
	end()
	if _, err := h.op.LogoutSession(t.Context(), view.Sid); err != nil {
		t.Fatal(err)
	}
	end()
	for i, want := range []events.Reason{events.Admin, events.Backchannel} {
		got := kept.ends[i]
		if got.Reason != want || got.Session != view.Session || got.Issuer != view.Issuer || got.Sub != view.Sub || got.Sid != view.Sid || got.At.IsZero() {
			t.Errorf("got %+v, want it for %s", got, want)
		}
	}
}

// brokenLogouts stands for a log in trouble.
type brokenLogouts struct{ err error }

func (l brokenLogouts) End(context.Context, ...events.Ended) (sessions.Fence, error) {
	return sessions.Pending, l.err
}

func (l brokenLogouts) Receive(context.Context, events.LogoutReceived) (sessions.Fence, error) {
	return sessions.Pending, l.err
}

func TestWhatTheLogDoesNotTakeIsAProblem(t *testing.T) {
	h := newAppHouse(t)
	view, _ := h.signedIn("ada")
	for _, c := range []struct {
		err    error
		status int
		retry  string
		says   string
	}{
		{fmt.Errorf("natslog: append: %w", events.ErrUnavailable), http.StatusServiceUnavailable, "1", "asking again does no harm"},
		{errors.Join(events.ErrUnavailable, sessions.ErrOutboxFull), http.StatusServiceUnavailable, "1", "no more can be kept"},
		// A log that answers and refuses: the end is kept all the same.
		{errors.New("natslog: append: secret things"), http.StatusServiceUnavailable, "1", "asking again does no harm"},
	} {
		h.api.logouts = brokenLogouts{c.err}
		for _, r := range []*http.Request{
			httptest.NewRequest(http.MethodDelete, "http://127.0.0.1/v1/sessions/"+view.Session.String(), nil),
			httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/logouts", strings.NewReader(`{"sub":"u"}`)),
		} {
			w := httptest.NewRecorder()
			h.api.handler().ServeHTTP(w, r)
			answered{w.Result(), w.Body.Bytes()}.wantProblem(t, r.Method, c.status, c.says)
			if got := w.Header().Get("Retry-After"); got != c.retry {
				t.Errorf("%s: %v: Retry-After is %q, want %q", r.Method, c.err, got, c.retry)
			}
			if strings.Contains(w.Body.String(), "secret things") {
				t.Errorf("%s: the fault's text is shown", r.Method)
			}
		}
	}
	h.api.logouts = brokenLogouts{}
	w := httptest.NewRecorder()
	h.api.handler().ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "http://127.0.0.1/v1/sessions/"+view.Session.String(), nil))
	if w.Code != http.StatusNoContent || w.Header().Get("Curfew-Fence") != "pending" {
		t.Errorf("a fence that waits: %d %q", w.Code, w.Header().Get("Curfew-Fence"))
	}
}

// A login that a logout covered on its way never was a session, and takes up no
// room on a page.
func TestCoveredLoginsAreNoSessions(t *testing.T) {
	h := newAppHouse(t)
	begun, err := h.app.log.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.take(events.LogoutReceived{Issuer: h.op.Issuer, Sid: "s", JTI: "1", Reason: events.Backchannel, Replica: "only"})
	for range 3 {
		id, now := events.NewSessionID(), time.Now()
		sealed, err := sessions.Private{Session: id, Issuer: h.op.Issuer, Sub: "u", Sid: "s"}.Seal(h.app.ring)
		if err != nil {
			t.Fatal(err)
		}
		h.take(events.Started{
			Session: id, Issuer: h.op.Issuer, Sub: "u", Sid: "s", Secret: events.SecretHash{1}, Begun: begun.Last,
			BegunAt: now, At: now, Expires: now.Add(time.Hour), Sealed: sealed,
		})
		h.stored(id.String())
		h.call("GET", "/v1/sessions/"+id.String(), "").wantProblem(t, "show", http.StatusNotFound, "")
	}
	if list := h.sessions(""); len(list.Sessions) != 0 {
		t.Errorf("listed as %+v", list.Sessions)
	}
	view, _ := h.signedIn("ada")
	if list := h.sessions("?limit=1"); len(list.Sessions) != 1 || list.Sessions[0] != view || list.Next != nil {
		t.Errorf("a page of one holds %+v", list)
	}
}

// take puts a fact into the log, and waits until it has been applied.
func (h *appHouse) take(fact events.Fact) {
	h.t.Helper()
	at, err := h.app.log.Append(h.t.Context(), events.NewEvent(fact, "only", time.Now()), events.Always())
	if err == nil {
		err = h.app.registry.Await(h.t.Context(), events.Mark{Log: h.app.registry.Applied().Log, At: at})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestEveryLogoutOfAnOperator(t *testing.T) {
	h := newAppHouse(t)
	ada, adas := h.signedIn("ada")
	grace, graces := h.signedIn("grace")
	for body, says := range map[string]string{
		``: "no logout", `x`: "no logout", `[]`: "no logout", `"sub"`: "no logout",
		`{}`: "names nobody", `null`: "names nobody", `{"sub":""}`: "names nobody", `{"all":false}`: "names nobody", `{"reason":"x"}`: "names nobody",
		`{"sub":1}`: "no logout", `{"sid":["x"]}`: "no logout", `{"all":"yes"}`: "no logout", `{"all":1}`: "no logout",
		`{"sub":"u","all":true}`: "all and somebody", `{"sid":"s","all":true}`: "all and somebody",
		`{"sub":"u","user":"x"}`: "unknown field", `{"sub":"u"}{"sub":"v"}`: "more behind", `{"sub":"u"} x`: "more behind",
		`{"sub":"u","sub":"v"}`: "sub stands there twice", `{"sub":"u","s\u0075b":"u"}`: "twice", `{"all":true,"all":false,"sub":"u"}`: "twice",
		`{"Sub":"u"}`: `unknown field "Sub"`, `{"sub":"u","SUB":"v"}`: `unknown field "SUB"`, `{"\u017fub":"u"}`: "unknown field",
		`{"issuer":"https://other.example.com","sub":"u"}`:        "issuer",
		`{"sub":"u","reason":"` + strings.Repeat("x", 501) + `"}`: "reason",
		`{"sub":"` + strings.Repeat("x", 70_000) + `"}`:           "no logout",
	} {
		h.call("POST", "/v1/logouts", body).wantProblem(t, body[:min(len(body), 50)], http.StatusBadRequest, says)
	}
	for _, kind := range []string{"application/x-www-form-urlencoded", "text/plain", "application/jsonx", "application/json, text/plain", "x"} {
		h.call("POST", "/v1/logouts", `{"all":true}`, "Content-Type", kind).wantProblem(t, kind, http.StatusUnsupportedMediaType, "want application/json")
	}
	h.wantEverywhere(adas, http.StatusOK, "")
	quote := func(text string) string {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(quoted)
	}
	end := func(body string) {
		t.Helper()
		answer := h.call("POST", "/v1/logouts", body, "Content-Type", "application/json; charset=utf-8")
		var said logoutAnswer
		if err := json.Unmarshal(answer.body, &said); err != nil || answer.StatusCode != http.StatusOK || said.Fence != "complete" || said.ID == "" {
			t.Errorf("%s: %d %s", body, answer.StatusCode, answer.body)
		}
		if got := answer.Header.Get("Curfew-Fence"); got != said.Fence {
			t.Errorf("%s: the header says %q", body, got)
		}
	}
	end(`{"sid":` + quote(ada.Sid) + `,"sub":` + quote(grace.Sub) + `}`)
	h.wantEverywhere(adas, http.StatusOK, "")
	end(`{"sub":` + quote(ada.Sub) + `,"reason":"lost laptop"}`)
	h.wantEverywhere(adas, http.StatusUnauthorized, "ended")
	h.wantEverywhere(graces, http.StatusOK, "")
	if got := h.shown(ada.Session.String()); got.Reason != events.Admin || got.Ended.IsZero() {
		t.Errorf("got %+v", got)
	}
	end(`{"issuer":` + quote(h.op.Issuer) + `,"sid":` + quote(grace.Sid) + `}`)
	h.wantEverywhere(graces, http.StatusUnauthorized, "ended")
	_, again := h.signedIn("ada")
	_, too := h.signedIn("grace")
	end(`{"all":true}`)
	h.wantEverywhere(again, http.StatusUnauthorized, "ended")
	h.wantEverywhere(too, http.StatusUnauthorized, "ended")
	if !strings.Contains(h.said.String(), "lost laptop") {
		t.Error("the reason is not in the replica's log")
	}
}
