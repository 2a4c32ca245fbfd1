package demo_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"curfew/cmd/curfew/demo"
)

func TestReplicasTakeTurns(t *testing.T) {
	f := newFleet()
	handler, err := site(f).Handler()
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		askHandler(handler, http.MethodGet, "/auth/login?rd=%2F")
	}
	for name, r := range f.replicas {
		if len(r.asked) != 2 {
			t.Errorf("%s was asked %d times in 6", name, len(r.asked))
		}
	}
}

func TestProxiedRequests(t *testing.T) {
	f := newFleet()
	w := ask(t, site(f), http.MethodGet, "/auth/callback?code=a&state=b%2F",
		"Remote-User", "mallory", "X-Auth-Request-Groups", "admins", "X-Curfew-Session", "x", "X-Real-Ip", "8.8.8.8", "Forwarded", "for=8.8.8.8",
		"X-Forwarded-For", "8.8.8.8", "X-Forwarded-Uri", "/elsewhere", "X-Original-Url", "http://elsewhere/", "X-Kept", "yes")
	if w.Code != http.StatusOK || !strings.HasSuffix(w.Body.String(), " has /auth/callback?code=a&state=b%2F") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	asked := f.requests("/auth/callback")
	if len(asked) != 1 {
		t.Fatalf("asked %d times", len(asked))
	}
	for name, want := range map[string]string{
		"Remote-User": "", "X-Auth-Request-Groups": "", "X-Curfew-Session": "", "X-Real-Ip": "", "Forwarded": "",
		"X-Forwarded-Uri": "", "X-Original-Url": "", "X-Kept": "yes", "Cookie": "curfew=ticket",
		"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "127.0.0.1:4180", "X-Forwarded-Proto": "http",
	} {
		if got := asked[0].Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if asked[0].Host != "127.0.0.1:4180" {
		t.Errorf("asked for host %q", asked[0].Host)
	}
}

// dialFailed is what a replica that does not run answers.
func dialFailed() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func TestStoppedReplicasArePassedOver(t *testing.T) {
	f := newFleet()
	f.replicas["north"].broken, f.replicas["south"].broken = dialFailed(), dialFailed()
	handler, err := site(f).Handler()
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if w := askHandler(handler, http.MethodGet, "/"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "let in by <strong>east</strong>") {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		r := httptest.NewRequest(http.MethodPost, "/auth/backchannel-logout", &once{Reader: strings.NewReader("logout_token=x")})
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if bodies := f.replicas["east"].bodies; w.Code != http.StatusOK || bodies[len(bodies)-1] != "logout_token=x" {
			t.Errorf("status %d, and east has read %q", w.Code, bodies)
		}
	}
}

// once is a body that reads as ended when it has been closed.
type once struct {
	io.Reader
}

func (o *once) Close() error {
	o.Reader = strings.NewReader("")
	return nil
}

func TestNoReplica(t *testing.T) {
	f := newFleet()
	f.each(func(r *replica) { r.broken = dialFailed() })
	for _, target := range []string{"/", "/auth/login"} {
		w := ask(t, site(f), http.MethodGet, target)
		if w.Code != http.StatusBadGateway {
			t.Errorf("%s: status %d", target, w.Code)
		}
		wantAll(t, w.Body.String(), "No replica answers")
	}
}

// A request whose answer was lost may have been acted on: it is not sent again.
func TestSentRequestsAreNotRepeated(t *testing.T) {
	var times atomic.Int32
	dropping := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		times.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	defer dropping.Close()
	base, err := url.Parse(dropping.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := site(newFleet())
	s.Transport = nil
	s.Replicas = []demo.Replica{{Name: "north", Base: base}, {Name: "east", Base: base}}
	w := ask(t, s, http.MethodPost, "/auth/logout")
	if w.Code != http.StatusBadGateway || times.Load() != 1 {
		t.Errorf("status %d, sent %d times", w.Code, times.Load())
	}
}
