package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats-server/v2/server"

	"curfew/sessions/rp/optest/realop"
)

// guest is who subscribers are at the log: the user of docs/open-tabs.md, who may
// hear of ends and do nothing else.
const guest = "subscriber:change-me"

// post is a NATS server with curfew's user and a guest, in this process.
type post struct {
	*server.Server
	t    *testing.T
	dir  string
	port int
}

func newPost(t *testing.T) *post {
	p := &post{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	p.open()
	t.Cleanup(p.close)
	return p
}

func (p *post) open() {
	p.t.Helper()
	only := &server.SubjectPermission{Allow: []string{"curfew.ended.*"}}
	nothing := &server.SubjectPermission{Deny: []string{">"}}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: p.port, JetStream: true, StoreDir: p.dir, NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "curfew", Password: "secret"},
			{Username: "subscriber", Password: "change-me", Permissions: &server.Permissions{Publish: nothing, Subscribe: only}},
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patient) {
		p.t.Fatal("the NATS server is not ready")
	}
	at, err := url.Parse(s.ClientURL())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Sscan(at.Port(), &p.port); err != nil {
		p.t.Fatal(err)
	}
	p.Server = s
}

func (p *post) close() {
	p.Shutdown()
	p.WaitForShutdown()
}

func (p *post) as(user string) string { return fmt.Sprintf("nats://%s@127.0.0.1:%d", user, p.port) }

// subscriber is one of the examples, at work.
type subscriber struct {
	*process
	address string
}

func startSubscriber(t *testing.T, env []string, command []string) *subscriber {
	t.Helper()
	p := startProcess(t, append(env, "LISTEN=127.0.0.1:0"), command[0], command[1:]...)
	line := p.waitLine("its address", func(line string) bool { return strings.HasPrefix(line, "listening on ") })
	return &subscriber{p, strings.TrimPrefix(line, "listening on ")}
}

// goSubscriber builds the example in Go.
func goSubscriber(t *testing.T) []string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "subscriber")
	if out, err := exec.Command("go", "build", "-o", binary, "../../deploy/subscribers/in-go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return []string{binary}
}

// nodeSubscriber is the example in JavaScript.
func nodeSubscriber(t *testing.T) []string {
	t.Helper()
	needs(t, "node")
	folder := filepath.Join("..", "..", "deploy", "subscribers", "in-javascript")
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "ws")); err != nil {
		const what = "NOT TESTED: the example in JavaScript lacks its packages: run make parts"
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	return []string{"node", filepath.Join(folder, "app.mjs")}
}

// dial opens a websocket as the proxy would hand it on: with the session that the
// guard of a replica names, and refused as the guard refuses it.
func (s *subscriber) dial(r *replica, cookie string) (*websocket.Conn, int) {
	s.t.Helper()
	resp := r.check(cookie)
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode
	}
	return s.open(http.Header{"X-Curfew-Session": {resp.Header.Get("X-Curfew-Session")}})
}

func (s *subscriber) open(header http.Header) (*websocket.Conn, int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patient)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws://"+s.address+"/live", &websocket.DialOptions{HTTPHeader: header})
	if resp == nil {
		s.t.Fatal(err)
	}
	if conn != nil {
		s.t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, resp.StatusCode
}

// dials is dial for what must be let in, when the subscriber has heard that it may.
func (s *subscriber) dials(r *replica, cookie string) *websocket.Conn {
	s.t.Helper()
	var conn *websocket.Conn
	eventually(s.t, "a websocket is open", func() bool {
		conn, _ = s.dial(r, cookie)
		return conn != nil
	})
	return conn
}

func wantEcho(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, said, err := conn.Read(ctx); err != nil || string(said) != "hello" {
		t.Fatalf("the echo is %q: %v", said, err)
	}
}

// wantClosed wants a websocket to be closed.
func wantClosed(t *testing.T, conn *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	_, said, err := conn.Read(ctx)
	closed, ok := errors.AsType[websocket.CloseError](err)
	if !ok || closed.Code != code || closed.Reason != reason {
		t.Fatalf("said %q, and then %v; want to be closed with %d %q", said, err, code, reason)
	}
}

const (
	codeEnded = websocket.StatusCode(4401)
	codeAgain = websocket.StatusTryAgainLater
)

func TestSubscribersCloseWebsockets(t *testing.T) {
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			command := example.command(t)
			nats := newPost(t)
			h := newSmallHouseAt(t, nats.as("curfew:secret"), nil)
			env := []string{"NATS_URL=" + nats.as(guest)}
			s := startSubscriber(t, env, command)
			h.closesWebsockets(t, s)
			h.wantStrangersRefused(t, s)
			h.cutsOffTheDeaf(t, s)
			h.closesAllWhenTheLogIsAway(t, s, nats)

			s = startSubscriber(t, append(env, example.short), command)
			conn := s.dials(h.replicas[0], h.signIn(realop.NewBrowser(t), "noor"))
			wantClosed(t, conn, codeAgain, "come again")
		})
	}
}

// closesWebsockets ends sessions, by each way and at each replica in turn.
func (h *house) closesWebsockets(t *testing.T, s *subscriber) {
	t.Helper()
	grace := h.signIn(realop.NewBrowser(t), "grace")
	stays := s.dials(h.replicas[2], grace)
	for i, way := range []struct {
		reason string
		end    func(cookie string)
	}{
		{"backchannel", func(cookie string) { h.op.endSession(t, h.sid(cookie)) }},
		{"backchannel", func(cookie string) { h.op.endUser(t, h.sub(cookie)) }},
		{"admin", func(cookie string) { h.replicas[0].end(t, `{"sub":"`+h.sub(cookie)+`"}`) }},
		{"signed_out", func(cookie string) { h.replicas[0].signOut(t, cookie) }},
	} {
		promptly(t, soon, func() time.Duration {
			cookie := h.signIn(realop.NewBrowser(t), "ada")
			session, _ := h.session(cookie)["session"].(string)
			one, two := s.dials(h.replicas[1], cookie), s.dials(h.replicas[2], cookie)
			wantEcho(t, one)
			h.through.Store(int32(i % len(h.replicas)))
			began := time.Now()
			way.end(cookie)
			wantClosed(t, one, codeEnded, way.reason)
			wantClosed(t, two, codeEnded, way.reason)
			took := time.Since(began)
			// A replica that lags behind may yet let it pass.
			if _, status := s.open(http.Header{"X-Curfew-Session": {session}}); status != http.StatusUnauthorized {
				t.Errorf("a websocket of a session that has ended is answered %d", status)
			}
			return took
		})
	}
	wantEcho(t, stays)
}

func (h *house) wantStrangersRefused(t *testing.T, s *subscriber) {
	t.Helper()
	session := h.replicas[0].check(h.signIn(realop.NewBrowser(t), "noor")).Header.Get("X-Curfew-Session")
	for _, c := range []struct {
		header http.Header
		status int
	}{
		{nil, http.StatusUnauthorized},
		{http.Header{"X-Curfew-Session": {session}, "Origin": {"https://evil.example"}}, http.StatusForbidden},
		{http.Header{"X-Curfew-Session": {session}, "Origin": {"http://" + s.address}}, http.StatusSwitchingProtocols},
	} {
		if _, status := s.open(c.header); status != c.status {
			t.Errorf("%v is answered %d, want %d", c.header, status, c.status)
		}
	}
}

// cutsOffTheDeaf: a client that does not answer when it is closed, and goes on
// sending, is answered nothing more and cut off.
func (h *house) cutsOffTheDeaf(t *testing.T, s *subscriber) {
	t.Helper()
	cookie := h.signIn(realop.NewBrowser(t), "noor")
	session := h.replicas[0].check(cookie).Header.Get("X-Curfew-Session")
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /live HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Curfew-Session: %s\r\n\r\n", s.address, session)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	hello := "\x81\x85\x00\x00\x00\x00hello" // a whole text, masked with nothing (RFC 6455 section 5.2)
	echo, closed := "\x81\x05hello", "\x88\x0d\x11\x31backchannel"
	answer := make([]byte, len(echo))
	fmt.Fprint(conn, hello)
	if _, err := io.ReadFull(in, answer); err != nil || string(answer) != echo {
		t.Fatalf("the echo is %q: %v", answer, err)
	}
	h.op.endSession(t, h.sid(cookie))
	answer = make([]byte, len(closed))
	if _, err := io.ReadFull(in, answer); err != nil || string(answer) != closed {
		t.Fatalf("closed with %q: %v", answer, err)
	}
	fmt.Fprint(conn, hello+hello)
	rest, err := io.ReadAll(in)
	if len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the end came %q: %v", rest, err)
	}
}

// closesAllWhenTheLogIsAway: whoever is signed out meanwhile must not be found
// with an open websocket, neither then nor afterwards.
func (h *house) closesAllWhenTheLogIsAway(t *testing.T, s *subscriber, nats *post) {
	t.Helper()
	ada, grace := h.signIn(realop.NewBrowser(t), "ada"), h.signIn(realop.NewBrowser(t), "grace")
	token := h.logoutToken(ada)
	first, second := s.dials(h.replicas[1], ada), s.dials(h.replicas[1], grace)
	wantEcho(t, first)
	nats.close()
	wantClosed(t, first, codeAgain, "unsure")
	wantClosed(t, second, codeAgain, "unsure")
	// The guard may let it pass for a while yet.
	if conn, status := s.dial(h.replicas[1], grace); conn != nil || status != http.StatusServiceUnavailable {
		t.Errorf("without NATS, a websocket is answered %d", status)
	}
	if resp, _ := h.replicas[0].postLogout(token); resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("without the log, a logout is answered %d", resp.StatusCode)
	}
	nats.open()
	for _, r := range h.replicas {
		r.ready()
	}
	eventually(t, "the log has the logout", func() bool { return h.replicas[1].check(ada).StatusCode == http.StatusUnauthorized })
	wantEcho(t, s.dials(h.replicas[1], grace))
	if conn, status := s.dial(h.replicas[1], ada); conn != nil || status != http.StatusUnauthorized {
		t.Errorf("who was signed out meanwhile is answered %d", status)
	}
	third := s.dials(h.replicas[2], grace)
	h.op.endSession(t, h.sid(grace))
	wantClosed(t, third, codeEnded, "backchannel")
}
