package realop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
)

// Options are how a real provider is set up.
type Options struct {
	// Path is the issuer's path: "", "/", "/realm" or "/realm/".
	Path string
	// Port is where it listens; zero leaves the choice to the system. A
	// provider that is stopped and started again on its port has forgotten
	// all it knew, its keys included.
	Port    int
	Clients []Client
	// Users can sign in; nil is optest.DemoUsers.
	Users []optest.User
	// UserinfoOnly keeps profile claims out of ID tokens, as OpenID Connect
	// Core section 5.4 has it and few providers do.
	UserinfoOnly bool
	// AccessLife is how long an access token lasts, in whole seconds; zero is
	// five minutes.
	AccessLife time.Duration
	// KeepRefreshTokens gives no new refresh token with a refresh.
	KeepRefreshTokens bool
}

// Client is an application as the provider knows it. The provider gives refresh
// tokens for offline_access only, and that only with prompt=consent (OpenID
// Connect Core section 11).
type Client struct {
	ID, Secret     string
	RedirectURIs   []string
	PostLogoutURIs []string
	// BackchannelURI takes logout tokens; empty is told nothing.
	BackchannelURI string
	// SubOnly leaves sid out of ID tokens and logout tokens alike:
	// backchannel_logout_session_required is false.
	SubOnly bool
	// Alg signs ID and logout tokens: RS256 (the default), ES256 or EdDSA.
	Alg string
	// AuthMethod is client_secret_basic (the default), client_secret_post or
	// none.
	AuthMethod string
	// Metadata is more client metadata, by its registered names.
	Metadata map[string]any
}

// OP is a provider that runs in a process of its own.
type OP struct {
	// Issuer is the exact issuer.
	Issuer string

	url    string // the issuer without a trailing slash
	client *http.Client
	cmd    *exec.Cmd
	stdin  io.Closer
	output *bytes.Buffer
	done   bool
}

const (
	startLimit = 60 * time.Second
	stopLimit  = 5 * time.Second
)

// Start runs npm's oidc-provider until the test ends. Where node or the
// provider's packages are missing the test is skipped, and with CI=true fails.
func Start(t testing.TB, options Options) *OP {
	t.Helper()
	node, folder := find(t)
	settings, err := json.Marshal(options.settings())
	if err != nil {
		t.Fatalf("realop: settings: %v", err)
	}
	op := &OP{client: &http.Client{Timeout: 30 * time.Second}, output: new(bytes.Buffer)}
	// The process is not tied to the test's context, which ends before the
	// test's cleanups: whatever they still do at the provider is answered.
	op.cmd = exec.Command(node, "server.mjs")
	op.cmd.Dir = folder
	op.cmd.Stderr = op.output
	op.cmd.WaitDelay = stopLimit
	t.Cleanup(func() {
		op.Stop(t)
		op.client.CloseIdleConnections()
		if t.Failed() && op.output.Len() > 0 {
			t.Logf("oidc-provider said:\n%s", op.output)
		}
	})
	if err := op.start(settings); err != nil {
		t.Fatalf("realop: start oidc-provider: %v", err)
	}
	return op
}

// find looks for what the provider needs.
func find(t testing.TB) (node, folder string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node is not installed: install Node.js 20.11 or newer to test against a real provider")
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatalf("realop: %v", err)
	}
	folder = filepath.Join(root, "cmd", "curfew", "testdata", "oidc-provider")
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "oidc-provider")); err != nil {
		missing(t, "oidc-provider is not installed: run npm ci in cmd/curfew/testdata/oidc-provider to test against a real provider")
	}
	return node, folder
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// moduleRoot goes up from the package under test to the folder with go.mod.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("no go.mod above the test's folder")
		}
		folder = parent
	}
}

func (o *OP) start(settings []byte) error {
	stdin, err := o.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := o.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := o.cmd.Start(); err != nil {
		return err
	}
	o.stdin = stdin
	// A process that says nothing is ended, and then its output ends too.
	patience := time.AfterFunc(startLimit, func() { _ = o.cmd.Process.Kill() })
	defer patience.Stop()
	if _, err := stdin.Write(append(settings, '\n')); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it said nothing: %w", err)
	}
	var ready struct{ Issuer, URL string }
	if err := json.Unmarshal(line, &ready); err != nil {
		return fmt.Errorf("it said %q: %w", line, err)
	}
	o.Issuer, o.url = ready.Issuer, ready.URL
	return nil
}

// Stop ends the provider, as if its machine had gone. It may be called again.
func (o *OP) Stop(t testing.TB) {
	t.Helper()
	if o.done || o.cmd.Process == nil {
		return
	}
	o.done = true
	if o.stdin != nil {
		_ = o.stdin.Close() // it ends when its standard input does
	}
	patience := time.AfterFunc(stopLimit, func() { _ = o.cmd.Process.Kill() })
	defer patience.Stop()
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("realop: oidc-provider ended badly: %v", err)
	}
}

// SignOutURL is the page of the provider where a browser signs out of it, for
// Browser.SignOut.
func (o *OP) SignOutURL() string { return o.url + "/session/end" }

// Port is where the provider listens, to be started there again.
func (o *OP) Port() (port int, err error) {
	address, err := url.Parse(o.Issuer)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(address.Port(), &port)
	return port, err
}

// Told is a client that the provider told of a logout.
type Told struct {
	Client string `json:"client"`
	Sub    string `json:"sub"`
	Sid    string `json:"sid"`
	// Error is the provider's complaint if it was not answered 200 or 204.
	Error string `json:"error"`
}

// EndSession ends the provider's session that a client knows by sid, the way an
// operator of the provider would: no browser takes part, and every client of
// the session is told. It returns when they have answered.
func (o *OP) EndSession(ctx context.Context, sid string) ([]Told, error) {
	return o.end(ctx, url.Values{"sid": {sid}})
}

// EndUser does the same to all sessions of a user.
func (o *OP) EndUser(ctx context.Context, sub string) ([]Told, error) {
	return o.end(ctx, url.Values{"sub": {sub}})
}

func (o *OP) end(ctx context.Context, who url.Values) ([]Told, error) {
	var told []Told
	err := o.operate(ctx, http.MethodPost, "/operator/sessions/end?"+who.Encode(), &told)
	return told, err
}

// HoldTokens has the token endpoint hold its next answer, with the tokens made
// and not yet handed over, until ReleaseTokens.
func (o *OP) HoldTokens(ctx context.Context) error { return o.gate(ctx, "close") }

// AwaitHeld blocks until an answer is held.
func (o *OP) AwaitHeld(ctx context.Context) error { return o.gate(ctx, "wait") }

// ReleaseTokens lets the answer go.
func (o *OP) ReleaseTokens(ctx context.Context) error { return o.gate(ctx, "open") }

func (o *OP) gate(ctx context.Context, do string) error {
	var nothing struct{}
	return o.operate(ctx, http.MethodPost, "/operator/gate/"+do, &nothing)
}

// Session is a session of the provider's.
type Session struct {
	Sub string `json:"sub"`
	// Sids are what each client, by id, knows the session by.
	Sids map[string]string `json:"sids"`
}

// Sessions lists the sessions that some client was signed in with.
func (o *OP) Sessions(ctx context.Context) ([]Session, error) {
	var sessions []Session
	err := o.operate(ctx, http.MethodGet, "/operator/sessions", &sessions)
	return sessions, err
}

func (o *OP) operate(ctx context.Context, method, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, o.url+path, nil)
	if err != nil {
		return fmt.Errorf("realop: operate: %w", err)
	}
	response, err := o.client.Do(request)
	if err != nil {
		return fmt.Errorf("realop: operate: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("realop: operate: %s", response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("realop: operate: %w", err)
	}
	return nil
}
