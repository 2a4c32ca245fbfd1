package natstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are some ports on loopback that no other test is given, in this process
// or another, until the test ends. They lie below those that the system hands
// out by itself, so a server that is stopped finds its port free when it comes
// back.
type Ports struct {
	t    testing.TB
	next int
	end  int
}

const (
	firstPort = 15_000
	blocks    = 256
	blockSize = 64
)

// NewPorts takes some ports. The first of a block is listened on as long as the
// test goes on, and so tells others that the block is taken.
func NewPorts(t testing.TB) *Ports {
	t.Helper()
	for i, start := 0, rand.IntN(blocks); i < blocks; i++ {
		base := firstPort + (start+i)%blocks*blockSize
		l, err := net.Listen("tcp", address(base))
		if err != nil {
			continue
		}
		t.Cleanup(func() { l.Close() })
		return &Ports{t: t, next: base + 1, end: base + blockSize}
	}
	t.Fatal("natstest: every block of ports is taken")
	return nil
}

// Next is a port that nobody listens on.
func (p *Ports) Next() int {
	p.t.Helper()
	for ; p.next < p.end; p.next++ {
		l, err := net.Listen("tcp", address(p.next))
		if err == nil {
			l.Close()
			p.next++
			return p.next - 1
		}
	}
	p.t.Fatalf("natstest: more than %d ports are asked for", blockSize)
	return 0
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
