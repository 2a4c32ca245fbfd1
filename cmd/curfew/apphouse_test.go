package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// appHouse is one replica in this process, with its log embedded, a provider,
// and a front that browsers see.
type appHouse struct {
	*site
	app *App
	op  *optest.Provider
	api *adminAPI
	// said is what the App has logged.
	said *lockedBuffer
	stop func()
	// tokens is every answer of the token endpoint.
	tokens bytes.Buffer
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newAppHouse opens the App and runs it until the test ends, or stop is called.
func newAppHouse(t *testing.T, env ...string) *appHouse {
	t.Helper()
	h := newEmptyAppHouse(t)
	h.op = &optest.Provider{
		Now: time.Now,
		Clients: []optest.Client{{
			ID: testClientID, Secret: testClientSecret,
			RedirectURIs:   []string{h.front.URL + "/auth/callback"},
			BackchannelURI: h.front.URL + "/auth/backchannel-logout",
		}},
	}
	realop.Serve(t, h.op, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				w = &tee{w, &h.tokens}
			}
			next.ServeHTTP(w, r)
		})
	})
	c, err := load(with(append(append(h.env,
		"OIDC_ENDPOINT", h.op.Issuer, "OIDC_CLIENT_ID", testClientID, "OIDC_CLIENT_SECRET", testClientSecret,
	), env...)...))
	if err != nil {
		t.Fatal(err)
	}
	h.run(c)
	return h
}

// newEmptyAppHouse has a front and no App yet.
func newEmptyAppHouse(t *testing.T) *appHouse {
	t.Helper()
	h := &appHouse{site: &site{t: t, dir: t.TempDir()}, said: new(lockedBuffer)}
	h.front = httptest.NewServer(http.HandlerFunc(h.forward))
	t.Cleanup(h.front.Close)
	h.env = []string{
		"CURFEW_PUBLIC_URL", h.front.URL, "CURFEW_LISTEN", "127.0.0.1:0", "CURFEW_ADMIN_LISTEN", "127.0.0.1:0",
		"CURFEW_DATA", h.dir, "CURFEW_REPLICA", "only", "CURFEW_MAX_STALENESS", "3s",
	}
	return h
}

// run opens the App and runs it until the test ends, or stop is called.
func (h *appHouse) run(c config) {
	t := h.t
	t.Helper()
	var err error
	ctx, cancel := context.WithCancel(context.Background())
	h.app, err = newApp(ctx, c, slog.New(slog.NewTextHandler(h.said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		cancel()
		t.Fatal(err, h.app.Close())
	}
	h.replicas = []*replica{{
		name: "only", process: &process{t: t},
		public: "http://" + h.app.public.Addr().String(), admin: "http://" + h.app.admin.Addr().String(),
	}}
	h.api = h.app.adminAPI(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.app.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := h.app.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	eventually(t, "the replica is fresh", h.app.lease.Fresh)
}

func (h *appHouse) admin() string { return h.replicas[0].admin }

// answered is an answer that has been read.
type answered struct {
	*http.Response
	body []byte
}

// call asks the admin API as curl would.
func (h *appHouse) call(method, path, body string, header ...string) answered {
	h.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.admin()+path, content)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answered{resp, read}
}

// wantProblem wants a refusal as RFC 9457 writes it.
func (a answered) wantProblem(t *testing.T, what string, status int, says string) {
	t.Helper()
	var p problemError
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Errorf("%s: %d, no problem: %q", what, a.StatusCode, a.body)
		return
	}
	if a.StatusCode != status || a.Header.Get("Content-Type") != contentProblem {
		t.Errorf("%s: %d %q, want a problem with %d (%s)", what, a.StatusCode, a.Header.Get("Content-Type"), status, a.body)
	}
	if p.Status != status || p.Type != "about:blank" || p.Title != http.StatusText(status) || !strings.Contains(p.Detail, says) {
		t.Errorf("%s: got %+v, want one that says %q", what, p, says)
	}
}

// sessions is a list of sessions.
func (h *appHouse) sessions(query string) sessionPage {
	h.t.Helper()
	answer := h.call("GET", "/v1/sessions"+query, "")
	var page sessionPage
	if err := json.Unmarshal(answer.body, &page); err != nil || answer.StatusCode != http.StatusOK {
		h.t.Fatalf("%s: %d %s (%v)", query, answer.StatusCode, answer.body, err)
	}
	return page
}

// signedIn signs somebody in, and returns the session with its cookie.
func (h *appHouse) signedIn(username string) (sessionView, string) {
	h.t.Helper()
	cookie := h.signIn(realop.NewBrowser(h.t), username)
	id, _ := h.replicas[0].session(cookie)["session"].(string)
	h.stored(id)
	return h.shown(id), cookie
}

// stored waits until the store has a session, which the registry has before it.
func (h *appHouse) stored(id string) {
	h.t.Helper()
	parsed, err := events.ParseSessionID(id)
	if err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "the session is stored", func() bool {
		_, err := h.app.store.Sealed(parsed)
		return err == nil
	})
}

func (h *appHouse) shown(id string) (view sessionView) {
	h.t.Helper()
	answer := h.call("GET", "/v1/sessions/"+id, "")
	if err := json.Unmarshal(answer.body, &view); err != nil || answer.StatusCode != http.StatusOK {
		h.t.Fatalf("%s: %d %s (%v)", id, answer.StatusCode, answer.body, err)
	}
	return view
}
