package natslog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout bounds the wait for the embedded server to take connections. It
// has opened its stores by then.
const startTimeout = 10 * time.Second

// embedded is a NATS server in this process. It listens on no port.
type embedded struct {
	server *server.Server
	lock   *os.File
}

// startEmbedded starts a server on a folder, which it makes if need be. Every
// append is synced: the folder is the only place that holds the log.
func startEmbedded(c Config) (*embedded, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("natslog: embedded server: %w", err)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("natslog: embedded server: %w", err)
	}
	started, err := startServer(c)
	if err != nil {
		return nil, fmt.Errorf("natslog: embedded server: %w", errors.Join(err, lock.Close()))
	}
	return &embedded{started, lock}, nil
}

func startServer(c Config) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName:             c.Name,
		DontListen:             true,
		JetStream:              true,
		StoreDir:               c.Dir,
		SyncAlways:             true,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, err
	}
	logger := &serverLogger{logger: c.Logger.With("from", "embedded nats")}
	s.SetLoggerV2(logger, false, false, false)
	s.Start()
	if err := logger.fatal(); err != nil {
		s.Shutdown()
		return nil, err
	}
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("not ready within %s", startTimeout)
	}
	return s, nil
}

// stop ends the server and waits until its files are closed.
func (e *embedded) stop() {
	if e == nil {
		return
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
	// Nothing was written to it, and the process lets go of the lock either way.
	_ = e.lock.Close()
}

// lockDir keeps a second server off the folder, which would spoil it: the
// server itself does not look.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s is in use by another process: %w", dir, errors.Join(err, file.Close()))
	}
	return file, nil
}

// serverLogger hands the server's lines on, a step quieter: its notices are
// for those who run a server. Start says only here why it did not.
type serverLogger struct {
	logger *slog.Logger
	mu     sync.Mutex
	died   error
}

// Noticef logs at level debug.
func (l *serverLogger) Noticef(format string, v ...any) { l.logger.Debug(fmt.Sprintf(format, v...)) }

// Debugf and Tracef are not asked for.
func (l *serverLogger) Debugf(string, ...any) {}

// Tracef is not asked for.
func (l *serverLogger) Tracef(string, ...any) {}

// Warnf logs at level info.
func (l *serverLogger) Warnf(format string, v ...any) { l.logger.Info(fmt.Sprintf(format, v...)) }

// Errorf logs at level error.
func (l *serverLogger) Errorf(format string, v ...any) { l.logger.Error(fmt.Sprintf(format, v...)) }

// Fatalf keeps what the server died of.
func (l *serverLogger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.died = fmt.Errorf(format, v...)
}

func (l *serverLogger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.died
}
