package natslog

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"curfew/events"
)

// Config says where the stream is and what it must be like.
type Config struct {
	// URL is one or more servers, comma-separated; empty for the embedded one.
	URL string
	// Creds, CA, Cert and Key are files, each optional: a user's credentials,
	// who signs the servers' certificates, and a certificate of our own.
	Creds, CA, Cert, Key string
	// Stream is the stream's name.
	Stream string
	// Replicas is how many the stream gets if it is created here; zero is one.
	// It is not checked on a stream that exists.
	Replicas int
	// MaxAge is how long the stream must keep an event: the longest life of a
	// session, and some more.
	MaxAge time.Duration
	// Dir is the embedded server's folder. Another process may not have it at
	// the same time.
	Dir string
	// Name is this replica's name, which the server shows for the connection
	// and under which Announce speaks.
	Name string
	// Logger hears of connections lost and found, and the embedded server's
	// notices.
	Logger *slog.Logger
}

// validate names every fault at once.
func (c Config) validate() error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(c.URL == "" && c.Dir == "", "neither a URL nor a folder for the embedded server is set")
	fault(c.URL == "" && c.Replicas > 1, "the embedded server keeps one replica")
	fault(c.Stream == "", "the stream's name is missing")
	fault(strings.ContainsAny(c.Stream, " .*>/\\\t\r\n"), "a stream's name holds no space, dot, wildcard or slash")
	fault(c.Replicas < 0 || c.Replicas > 5, "a stream has 1 to 5 replicas")
	fault(c.MaxAge <= 0, "the age to keep events to is missing")
	fault((c.Cert == "") != (c.Key == ""), "certificate and key come together")
	fault(c.Logger == nil, "the logger is missing")
	if err := events.CheckReplicaName(c.Name); err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("natslog: configuration: %w", err)
	}
	return nil
}

const (
	// dialTimeout bounds one try at one server.
	dialTimeout = 2 * time.Second
	// reconnectWait lies between rounds of tries.
	reconnectWait = 250 * time.Millisecond
	// pingInterval finds a dead connection in three of it.
	pingInterval = 3 * time.Second
)

// options are those of the connection. Nothing published is buffered while it
// is down: the caller must know that it was not sent.
func (c Config) options(embedded nats.InProcessConnProvider) []nats.Option {
	options := []nats.Option{
		nats.Name("curfew " + c.Name),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.IgnoreAuthErrorAbort(),
	}
	if embedded != nil {
		return append(options, nats.InProcessServer(embedded))
	}
	if c.Creds != "" {
		options = append(options, nats.UserCredentials(c.Creds))
	}
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		options = append(options, nats.ClientCert(c.Cert, c.Key))
	}
	return options
}
