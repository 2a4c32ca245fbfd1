package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"curfew/sessions/guard"
	"curfew/sessions/rp/optest/realop"
	"curfew/store"
)

// TestMain lets this test binary be run as the programs that tests need in
// processes of their own: curfew itself, and a NATS server.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"curfew":      main,
		"nats-server": natsServer,
	})
}

// natsServer is a NATS server with JetStream in the folder and on the port its
// arguments name.
func natsServer() {
	options := &server.Options{
		JetStream: true, StoreDir: os.Args[1], Host: "127.0.0.1", NoSigs: true, SyncAlways: true,
	}
	if _, err := fmt.Sscan(os.Args[2], &options.Port); err != nil {
		panic(err)
	}
	s, err := server.NewServer(options)
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		panic("nats-server: not ready")
	}
	fmt.Println(s.ClientURL())
	s.WaitForShutdown()
}

// patient bounds every wait in these tests.
const patient = 30 * time.Second

// process is a program under test in a process of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	ended chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

// startProcess runs one of TestMain's programs. It is killed with the test.
func startProcess(t *testing.T, env []string, program string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(path, args...), lines: make(chan string, 10000), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(out)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s %q:\n%s", program, args, p.said())
		}
	})
	return p
}

func (p *process) read(out io.Reader) {
	defer close(p.ended)
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		p.mu.Lock()
		p.output.WriteString(scanner.Text() + "\n")
		p.mu.Unlock()
		select {
		case p.lines <- scanner.Text():
		default: // nobody reads on once a program has started
		}
	}
	_ = p.cmd.Wait()
}

// said is all that the process has printed.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// waitLine returns the first line for which found says so.
func (p *process) waitLine(what string, found func(string) bool) string {
	p.t.Helper()
	deadline := time.After(patient)
	for {
		select {
		case line := <-p.lines:
			if found(line) {
				return line
			}
		case <-p.ended:
			p.t.Fatalf("the process ended before %s", what)
		case <-deadline:
			p.t.Fatalf("no %s within %s", what, patient)
		}
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop asks the process to end, and wants it to do so in good order.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.t.Fatal("did not end within ten seconds of SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		p.t.Errorf("exit status %d, want 0:\n%s", code, p.said())
	}
}

// startNATS runs a NATS server; port 0 lets it choose.
func startNATS(t *testing.T, dir, port string) (address string, p *process) {
	t.Helper()
	p = startProcess(t, nil, "nats-server", dir, port)
	return p.waitLine("its address", func(line string) bool { return strings.HasPrefix(line, "nats://") }), p
}

// replica is one `curfew serve`.
type replica struct {
	*process
	name   string
	data   string
	public string
	admin  string
}

// site is several replicas behind one public address.
type site struct {
	t        *testing.T
	front    *httptest.Server
	replicas []*replica
	env      []string
	dir      string
	natsURL  string
	// through is the replica that the front hands requests to.
	through atomic.Int32
}

const (
	testClientID     = "curfew-test"
	testClientSecret = "client-secret-that-must-not-leak"
)

// newSite prepares a site with a log, but starts no replica yet: the OP must
// know the site's address first.
func newSite(t *testing.T, natsURL string) *site {
	s := &site{t: t, dir: t.TempDir(), natsURL: natsURL}
	s.front = httptest.NewServer(http.HandlerFunc(s.forward))
	t.Cleanup(s.front.Close)
	s.env = []string{
		"OIDC_CLIENT_ID=" + testClientID,
		"OIDC_CLIENT_SECRET=" + testClientSecret,
		"OIDC_TOKEN_ENCRYPTION_KEY=" + store.GenerateKey(),
		"CURFEW_PUBLIC_URL=" + s.front.URL,
		"CURFEW_LISTEN=127.0.0.1:0",
		"CURFEW_ADMIN_LISTEN=127.0.0.1:0",
		"CURFEW_NATS_URL=" + natsURL,
		"CURFEW_LOG_LEVEL=debug",
		"CURFEW_LOG_FORMAT=json",
	}
	return s
}

// forward plays the proxy for curfew's own endpoints.
func (s *site) forward(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(s.replicas[s.through.Load()].public)
	if err != nil {
		s.t.Error(err)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/auth/") {
		fmt.Fprintln(w, "the application")
		return
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(target)
		pr.SetXForwarded()
		pr.Out.Host = r.Host
	}}
	proxy.ServeHTTP(w, r)
}

// start runs a further replica, or one again that was stopped, with its data.
func (s *site) start(name string, env ...string) *replica {
	s.t.Helper()
	r := &replica{name: name, data: filepath.Join(s.dir, name)}
	all := append(append([]string{}, s.env...), "CURFEW_DATA="+r.data, "CURFEW_REPLICA="+name)
	r.process = startProcess(s.t, append(all, env...), "curfew", "serve")
	line := r.waitLine("it was serving", func(line string) bool { return strings.Contains(line, `"msg":"serving"`) })
	var serving struct{ Listen, Admin string }
	if err := json.Unmarshal([]byte(line), &serving); err != nil {
		s.t.Fatal(err)
	}
	r.public, r.admin = "http://"+serving.Listen, "http://"+serving.Admin
	for i, old := range s.replicas {
		if old.name == name {
			s.replicas[i] = r
			return r
		}
	}
	s.replicas = append(s.replicas, r)
	return r
}

// ready waits until the replica can let people in.
func (r *replica) ready() {
	r.t.Helper()
	eventually(r.t, r.name+" is ready", r.isReady)
}

func (r *replica) isReady() bool {
	resp, err := http.Get(r.admin + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// eventually polls, as one does from outside a process.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patient, what)
		}
	}
}

// signIn takes a browser through the sign-in that a replica begins, and returns
// the session cookie it ends with.
func (s *site) signIn(b *realop.Browser, name string) string {
	s.t.Helper()
	resp, err := b.SignIn(s.t.Context(), s.front.URL+"/auth/login?rd=/after", realop.User{Username: name, Password: "demo"})
	if err != nil {
		s.t.Fatal(err)
	}
	if got := resp.Request.URL.Path; resp.StatusCode != http.StatusOK || got != "/after" {
		s.t.Fatalf("the sign-in ended at %s with %d", got, resp.StatusCode)
	}
	return s.cookie(b)
}

// cookie is the session cookie a browser holds; empty if none.
func (s *site) cookie(b *realop.Browser) string {
	s.t.Helper()
	u, err := url.Parse(s.front.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range b.Client.Jar.Cookies(u) {
		if c.Name == "curfew" {
			return c.Value
		}
	}
	return ""
}

// ask sends a GET with a session cookie to one replica.
func (r *replica) ask(path, cookie string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.public+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "curfew", Value: cookie})
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// check asks a replica's guard about a session cookie, as a proxy does.
func (r *replica) check(cookie string) *http.Response {
	r.t.Helper()
	resp := r.ask("/auth/check", cookie)
	resp.Body.Close()
	return resp
}

// wantEverywhere wants the same verdict of every replica, now.
func (s *site) wantEverywhere(cookie string, status int, reason string) {
	s.t.Helper()
	for _, r := range s.replicas {
		resp := r.check(cookie)
		if got := resp.Header.Get(guard.HeaderReason); resp.StatusCode != status || got != reason {
			s.t.Errorf("%s answers %d %q, want %d %q", r.name, resp.StatusCode, got, status, reason)
		}
	}
}

// session is what the replica says of a cookie.
func (r *replica) session(cookie string) map[string]any {
	r.t.Helper()
	resp := r.ask("/auth/session", cookie)
	defer resp.Body.Close()
	var session map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&session); err != nil {
		r.t.Fatalf("/session answers %d: %v", resp.StatusCode, err)
	}
	return session
}

// tee writes an answer into a buffer too.
type tee struct {
	http.ResponseWriter
	copied *bytes.Buffer
}

// Write writes into both.
func (t *tee) Write(b []byte) (int, error) {
	t.copied.Write(b)
	return t.ResponseWriter.Write(b)
}

// tokensIn reads a token endpoint's answer.
func tokensIn(t *testing.T, answer []byte) map[string]string {
	t.Helper()
	var members map[string]any
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&members); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{}
	for name, value := range members {
		if token, ok := value.(string); ok && strings.HasSuffix(name, "_token") {
			tokens[name] = token
		}
	}
	return tokens
}
