package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// unusedTime is how long a connection that has never carried a request is left
// open while its server drains.
const unusedTime = 500 * time.Millisecond

// webServer is an http.Server that drains quickly. Its Shutdown alone would wait
// five seconds for each connection on which no request has come yet, and clients
// dial ahead.
type webServer struct {
	*http.Server

	mu     sync.Mutex
	unused map[net.Conn]bool
	count  atomic.Int64 // of unused; it spares most requests the lock
}

func newWebServer(server *http.Server) *webServer {
	w := &webServer{Server: server, unused: make(map[net.Conn]bool)}
	server.ConnState = w.watch
	return w
}

func (w *webServer) watch(c net.Conn, state http.ConnState) {
	if state != http.StateNew && w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if state == http.StateNew {
		w.unused[c] = true
	} else {
		delete(w.unused, c)
	}
	w.count.Store(int64(len(w.unused)))
}

func (w *webServer) closeUnused() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.unused {
		// The server hears of it as of any client that hangs up.
		_ = c.Close()
	}
}

// drain takes no new request and finishes those under way. What is not finished
// by the end of ctx is cut off, with an error.
func (w *webServer) drain(ctx context.Context) error {
	late := time.AfterFunc(unusedTime, w.closeUnused)
	defer late.Stop()
	err := w.Shutdown(ctx)
	if err != nil {
		// The error that matters is the first.
		_ = w.Close()
	}
	return err
}
