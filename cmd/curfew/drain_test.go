package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// serveForTest serves until the test ends, and returns where.
func serveForTest(t *testing.T, handler http.HandlerFunc) (*webServer, string) {
	server := newWebServer(&http.Server{Handler: handler, ReadHeaderTimeout: patient})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return server, l.Addr().String()
}

func TestDrainDoesNotWaitForConnectionsNobodyUses(t *testing.T) {
	server, address := serveForTest(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	idle, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	eventually(t, "the server has seen the connection", func() bool { return server.count.Load() == 1 })
	began := time.Now()
	if err := server.drain(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	entered, finish := make(chan bool), make(chan bool)
	server, address := serveForTest(t, func(w http.ResponseWriter, _ *http.Request) {
		entered <- true
		<-finish
		_, _ = io.WriteString(w, "finished")
	})
	body := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + address)
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		body <- string(content)
		if err != nil {
			t.Error(err)
		}
	}()
	<-entered
	time.AfterFunc(2*unusedTime, func() { close(finish) })
	if err := server.drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-body; got != "finished" {
		t.Errorf("got %q", got)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	entered, finish := make(chan bool), make(chan bool)
	server, address := serveForTest(t, func(http.ResponseWriter, *http.Request) {
		entered <- true
		<-finish
	})
	defer close(finish)
	go func() {
		// It is cut off.
		if resp, err := http.Get("http://" + address); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := server.drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
