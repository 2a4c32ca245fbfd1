package natslog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

// Log is an events.Log on a JetStream stream. Make one with New, give it its
// Run, and Close it at the end. Its methods may be called from many goroutines.
type Log struct {
	config   Config
	embedded *embedded // nil if the server is elsewhere
	had      bool      // Run's own: whether there has been a session

	mu      sync.Mutex
	conn    *nats.Conn // nil until Run
	link    link       // until the next disconnect
	current *session   // nil while there is none
	fault   error      // what no waiting cures
	why     error      // what the connection or the last check of the stream failed for; nil with a session
	changed chan struct{}
}

// link is a stretch of time that things asked of a server are not waited for
// beyond.
type link struct {
	over context.Context
	end  context.CancelFunc
}

func newLink(within context.Context) link {
	over, end := context.WithCancel(within)
	return link{over, end}
}

// bound returns a context that ends with the link too, and in any case.
func (l link) bound(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(l.over, cancel)
	return ctx, func() { stop(); cancel() }
}

// session is the time from a check of the stream to the next doubt about it:
// the connection broke, or something about the stream was not as expected.
type session struct {
	link
	js     jetstream.JetStream
	conn   *nats.Conn
	stream string
	id     events.LogID
}

var errClosed = errors.New("natslog: closed")

// New returns a log. It does not wait for a network: a server elsewhere is
// looked for by Run. The embedded server is started, and what it finds in its
// folder is opened.
func New(config Config) (*Log, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	log := &Log{config: config, link: newLink(context.Background()), changed: make(chan struct{})}
	if config.URL == "" {
		server, err := startEmbedded(config)
		if err != nil {
			return nil, err
		}
		log.embedded = server
	}
	return log, nil
}

// VersionError says that the server is too old.
type VersionError struct{ Have, Want string }

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("natslog: nats-server is version %s, want %s or newer", e.Have, e.Want)
}

// The oldest server that will do.
const (
	minMajor, minMinor = 2, 12
	minVersion         = "2.12"
)

// checkVersion refuses a server that is too old, or does not say how old it is.
func checkVersion(have string) error {
	parts := strings.SplitN(have, ".", 3)
	if len(parts) < 2 {
		return &VersionError{have, minVersion}
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < minMajor || major == minMajor && minor < minMinor {
		return &VersionError{have, minVersion}
	}
	return nil
}

const (
	// checkTimeout bounds one check of the stream.
	checkTimeout = 5 * time.Second
	// retryWait lies between two checks that fail, twice as long each time up
	// to maxRetryWait.
	retryWait    = 50 * time.Millisecond
	maxRetryWait = 2 * time.Second
)

// Run connects, and checks the stream (creates it, where there is none) after
// each connect and whenever it is in doubt. It returns when ctx ends, with
// its error, or on a fault that no waiting cures: a *SettingsError, a
// *TakenError, a *VersionError, a configuration the connection cannot even be tried with, or
// Close.
// The connection outlives it until Close.
func (l *Log) Run(ctx context.Context) error {
	conn, err := l.connect()
	if err != nil {
		return l.fail(err)
	}
	for delay := retryWait; ctx.Err() == nil; {
		l.mu.Lock()
		link, fault, changed := l.link, l.fault, l.changed
		ready := l.current != nil
		l.mu.Unlock()
		if fault != nil {
			return fault
		}
		if ready {
			delay = retryWait
		}
		if ready || !conn.IsConnected() {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		err := l.check(ctx, conn, link)
		if isFault(err) {
			return l.fail(err)
		}
		if err != nil && ctx.Err() == nil {
			l.config.Logger.Warn("log unavailable", "stream", l.config.Stream, "cause", err)
			l.failed(err)
			pause(ctx, delay)
			delay = min(2*delay, maxRetryWait)
			l.elsewhere(conn, link)
		}
	}
	return ctx.Err()
}

// elsewhere leaves a server for the next of several: it may be cut off from the
// others, and the connection with it is none the worse for that.
func (l *Log) elsewhere(conn *nats.Conn, link link) {
	if len(conn.Servers()) < 2 || link.over.Err() != nil {
		return
	}
	l.config.Logger.Info("try the log at another server", "not", conn.ConnectedUrlRedacted())
	// It fails on a closed connection only, which Run sees for itself.
	_ = conn.ForceReconnect()
}

// connect makes the one connection, which from then on keeps itself up.
func (l *Log) connect() (*nats.Conn, error) {
	l.mu.Lock()
	conn, fault := l.conn, l.fault
	l.mu.Unlock()
	if conn != nil || fault != nil {
		return conn, fault
	}
	var server nats.InProcessConnProvider
	if l.embedded != nil {
		server = l.embedded.server
	}
	conn, err := nats.Connect(l.config.URL, append(l.config.options(server),
		nats.ConnectHandler(func(*nats.Conn) { l.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { l.connected() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ErrorHandler(l.asyncError),
	)...)
	if err != nil {
		return nil, fmt.Errorf("natslog: connect: %w", err)
	}
	l.change(func() { l.conn = conn })
	return conn, nil
}

func (l *Log) connected() {
	l.config.Logger.Info("connected to the log")
	l.change(func() {})
}

func (l *Log) disconnected(err error) {
	if err != nil { // it is nil where Close did it
		l.config.Logger.Warn("disconnected from the log", "cause", err)
	}
	l.change(func() {
		l.link.end()
		l.link, l.current, l.why = newLink(context.Background()), nil, err
	})
}

// asyncError hears of what no call returns, such as a right that is missing.
func (l *Log) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	l.config.Logger.Warn("log connection", "cause", err)
	l.failed(err)
}

// change changes the state and wakes those who wait for a change.
func (l *Log) change(what func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
	close(l.changed)
	l.changed = make(chan struct{})
}

// doubt ends a session, so that the stream is checked anew.
func (l *Log) doubt(s *session) {
	l.change(func() {
		s.end()
		if s == l.current {
			l.current = nil
		}
	})
}

// fail ends everything: there will be no session any more.
func (l *Log) fail(err error) error {
	l.change(func() {
		l.link.end()
		l.fault, l.current = err, nil
	})
	return err
}

func isFault(err error) bool {
	_, settings := errors.AsType[*SettingsError](err)
	_, version := errors.AsType[*VersionError](err)
	_, taken := errors.AsType[*TakenError](err)
	return settings || version || taken
}

// check begins a session if server and stream are as they must be.
func (l *Log) check(ctx context.Context, conn *nats.Conn, link link) error {
	if err := checkVersion(conn.ConnectedServerVersion()); err != nil {
		return err
	}
	if most := conn.MaxPayload(); most < minMessage {
		return &SettingsError{l.config.Stream, []Setting{{"the server's max_payload", fmt.Sprint(most), fmt.Sprintf("at least %d", minMessage)}}}
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := link.bound(ctx, checkTimeout)
	defer cancel()
	info, err := ensure(ctx, js, l.config, l.had)
	if err != nil {
		return err
	}
	l.had = true
	s := &session{link: newLink(link.over), js: js, conn: conn, stream: l.config.Stream, id: identity(info)}
	l.change(func() {
		if s.over.Err() == nil { // else the connection broke meanwhile
			l.current, l.why = s, nil
		}
	})
	return nil
}

// failed keeps why there is no session, for those who ask. It wakes nobody.
func (l *Log) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		l.why = err
	}
}

// Reachable returns nil while there is a stream that has been found fit, or else
// why there is none, an error that is ErrUnavailable. It asks nobody.
func (l *Log) Reachable() error {
	_, err := l.now()
	return err
}

// pause waits, but not beyond ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Ready blocks until the stream has been created or checked. It returns what
// ended Run if no waiting cures it, or ctx's error.
func (l *Log) Ready(ctx context.Context) error {
	_, err := l.await(ctx)
	return err
}

// await returns the session, when there is one.
func (l *Log) await(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		s, fault, changed := l.current, l.fault, l.changed
		l.mu.Unlock()
		if fault != nil {
			return nil, fault
		}
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// now returns the session, if there is one now.
func (l *Log) now() (*session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.current != nil:
		return l.current, nil
	case l.fault != nil:
		return nil, fmt.Errorf("%w: %w", events.ErrUnavailable, l.fault)
	case l.conn != nil && l.conn.IsConnected():
		return nil, because("connected, but the stream is yet to be found fit", l.why)
	case l.conn != nil:
		return nil, because("not connected", cmp.Or(l.conn.LastError(), l.why))
	default:
		return nil, because("not connected", nil)
	}
}

// because is ErrUnavailable, with its cause where that is known.
func because(what string, cause error) error {
	if cause == nil {
		return fmt.Errorf("%w: %s", events.ErrUnavailable, what)
	}
	return fmt.Errorf("%w: %s: %w", events.ErrUnavailable, what, cause)
}

// Close ends the connection, and the embedded server if there is one.
func (l *Log) Close() {
	_ = l.fail(errClosed) // which returns what it is given
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	l.embedded.stop()
}
