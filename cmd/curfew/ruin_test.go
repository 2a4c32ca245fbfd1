package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
	"curfew/store"
)

// ruin is a replica in this process, a NATS server in it too, and a provider:
// each of them can be stopped, and its files spoilt meanwhile.
type ruin struct {
	*site
	op     *optest.Provider
	broker *server.Server
	// natsDir is where the broker has its streams, port where it listens.
	natsDir string
	port    int
	pairs   map[string]string
	app     *App
	said    *lockedBuffer
	stop    func()
}

// ruinLease is short, so that a replica that must not be fresh soon is not.
const ruinLease = 2 * time.Second

func newRuin(t *testing.T) *ruin {
	t.Helper()
	r := &ruin{site: &site{t: t, dir: t.TempDir()}, natsDir: t.TempDir(), port: -1, said: new(lockedBuffer), stop: func() {}}
	r.front = httptest.NewServer(http.HandlerFunc(r.forward))
	t.Cleanup(r.front.Close)
	r.op = &optest.Provider{
		Now: time.Now,
		Clients: []optest.Client{{
			ID: testClientID, Secret: testClientSecret,
			RedirectURIs: []string{r.front.URL + "/auth/callback"}, BackchannelURI: r.front.URL + "/auth/backchannel-logout",
		}},
	}
	for _, name := range []string{"ada", "grace", "lin", "bob", "eve"} {
		r.op.Users = append(r.op.Users, optest.User{Sub: "sub-of-" + name, Username: name, Password: "demo"})
	}
	realop.Serve(t, r.op, nil)
	r.startBroker()
	t.Cleanup(func() { r.stopBroker() })
	r.pairs = map[string]string{
		"OIDC_ENDPOINT": r.op.Issuer, "OIDC_CLIENT_ID": testClientID, "OIDC_CLIENT_SECRET": testClientSecret,
		"OIDC_TOKEN_ENCRYPTION_KEY": store.GenerateKey(),
		"CURFEW_PUBLIC_URL":         r.front.URL, "CURFEW_LISTEN": "127.0.0.1:0", "CURFEW_ADMIN_LISTEN": "127.0.0.1:0",
		"CURFEW_DATA": filepath.Join(r.dir, "data"), "CURFEW_REPLICA": "only", "CURFEW_NATS_URL": r.broker.ClientURL(),
		"CURFEW_MAX_STALENESS": ruinLease.String(), "CURFEW_LOG_FORMAT": "json",
	}
	return r
}

func (r *ruin) startBroker() {
	r.t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: r.port, JetStream: true, StoreDir: r.natsDir, NoSigs: true, NoLog: true, SyncAlways: true,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patient) {
		r.t.Fatal("the NATS server is not ready")
	}
	r.broker, r.port = s, s.Addr().(*net.TCPAddr).Port
}

func (r *ruin) stopBroker() {
	r.broker.Shutdown()
	r.broker.WaitForShutdown()
}

// open starts the replica, with settings beside the usual ones.
func (r *ruin) open(pairs ...string) {
	r.t.Helper()
	env := maps.Clone(r.pairs)
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	c, err := load(env)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	said := new(lockedBuffer)
	r.said = said
	app, err := newApp(ctx, c, slog.New(slog.NewJSONHandler(said, nil)))
	if err != nil {
		cancel()
		r.t.Fatal(err, app.Close(), said)
	}
	r.app = app
	r.replicas = []*replica{{
		name: "only", process: &process{t: r.t},
		public: "http://" + app.public.Addr().String(), admin: "http://" + app.admin.Addr().String(),
	}}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, app.Close()); err != nil {
			r.t.Errorf("%v\n%s", err, said)
		}
	})
	r.t.Cleanup(r.stop)
}

// ready waits until the replica lets people in.
func (r *ruin) ready() {
	r.t.Helper()
	eventually(r.t, "the replica is fresh", r.app.lease.Fresh)
}

func (r *ruin) opened(pairs ...string) {
	r.t.Helper()
	r.open(pairs...)
	r.ready()
}

func (r *ruin) only() *replica { return r.replicas[0] }

// enter signs somebody in, and waits until the store has the session.
func (r *ruin) enter(name string) string {
	r.t.Helper()
	cookie := r.signIn(realop.NewBrowser(r.t), name)
	id, _ := r.only().session(cookie)["session"].(string)
	(&appHouse{site: r.site, app: r.app}).stored(id)
	return cookie
}

// token is a logout token for a session.
func (r *ruin) token(cookie string) string {
	r.t.Helper()
	return (&house{r.site, smallProvider{r.op}}).logoutToken(cookie)
}

// leave ends a session as the provider does.
func (r *ruin) leave(cookie string) {
	r.t.Helper()
	if resp, body := r.only().postLogout(r.token(cookie)); resp.StatusCode != http.StatusOK {
		r.t.Fatalf("the logout was answered %d %s", resp.StatusCode, body)
	}
}

// answers waits until the replica lets a session in, or not.
func (r *ruin) answers(who, cookie string, status int) {
	r.t.Helper()
	var got *http.Response
	eventually(r.t, "an answer but 503 for "+who, func() bool {
		got = r.only().check(cookie)
		return got.StatusCode != http.StatusServiceUnavailable
	})
	if got.StatusCode != status {
		r.t.Errorf("%s is answered %d %q, want %d", who, got.StatusCode, got.Header.Get("X-Curfew-Reason"), status)
	}
}

// line is one line of the log.
type line struct {
	Level  string `json:"level"`
	Msg    string `json:"msg"`
	Case   string `json:"case"`
	Remedy string `json:"remedy"`
}

func linesOf(text string) (lines []line) {
	for one := range strings.Lines(text) {
		var l line
		if json.Unmarshal([]byte(one), &l) == nil && l.Case != "" && l.Remedy != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// tells waits until the replica has logged a case as it should.
func (r *ruin) tells(m matter) {
	r.t.Helper()
	want := line{m.level.String(), m.says, m.name, m.remedy.String()}
	eventually(r.t, m.name+" is told", func() bool { return slices.Contains(linesOf(r.said.String()), want) })
}

// toldOnly wants nothing worse than these to have been told.
func (r *ruin) toldOnly(allowed ...matter) {
	r.t.Helper()
	for _, l := range linesOf(r.said.String()) {
		known := slices.ContainsFunc(allowed, func(m matter) bool { return m.name == l.Case })
		if !known && l.Level != slog.LevelInfo.String() {
			r.t.Errorf("told %+v too", l)
		}
	}
}

func (r *ruin) file(name string) string { return filepath.Join(r.pairs["CURFEW_DATA"], name) }

// aside wants so many files to have been moved aside under dated names.
func (r *ruin) aside(name string, want int) {
	r.t.Helper()
	found, err := filepath.Glob(r.file(name) + ".2*Z*")
	if err != nil || len(found) != want {
		r.t.Errorf("aside are %v, %v; want %d", found, err, want)
	}
}

// snapshot is every file of the data folder.
func (r *ruin) snapshot() map[string]string {
	r.t.Helper()
	files := map[string]string{}
	folder := r.pairs["CURFEW_DATA"]
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	return files
}

// refuses runs the program, and wants it to end over a case, with nothing
// touched.
func (r *ruin) refuses(m matter, pairs ...string) {
	r.t.Helper()
	before := r.snapshot()
	var env []string
	for name, value := range r.pairs {
		env = append(env, name+"="+value)
	}
	for i := 0; i < len(pairs); i += 2 {
		env = append(env, pairs[i]+"="+pairs[i+1])
	}
	p := startProcess(r.t, env, "curfew", "serve")
	select {
	case <-p.ended:
	case <-time.After(patient):
		r.t.Fatalf("it goes on:\n%s", p.said())
	}
	status := map[remedy]int{refuse: exitFailed, refuseSet: exitUsage}[m.remedy]
	if code := p.cmd.ProcessState.ExitCode(); code != status || status == exitOK {
		r.t.Errorf("exit status %d, want %d", code, status)
	}
	if said := p.said(); !strings.Contains(said, "curfew: "+m.name+": "+m.says) {
		r.t.Errorf("it said %s, want %s: %s", said, m.name, m.says)
	}
	if !maps.Equal(r.snapshot(), before) {
		r.t.Errorf("files were touched: %v", slices.Sorted(maps.Keys(r.snapshot())))
	}
}

// stream is the log as its administrator sees it.
func (r *ruin) stream() (jetstream.JetStream, jetstream.Stream) {
	r.t.Helper()
	conn, err := nats.Connect(r.broker.ClientURL())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	stream, err := js.Stream(r.t.Context(), "CURFEW")
	if err != nil {
		r.t.Fatal(err)
	}
	return js, stream
}

// deleteStream is what an administrator does by mistake.
func (r *ruin) deleteStream() {
	r.t.Helper()
	js, _ := r.stream()
	if err := js.DeleteStream(r.t.Context(), "CURFEW"); err != nil {
		r.t.Fatal(err)
	}
}

// rollBack runs something, and then has the broker come up with the files from
// before.
func (r *ruin) rollBack(run func()) {
	r.t.Helper()
	r.stopBroker()
	copied := filepath.Join(r.t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(r.natsDir)); err != nil {
		r.t.Fatal(err)
	}
	r.startBroker()
	run()
	r.stopBroker()
	r.natsDir = copied
	r.startBroker()
}
