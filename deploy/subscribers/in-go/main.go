// Command in-go is an example: an application whose websockets end with their
// sessions. It stands behind a proxy that has curfew asked about each request and
// passes on X-Curfew-Session, and hears of ends by NATS.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
)

// longest is how long a websocket may be open. A browser then opens it anew, and
// so asks the guard: whatever was missed is over by then. Plain NATS promises to
// deliver once at most, and a replica of curfew that has lost the log may let
// somebody in for a while yet.
const longest = 15 * time.Minute

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	limit := longest
	if text := os.Getenv("LONGEST"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("LONGEST: %w", err)
		}
	}
	sockets := newHub()
	if err := subscribe(os.Getenv("NATS_URL"), sockets); err != nil {
		return err
	}
	l, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", l.Addr())
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { live(w, r, sockets, limit) })}
	return server.Serve(l)
}

// subscribe has the hub told of every end, and of every time in which ends may be
// missed.
func subscribe(url string, sockets *hub) error {
	conn, err := nats.Connect(url, nats.Name("websockets"), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		// A connection that is dead without a word is noticed within 15 seconds,
		// the time after which curfew's guard lets nobody in either.
		nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Printf("NATS is away: %v", err)
			sockets.lose()
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			// Answered when the server has the subscription again.
			if err := conn.Flush(); err == nil {
				sockets.hear()
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			// It was too slow, or may not listen. Started again, there is no
			// websocket that it might have forgotten to close.
			log.Fatalf("ends may have been missed: %v", err)
		}))
	if err != nil {
		return err
	}
	if _, err := conn.Subscribe(endedPrefix+"*", func(m *nats.Msg) { sockets.end(m.Subject, m.Data) }); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	sockets.hear()
	return nil
}

// live is the websocket, which echoes. Accept refuses pages of other origins.
func live(w http.ResponseWriter, r *http.Request, sockets *hub, limit time.Duration) {
	// The proxy takes this header away from whatever a client sends.
	session := r.Header.Get("X-Curfew-Session")
	if session == "" {
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	}
	ctx, leave, err := sockets.enter(session)
	if why, refused := errors.AsType[parting](err); refused {
		http.Error(w, why.Error(), why.status())
		return
	}
	defer leave()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	// Nobody is left to be told that it did not close in good order.
	defer func() { _ = conn.CloseNow() }()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errAgain)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if why, parted := errors.AsType[parting](context.Cause(ctx)); parted {
			_ = conn.Close(why.code, why.reason)
		}
	})()
	echo(ctx, conn)
}

// echo goes on until the client goes, or ctx ends. With ctx, Read and Write would
// cut the connection before it is said why.
func echo(ctx context.Context, conn *websocket.Conn) {
	uncut := context.WithoutCancel(ctx)
	for {
		kind, message, err := conn.Read(uncut)
		if err != nil || ctx.Err() != nil {
			return
		}
		if conn.Write(uncut, kind, message) != nil {
			return
		}
	}
}
