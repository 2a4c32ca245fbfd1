package natslog

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
	"curfew/events/logtest"
)

const streamName = "CURFEW"

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func embeddedConfig(t testing.TB) Config {
	return Config{Stream: streamName, MaxAge: 13 * time.Hour, Dir: t.TempDir(), Name: "here", Logger: quiet()}
}

func remoteConfig(url string) Config {
	return Config{URL: url, Stream: streamName, MaxAge: 13 * time.Hour, Name: "here", Logger: quiet()}
}

// open makes a log, has it run, and waits until it is ready.
func open(t testing.TB, config Config) *Log {
	t.Helper()
	log := start(t, config)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := log.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return log
}

func start(t testing.TB, config Config) *Log {
	t.Helper()
	log, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = log.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		log.Close()
	})
	return log
}

// remote is a server elsewhere, which can be killed and started again.
type remote struct {
	t       testing.TB
	options server.Options
	server  *server.Server
}

func newRemote(t testing.TB, change func(*server.Options)) *remote {
	r := &remote{t: t, options: server.Options{
		ServerName: "there", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	if change != nil {
		change(&r.options)
	}
	r.start()
	r.options.Port = r.server.Addr().(*net.TCPAddr).Port
	t.Cleanup(r.stop)
	return r
}

func (r *remote) start() {
	options := r.options
	s, err := server.NewServer(&options)
	if err != nil {
		r.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		r.t.Fatal("the server does not start")
	}
	r.server = s
}

func (r *remote) stop() {
	r.server.Shutdown()
	r.server.WaitForShutdown()
}

// admin is another program at the server.
func (r *remote) admin() (*nats.Conn, jetstream.JetStream) {
	r.t.Helper()
	return adminOf(r.t, r.server)
}

func adminOf(t testing.TB, s *server.Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return conn, js
}

// put publishes a message into the stream past the log.
func put(t testing.TB, js jetstream.JetStream, m events.Message) {
	t.Helper()
	if _, err := js.PublishMsg(t.Context(), natsMessage(m)); err != nil {
		t.Fatal(err)
	}
}

func natsMessage(m events.Message) *nats.Msg {
	return &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Body}
}

func TestContractEmbedded(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		log := open(t, embeddedConfig(t))
		_, js := adminOf(t, log.embedded.server)
		return logtest.Harness{Log: log, Put: func(m events.Message) { put(t, js, m) }}
	})
}

func TestContractRemote(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		r := newRemote(t, nil)
		log := open(t, remoteConfig(r.server.ClientURL()))
		_, js := r.admin()
		return logtest.Harness{Log: log, Put: func(m events.Message) { put(t, js, m) }}
	})
}

func TestContractFaults(t *testing.T) {
	logtest.RunFaults(t, func(t *testing.T) logtest.Faulty {
		r := newRemote(t, nil)
		line := newLine(t, r.server.Addr().String())
		log := open(t, remoteConfig("nats://"+line.address()))
		return logtest.Faulty{
			Log:        log,
			LoseAnswer: line.loseAnswer,
			Stop: func() {
				r.stop()
				await(t, log, false)
			},
			Start: r.start,
			Wipe: func() {
				_, js := r.admin()
				if err := js.DeleteStream(t.Context(), streamName); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// await waits until the log has a session, or has none.
func await(t testing.TB, log *Log, want bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		log.mu.Lock()
		has, changed := log.current != nil, log.changed
		log.mu.Unlock()
		if has == want {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the log has a session: %t", has)
		}
	}
}

// line is a wire between a client and the server that can break after it has
// carried a message there, and before it has brought the answer.
type line struct {
	t        testing.TB
	listener net.Listener
	server   string

	mu   sync.Mutex
	lose bool
}

func newLine(t testing.TB, server string) *line {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t, listener: listener, server: server}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(client)
		}
	}()
	return l
}

func (l *line) address() string { return l.listener.Addr().String() }

func (l *line) loseAnswer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = true
}

// carry forwards both ways. A publish acknowledgement that is to be lost takes
// the connection with it.
func (l *line) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer client.Close()
		defer server.Close()
		_, _ = io.Copy(server, client)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil || l.lost(buffer[:n]) {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *line) lost(data []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lose && strings.Contains(string(data), `"seq":`) {
		l.lose = false
		return true
	}
	return false
}
