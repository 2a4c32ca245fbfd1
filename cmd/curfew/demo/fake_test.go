package demo_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/cmd/curfew/demo"
)

// fleet is three replicas without a network between: it is the transport.
type fleet struct {
	mu       sync.Mutex
	replicas map[string]*replica
}

// replica answers as curfew would.
type replica struct {
	status   int // of /check
	reason   string
	identity http.Header
	// until is when status and reason give way to 401 "ended"; zero never.
	until time.Time
	// logout is what POST /logout answers, and session what GET /session does.
	logout  *http.Response
	session string
	broken  error // of every request
	asked   []*http.Request
	bodies  []string
}

func newFleet() *fleet {
	f := &fleet{replicas: make(map[string]*replica)}
	for _, name := range []string{"north", "east", "south"} {
		f.replicas[name] = &replica{status: http.StatusOK, session: `{"sid":"op/sid+1"}`, identity: http.Header{
			"Remote-Name":           {"Ada Lindqvist"},
			"X-Auth-Request-User":   {"ada"},
			"X-Auth-Request-Email":  {"ada@example.com"},
			"X-Auth-Request-Sub":    {"7f3a91c2"},
			"X-Auth-Request-Groups": {"admins,staff"},
			"X-Curfew-Session":      {"019ab6d4-71e0-7c32-9f1d-4be2a0c10058"},
		}}
	}
	return f
}

// each changes every replica.
func (f *fleet) each(change func(*replica)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.replicas {
		change(r)
	}
}

// RoundTrip has the replica answer that the URL's host names.
func (f *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	asked := f.replicas[r.URL.Host]
	if asked.broken != nil {
		if r.Body != nil {
			r.Body.Close() // as http.Transport does
		}
		return nil, asked.broken
	}
	body := ""
	if r.Body != nil {
		content, _ := io.ReadAll(r.Body)
		body = string(content)
	}
	asked.asked, asked.bodies = append(asked.asked, r), append(asked.bodies, body)
	w := httptest.NewRecorder()
	switch _, endpoint, _ := strings.Cut(r.URL.Path[1:], "/"); endpoint {
	case "check":
		asked.check(w)
	case "session":
		io.WriteString(w, asked.session)
	case "logout":
		if asked.logout == nil {
			return nil, errors.New("no logout is expected")
		}
		return asked.logout, nil
	default:
		io.WriteString(w, r.URL.Host+" has "+r.URL.RequestURI())
	}
	return w.Result(), nil
}

func (r *replica) check(w *httptest.ResponseRecorder) {
	status, reason := r.status, r.reason
	if !r.until.IsZero() && !time.Now().Before(r.until) {
		status, reason = http.StatusUnauthorized, "ended"
	}
	if status == http.StatusOK {
		maps.Copy(w.Header(), r.identity)
	} else if reason != "" {
		w.Header().Set("X-Curfew-Reason", reason)
	}
	w.WriteHeader(status)
}

// requests are those for a path, at all replicas.
func (f *fleet) requests(path string) (found []*http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{"north", "east", "south"} {
		for _, r := range f.replicas[name].asked {
			if r.URL.Path == path {
				found = append(found, r)
			}
		}
	}
	return found
}

func notExpected(context.Context, string) (demo.Answer, error) {
	return demo.Answer{}, errors.New("no logout is expected")
}

func site(f *fleet) demo.Site {
	s := demo.Site{
		Transport: f, LogoutSession: notExpected, LogoutUser: notExpected,
		Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
	for _, name := range []string{"north", "east", "south"} {
		s.Replicas = append(s.Replicas, demo.Replica{Name: name, Base: &url.URL{Scheme: "http", Host: name}})
	}
	return s
}

// ask sends the site one request as a browser with a session would. Headers
// come in pairs.
func ask(t *testing.T, s demo.Site, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	handler, err := s.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return askHandler(handler, method, target, headers...)
}

func askHandler(handler http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:4180"+target, nil)
	r.Header.Set("Cookie", "curfew=ticket")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func wantAll(t *testing.T, body string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %q:\n%s", want, body)
		}
	}
}
