package natstest

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// gate is the one way from a node to another: a TCP proxy that can be shut.
type gate struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	shut  bool
	moved chan struct{} // closed, and replaced, when shut changes
	gone  chan struct{}
}

func (g *gate) open(t testing.TB, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("natstest: gate: %v", err)
	}
	g.listener, g.target = l, fmt.Sprintf("127.0.0.1:%d", port)
	g.moved, g.gone = make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		close(g.gone)
	})
	go g.serve()
}

func (g *gate) address() string { return g.listener.Addr().String() }

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	close(g.moved)
	g.moved = make(chan struct{})
}

// wait blocks while the gate is shut, and returns false when it is gone.
func (g *gate) wait() bool {
	for {
		g.mu.Lock()
		shut, moved := g.shut, g.moved
		g.mu.Unlock()
		if !shut {
			return true
		}
		select {
		case <-moved:
		case <-g.gone:
			return false
		}
	}
}

func (g *gate) serve() {
	for {
		from, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.join(from)
	}
}

// join carries one connection's bytes both ways until either side is gone.
func (g *gate) join(from net.Conn) {
	defer from.Close()
	if !g.wait() {
		return
	}
	to, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer to.Close()
	done := make(chan struct{}, 2)
	carry := func(from, to net.Conn) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 && (!g.wait() || write(to, buffer[:n]) != nil) || err != nil {
				break
			}
		}
		done <- struct{}{}
	}
	go carry(from, to)
	go carry(to, from)
	<-done
}

func write(to io.Writer, b []byte) error {
	_, err := to.Write(b)
	return err
}
