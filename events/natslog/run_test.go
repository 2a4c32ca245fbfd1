package natslog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"curfew/events"
)

func alive(replica string) events.Event {
	return events.NewEvent(events.Alive{Replica: replica, Instance: "i", Lease: 15_000}, "r", time.Unix(1, 0).UTC())
}

func TestValidate(t *testing.T) {
	for fault, change := range map[string]func(*Config){
		"":                       func(*Config) {},
		"neither a URL nor":      func(c *Config) { c.Dir = "" },
		"keeps one replica":      func(c *Config) { c.Replicas = 3 },
		"1 to 5 replicas":        func(c *Config) { c.URL, c.Replicas = "nats://127.0.0.1", 6 },
		"stream's name":          func(c *Config) { c.Stream = "" },
		"no space, dot":          func(c *Config) { c.Stream = "a.b" },
		"age to keep":            func(c *Config) { c.MaxAge = 0 },
		"come together":          func(c *Config) { c.Cert = "x" },
		"logger":                 func(c *Config) { c.Logger = nil },
		`replica name "a.b"`:     func(c *Config) { c.Name = "a.b" },
		"name is missing\nthe a": func(c *Config) { c.Stream, c.MaxAge = "", 0 },
	} {
		config := Config{Stream: "S", MaxAge: 1, Dir: "d", Name: "n", Logger: quiet()}
		change(&config)
		err := config.validate()
		if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("want %q, got %v", fault, err)
		}
	}
}

// TestRestart has the embedded log hold what it held, and be the one it was.
func TestRestart(t *testing.T) {
	config := embeddedConfig(t)
	var want events.Status
	for i := range events.Position(3) {
		log := open(t, config)
		status, err := log.Status(t.Context())
		if err != nil || i > 0 && status != want {
			t.Errorf("restart %d: %+v, %v, want %+v", i, status, err, want)
		}
		if at, err := log.Append(t.Context(), alive(fmt.Sprint("r", i)), events.IfFirst()); at != i+1 || err != nil {
			t.Errorf("restart %d: append: %d, %v", i, at, err)
		}
		want = events.Status{ID: status.ID, Created: status.Created, First: 1, Last: i + 1}
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("a second server on the folder: %v", err)
		}
		log.Close()
	}
	private(t, config.Dir)
}

// private checks that nobody else may read a folder.
func private(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir { // the test made it
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFolderThatIsNone(t *testing.T) {
	config := embeddedConfig(t)
	config.Dir = filepath.Join(config.Dir, "file")
	if err := os.WriteFile(config.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(config); err == nil {
		t.Error("a file was taken for a folder")
	}
	config = embeddedConfig(t)
	if err := os.WriteFile(filepath.Join(config.Dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(config); err == nil {
		t.Error("a server that does not start was taken for one that does")
	}
}

// TestVersion has an older server refused by its version.
func TestVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.12.0": true, "2.12.0-preview.1": true, "2.15.2": true, "3.0.0": true,
		"2.11.99": false, "2.9.0": false, "1.99.0": false, "2": false, "": false, "x.y.z": false,
	} {
		old, refused := errors.AsType[*VersionError](checkVersion(version))
		if refused == ok || refused && old.Have != version {
			t.Errorf("%q: %v", version, old)
		}
	}
	log := start(t, remoteConfig("nats://"+pretender(t, "2.11.4")))
	old, ok := errors.AsType[*VersionError](log.Ready(t.Context()))
	if !ok || old.Have != "2.11.4" || !strings.Contains(old.Error(), "2.11.4") {
		t.Errorf("got %v", old)
	}
	_, err := log.Append(t.Context(), alive("a"), events.Always())
	if _, told := errors.AsType[*VersionError](err); !told || !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
	if err := log.Follow(t.Context(), events.Mark{}, nil); !errors.Is(err, old) {
		t.Errorf("Follow: %v", err)
	}
}

// pretender is a server that says of what version it is, and little else.
func pretender(t *testing.T, version string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":%q,\"headers\":true,\"max_payload\":1048576}\r\n", version)
				buffer := make([]byte, 4096)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					for range strings.Count(string(buffer[:n]), "PING") {
						_, _ = conn.Write([]byte("PONG\r\n"))
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// TestLate has a log start while its server is away, and find it later.
func TestLate(t *testing.T) {
	r := newRemote(t, nil)
	url := r.server.ClientURL()
	r.stop()
	log := start(t, remoteConfig(url))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := log.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready: %v", err)
	}
	if _, err := log.Append(t.Context(), alive("a"), events.Always()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
	if err := log.Announce("i", events.Mark{At: 1}); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Announce: %v", err)
	}
	r.start()
	if err := log.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, err := log.Append(t.Context(), alive("a"), events.Always()); at != 1 || err != nil {
		t.Errorf("Append: %d, %v", at, err)
	}
}

// TestConnectionFaults has what cannot be connected with reported at once.
func TestConnectionFaults(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"a URL that is none": func(c *Config) { c.URL = "nats://[::1" },
		"no such creds":      func(c *Config) { c.Creds = "no-such-file" },
		"no such CA":         func(c *Config) { c.CA = "no-such-file" },
		"no such key":        func(c *Config) { c.Cert, c.Key = "no-such-file", "no-such-file" },
	} {
		config := remoteConfig("nats://127.0.0.1:1")
		change(&config)
		log := start(t, config)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := log.Ready(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

func TestOversized(t *testing.T) {
	log := open(t, embeddedConfig(t))
	e := events.NewEvent(events.Refreshed{Session: events.NewSessionID(), At: time.Unix(1, 0), Sealed: events.Sealed(strings.Repeat("A", 2<<20))}, "r", time.Unix(1, 0))
	if _, err := log.Append(t.Context(), e, events.Always()); !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestClosed(t *testing.T) {
	log, err := New(embeddedConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() { running <- log.Run(t.Context()) }()
	if err := log.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	following := make(chan error, 1)
	go func() {
		following <- log.Follow(t.Context(), events.Mark{}, func(events.Batch) error { return nil })
	}()
	log.Close()
	if err := <-following; !errors.Is(err, errClosed) {
		t.Errorf("Follow: %v", err)
	}
	if err := <-running; !errors.Is(err, errClosed) {
		t.Errorf("Run: %v", err)
	}
	if _, err := log.Append(t.Context(), alive("a"), events.Always()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
	log.Close()
}

// TestAnnounce has what one replica says heard by another, and what nobody's
// replica says by none.
func TestAnnounce(t *testing.T) {
	r := newRemote(t, nil)
	one, two := remoteConfig(r.server.ClientURL()), remoteConfig(r.server.ClientURL())
	two.Name = "there"
	speaker, hearer := open(t, one), open(t, two)
	conn, _ := r.admin()
	type said struct {
		instance string
		applied  events.Mark
	}
	id := events.LogID{7}
	heard := make(chan said)
	ctx, cancel := context.WithCancel(t.Context())
	listening := make(chan error, 1)
	go func() {
		listening <- hearer.Listen(ctx, func(instance string, at events.Mark) { heard <- said{instance, at} })
	}()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for begun := false; !begun; { // until the subscription is there
		if err := speaker.Announce("a", events.Mark{Log: id, At: 1}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			begun = got == said{"a", events.Mark{Log: id, At: 1}}
		case <-again.C:
		}
	}
	for _, body := range []string{"", "{}", "null", `{"instance":1}`, `{"instance":"x","position":-1}`, `{"instance":"x","position":1,"log":"?"}`} {
		if err := conn.Publish(events.SubjectApplied+"here", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := speaker.Announce("b", events.Mark{Log: id, At: 2}); err != nil {
		t.Fatal(err)
	}
	for got := range heard {
		if got == (said{"b", events.Mark{Log: id, At: 2}}) {
			break
		}
		if got != (said{"a", events.Mark{Log: id, At: 1}}) {
			t.Errorf("heard %+v", got)
		}
	}
	cancel()
	if err := <-listening; !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v", err)
	}
}

// TestRefusedUser has a wrong password reported, not shown, and not taken for
// the end: it may be put right at the server.
func TestRefusedUser(t *testing.T) {
	r := newRemote(t, func(o *server.Options) { o.Username, o.Password = "curfew", "right" })
	address := r.server.Addr().String()
	log := start(t, remoteConfig("nats://curfew:wrong@"+address))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := log.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wrong password: Ready: %v", err)
	}
	if _, err := log.Status(t.Context()); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("wrong password: Status: %v", err)
	} else if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the password is in %q", err)
	}
	open(t, remoteConfig("nats://curfew:right@"+address))
}
