package backchannel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
)

// receiver puts logouts into a log, as sessions.Logouts does.
type receiver struct {
	log   *memlog.Log
	fence sessions.Fence
}

func (r *receiver) Receive(ctx context.Context, logout events.LogoutReceived) (sessions.Fence, error) {
	_, err := r.log.Append(ctx, events.NewEvent(logout, "r-1", testTime()), events.IfFirst())
	if _, known := errors.AsType[*events.ConflictError](err); known {
		err = nil
	}
	if err != nil {
		return sessions.Pending, fmt.Errorf("receiver: %w", err)
	}
	return r.fence, nil
}

// desk is a Handler with all that it needs, and what it wrote to its log.
type desk struct {
	*Handler
	provider *provider
	receiver *receiver
	written  *strings.Builder
}

func newDesk(tb testing.TB) *desk {
	p := goodProvider(tb)
	d := &desk{provider: p, receiver: &receiver{log: memlog.New(testTime), fence: sessions.Complete}, written: &strings.Builder{}}
	d.Handler = &Handler{
		Verifiers: []*Verifier{verifierOf(keysOf(p, testTime))}, Logouts: d.receiver,
		Logger: slog.New(slog.NewTextHandler(d.written, nil)), Now: testTime,
	}
	return d
}

const formType = "application/x-www-form-urlencoded"

func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/auth/backchannel-logout", strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	return r
}

func postToken(raw string) *http.Request { return post(url.Values{"logout_token": {raw}}.Encode()) }

func (d *desk) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// wantRefused looks at an error answer. Description is how it begins.
func wantRefused(t *testing.T, w *httptest.ResponseRecorder, status int, code, description string) {
	t.Helper()
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("got %d %q: %v", w.Code, w.Body, err)
	}
	if w.Code != status || body.Error != code || !strings.HasPrefix(body.Description, description) {
		t.Errorf("got %d %q %q, want %d %q %q", w.Code, body.Error, body.Description, status, code, description)
	}
	for _, c := range body.Description {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			t.Errorf("got %q in %q", c, body.Description)
		}
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("got type %q", got)
	}
	if got := w.Header().Get("Retry-After"); (got != "") != (status == http.StatusServiceUnavailable) {
		t.Errorf("got Retry-After %q", got)
	}
	wantNoStore(t, w)
}

func wantNoStore(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q", got)
	}
	if got := w.Header().Get("Curfew-Fence"); (got != "") != (w.Code == http.StatusOK) {
		t.Errorf("got Curfew-Fence %q", got)
	}
}

func wantReceived(t *testing.T, w *httptest.ResponseRecorder, fence string) {
	t.Helper()
	if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Curfew-Fence") != fence {
		t.Errorf("got %d %q %q, want 200, empty, %s", w.Code, w.Body, w.Header().Get("Curfew-Fence"), fence)
	}
	wantNoStore(t, w)
}

func TestHandlerReceives(t *testing.T) {
	for _, fence := range []sessions.Fence{sessions.Complete, sessions.Pending} {
		d := newDesk(t)
		d.receiver.fence = fence
		wantReceived(t, d.serve(postToken(newMint(t).token("rsa", nil))), fence.String())
		records := d.receiver.log.Records()
		want := events.LogoutReceived{
			Issuer: testIssuer, Sub: "alice", Sid: "s-1", JTI: "j-1",
			IssuedAt: testTime(), Until: testTime(), Reason: events.Backchannel,
		}
		if len(records) != 1 || records[0].Fact != want {
			t.Errorf("got %+v, want %+v", records, want)
		}
	}
}

func TestHandlerMethods(t *testing.T) {
	m := newMint(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "post", "X"} {
		d := newDesk(t)
		r := postToken(m.token("rsa", nil))
		r.Method = method
		w := d.serve(r)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" || len(d.receiver.log.Records()) != 0 {
			t.Errorf("%s: got %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		wantNoStore(t, w)
	}
}

// TestHandlerForms varies the request around one good token.
func TestHandlerForms(t *testing.T) {
	raw := newMint(t).token("rsa", nil)
	form := "logout_token=" + raw
	filled := func(size int) string { return form + "&x=" + strings.Repeat("x", size-len(form)-len("&x=")) }
	for _, tt := range []struct {
		name, kind, query, body string
		good                    bool
	}{
		{"plain", formType, "", form, true},
		{"with a charset", formType + "; charset=UTF-8", "", form, true},
		{"with a charset that does not parse", formType + "; charset", "", form, true},
		{"type in capitals", "Application/X-WWW-Form-Urlencoded", "", form, true},
		{"others beside it", formType, "", "a=1&" + form + "&a=2&b", true},
		{"others that do not decode", formType, "", "%zz=1&a=%zz&c;d=e;f&" + form, true},
		{"a name that only looks alike", formType, "", form + "&LOGOUT_TOKEN=x&logout_token[]=y", true},
		{"another in the query", formType, "?logout_token=x", form, true},
		{"name escaped", formType, "", "logout%5Ftoken=" + raw, true},
		{"64 KiB", formType, "", filled(maxBody), true},
		{"more than 64 KiB", formType, "", filled(maxBody + 1), false},
		{"more than 64 KiB before it", formType, "", "x=" + strings.Repeat("x", maxBody) + "&" + form, false},
		{"in the query alone", formType, "?" + form, "", false},
		{"empty", formType, "", "logout_token=", false},
		{"no value", formType, "", "logout_token", false},
		{"no body", formType, "", "", false},
		{"twice", formType, "", form + "&" + form, false},
		{"twice, once empty", formType, "", form + "&logout_token=", false},
		{"twice, once escaped", formType, "", form + "&logout%5Ftoken=" + raw, false},
		{"does not decode", formType, "", form + "%zz", false},
		{"space behind", formType, "", form + "+", false},
		{"raw", "application/logout+jwt", "", raw, false},
		{"raw in a form", formType, "", raw, false},
		{"JSON", "application/json", "", `{"logout_token":"` + raw + `"}`, false},
		{"multipart", "multipart/form-data; boundary=b", "", "--b\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\n" + raw + "\r\n--b--\r\n", false},
		{"no type", "", "", form, false},
		{"a type that does not parse", "/", "", form, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			r := httptest.NewRequest(http.MethodPost, "/auth/backchannel-logout"+tt.query, strings.NewReader(tt.body))
			if r.Header.Set("Content-Type", tt.kind); tt.kind == "" {
				r.Header.Del("Content-Type")
			}
			w := d.serve(r)
			if tt.good {
				wantReceived(t, w, "complete")
			} else {
				wantRefused(t, w, http.StatusBadRequest, "invalid_request", "malformed: ")
			}
		})
	}
}

func TestHandlerBodyBreaksOff(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("connection reset")))
	r.Header.Set("Content-Type", formType)
	wantRefused(t, newDesk(t).serve(r), http.StatusBadRequest, "invalid_request", "malformed: ")
}

// TestHandlerFlaws posts every flawed token.
func TestHandlerFlaws(t *testing.T) {
	m := newMint(t)
	for flaw, cases := range tokenCases(t) {
		if flaw == "accepted" {
			continue
		}
		for _, c := range cases {
			t.Run(flaw+"/"+c.Name, func(t *testing.T) {
				d := newDesk(t)
				d.Verifiers = []*Verifier{c.verifier(keysOf(d.provider, testTime))}
				raw := c.token(m)
				wantRefused(t, d.serve(postToken(raw)), http.StatusBadRequest, "invalid_request", flaw+": ")
				if got := d.receiver.log.Records(); len(got) != 0 {
					t.Errorf("got %+v in the log", got)
				}
				if got := d.written.String(); !strings.Contains(got, "flaw="+flaw) || strings.Contains(got, raw) {
					t.Errorf("wrote %q", got)
				}
			})
		}
	}
}

// TestHandlerLogTrouble has the log fail in each way, and the OP try again.
func TestHandlerLogTrouble(t *testing.T) {
	m := newMint(t)
	for _, fault := range []memlog.Fault{memlog.Unavailable, memlog.AnswerLost, memlog.Refused} {
		d := newDesk(t)
		next := fault
		d.receiver.log.Fail = func(events.Event) memlog.Fault {
			defer func() { next = memlog.None }()
			return next
		}
		raw := m.token("rsa", nil)
		wantRefused(t, d.serve(postToken(raw)), http.StatusServiceUnavailable, "temporarily_unavailable", "the log ")
		for range 2 {
			wantReceived(t, d.serve(postToken(raw)), "complete")
		}
		if got := len(d.receiver.log.Records()); got != 1 {
			t.Errorf("fault %d: got %d logouts in the log, want 1", fault, got)
		}
	}
}

// TestHandlerSameJTI posts another logout under a jti that was used: both count.
func TestHandlerSameJTI(t *testing.T) {
	d, m := newDesk(t), newMint(t)
	for _, sid := range []string{"s-1", "s-2", "s-1"} {
		wantReceived(t, d.serve(postToken(m.token("rsa", map[string]any{"sid": sid}))), "complete")
	}
	if got := len(d.receiver.log.Records()); got != 2 {
		t.Errorf("got %d logouts in the log, want 2", got)
	}
}

func TestHandlerKeyTrouble(t *testing.T) {
	d, m := newDesk(t), newMint(t)
	now := testTime()
	d.Verifiers[0].Keys = keysOf(d.provider, func() time.Time { return now })
	d.provider.trouble(answering(http.StatusBadGateway, "secret diagnostics"))
	raw := m.token("rsa", nil)
	w := d.serve(postToken(raw))
	wantRefused(t, w, http.StatusServiceUnavailable, "temporarily_unavailable", "the provider's keys ")
	if strings.Contains(w.Body.String(), "jwks") {
		t.Errorf("got %q", w.Body)
	}
	d.provider.publish(goodProvider(t).keys...)
	wantReceived(t, d.serve(postToken(raw)), "complete")
	forged := m.token("stranger", nil)
	for range burst - 2 {
		wantRefused(t, d.serve(postToken(forged)), http.StatusBadRequest, "invalid_request", "bad_signature: ")
	}
	now = now.Add(500 * time.Millisecond)
	w = d.serve(postToken(forged))
	wantRefused(t, w, http.StatusServiceUnavailable, "temporarily_unavailable", "the provider's keys are not looked at again yet")
	if got := w.Header().Get("Retry-After"); got != "10" {
		t.Errorf("got Retry-After %q, want 10", got)
	}
	wantReceived(t, d.serve(postToken(raw)), "complete")
}

// TestHandlerCallerHangsUp gives up before the answer.
func TestHandlerCallerHangsUp(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantReceived(t, d.serve(postToken(newMint(t).token("rsa", nil)).WithContext(ctx)), "complete")
	if got := len(d.receiver.log.Records()); got != 1 {
		t.Errorf("got %d logouts in the log, want 1", got)
	}
}

// TestHandlerIssuers has two OPs with one handler.
func TestHandlerIssuers(t *testing.T) {
	d, m := newDesk(t), newMint(t)
	other := verifierOf(keysOf(&provider{keys: []json.RawMessage{published(t, m.keys["stranger"], "s", "")}}, testTime))
	other.Issuer = "https://other.example.com"
	d.Verifiers = append(d.Verifiers, other)
	token := func(issuer, kid string) string {
		return tokenCase{Claims: map[string]any{"iss": issuer}, Header: map[string]any{"kid": kid}, Key: map[string]string{"s": "stranger"}[kid]}.token(m)
	}
	wantReceived(t, d.serve(postToken(token(testIssuer, "rsa"))), "complete")
	wantReceived(t, d.serve(postToken(token(other.Issuer, "s"))), "complete")
	wantRefused(t, d.serve(postToken(token(testIssuer, "s"))), http.StatusBadRequest, "invalid_request", "bad_signature: ")
	wantRefused(t, d.serve(postToken(token(other.Issuer, "rsa"))), http.StatusBadRequest, "invalid_request", "bad_signature: ")
	wantRefused(t, d.serve(postToken(token(testIssuer+"/", "rsa"))), http.StatusBadRequest, "invalid_request",
		"wrong_issuer: iss is https://op.example.com/, want https://op.example.com")
	d.Verifiers = nil
	wantRefused(t, d.serve(postToken(token(testIssuer, "rsa"))), http.StatusBadRequest, "invalid_request", "wrong_issuer: ")
}

// TestHandlerLogs looks at what an operator reads of a token by a stranger.
func TestHandlerLogs(t *testing.T) {
	d, m := newDesk(t), newMint(t)
	d.serve(postToken(m.token("stranger", map[string]any{
		"jti": "a\nb\x1b[31m" + strings.Repeat("x", 1000), "sub": "zo\u00eb\u202e", "sid": "s\x00",
	})))
	got := d.written.String()
	if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\x00\u202e") || len(got) > 800 {
		t.Errorf("wrote %q", got)
	}
	for _, want := range []string{"flaw=bad_signature", "issuer=" + testIssuer, "jti=a?b?[31mxx", "sub=zo\u00eb?", "sid=s?"} {
		if !strings.Contains(got, want) {
			t.Errorf("wrote %q, want %s in it", got, want)
		}
	}
}

// TestHandlerKeepsQuiet has strangers send more tokens than the log is told of,
// and the OP's own logouts be in the log among them.
func TestHandlerKeepsQuiet(t *testing.T) {
	d, m := newDesk(t), newMint(t)
	now := testTime()
	d.Now = func() time.Time { return now }
	d.Verifiers[0].Keys = keysOf(d.provider, testTime)
	lines := func(with string) (n int) {
		for line := range strings.Lines(d.written.String()) {
			if strings.Contains(line, with) {
				n++
			}
		}
		return n
	}
	const refused, rationed, received = `msg="logout token refused"`, "asked for too often of late", `msg="logout received"`
	for range linesAtOnce + 7 {
		d.serve(post("no token"))
		d.serve(postToken(m.token("stranger", nil)))
		d.serve(postToken(m.token("rsa", nil)))
	}
	if got := lines(refused); got != linesAtOnce {
		t.Errorf("wrote %d lines about flaws, want %d", got, linesAtOnce)
	}
	if got := lines(rationed); got != linesAtOnce {
		t.Errorf("wrote %d lines about rationed tokens, want %d", got, linesAtOnce)
	}
	if got := lines(received); got != linesAtOnce+7 {
		t.Errorf("wrote %d lines about logouts received, want %d", got, linesAtOnce+7)
	}
	d.receiver.log.Fail = func(events.Event) memlog.Fault { return memlog.Refused }
	for i := range linesAtOnce + 7 {
		d.serve(postToken(m.token("rsa", map[string]any{"sid": fmt.Sprint("s-", i)})))
	}
	if got := lines("level=ERROR") - lines(rationed); got != linesAtOnce+7 {
		t.Errorf("wrote %d lines about logouts that the log refused, want %d", got, linesAtOnce+7)
	}
	if got := lines("left_out="); got != 0 {
		t.Errorf("said %d times what was left out, want none yet", got)
	}
	now = now.Add(lineEvery)
	d.serve(post("no token"))
	d.serve(postToken(m.token("stranger", nil)))
	// While looks at the keys were left, a stranger's token was flawed.
	for with, want := range map[string]int{
		refused: linesAtOnce + 1, "left_out=": 2, fmt.Sprint("left_out=", 7+burst): 1, fmt.Sprint("left_out=", 7-burst): 1,
	} {
		if got := lines(with); got != want {
			t.Errorf("after %s wrote %d lines with %s, want %d", lineEvery, got, with, want)
		}
	}
}

func TestWholeSeconds(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		-time.Second: "1", 0: "1", time.Nanosecond: "1", time.Second: "1", time.Second + 1: "2", 10 * time.Second: "10",
	} {
		if got := wholeSeconds(wait); got != want {
			t.Errorf("%v: got %s, want %s", wait, got, want)
		}
	}
}
