package proof

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// natsLink stands between one replica and the brokers. It understands so much
// of NATS' protocol that it can lose and double single messages: the brokers'
// acknowledgements, what a follower is sent, and what is published.
type natsLink struct {
	t         *testing.T
	listeners []net.Listener

	mu     sync.Mutex
	rng    *rand.Rand
	blind  bool          // nothing comes from the brokers
	mute   bool          // nothing goes to them
	lose   float64       // of what is delivered, this part is lost
	double float64       // and of what goes either way, this part comes twice
	moved  chan struct{} // closed, and replaced, when any of these changes
}

// newNATSLink listens once for each broker, and returns the addresses to give
// to the replica.
func newNATSLink(t *testing.T, seed uint64, brokers []string) (*natsLink, []string) {
	k := &natsLink{t: t, rng: rand.New(rand.NewPCG(seed, 1)), moved: make(chan struct{})}
	var urls []string
	for _, broker := range brokers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		k.listeners = append(k.listeners, l)
		urls = append(urls, "nats://"+l.Addr().String())
		go k.serve(l, broker)
	}
	t.Cleanup(func() {
		k.set(func() { k.blind, k.mute = false, false })
		for _, l := range k.listeners {
			l.Close()
		}
	})
	return k, urls
}

// set changes what befalls the link.
func (k *natsLink) set(what func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	what()
	close(k.moved)
	k.moved = make(chan struct{})
}

func (k *natsLink) heal() {
	k.set(func() { k.blind, k.mute, k.lose, k.double = false, false, 0, 0 })
}

func (k *natsLink) serve(l net.Listener, broker string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go k.join(client, broker)
	}
}

// join carries one connection's frames both ways until either side is gone.
func (k *natsLink) join(client net.Conn, broker string) {
	defer client.Close()
	server, err := net.Dial("tcp", broker)
	if err != nil {
		return
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(k.t.Context())
	var both sync.WaitGroup
	carry := func(from, to net.Conn, down bool) {
		both.Go(func() {
			defer cancel()
			_ = k.carry(ctx, bufio.NewReaderSize(from, 64<<10), to, down)
			from.Close()
			to.Close()
		})
	}
	carry(client, server, false)
	carry(server, client, true)
	both.Wait()
}

func (k *natsLink) carry(ctx context.Context, from *bufio.Reader, to io.Writer, down bool) error {
	for {
		frame, err := readFrame(from)
		if err != nil {
			return err
		}
		copies, err := k.fate(ctx, frame, down)
		if err != nil {
			return err
		}
		for range copies {
			if _, err := to.Write(frame); err != nil {
				return err
			}
		}
	}
}

// fate tells how many copies of a frame arrive, once it may pass.
func (k *natsLink) fate(ctx context.Context, frame []byte, down bool) (int, error) {
	for {
		k.mu.Lock()
		held, moved := down && k.blind || !down && k.mute, k.moved
		copies := k.roll(frame, down)
		k.mu.Unlock()
		if !held {
			return copies, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// roll asks chance. What keeps a connection up is left alone.
func (k *natsLink) roll(frame []byte, down bool) int {
	if k.lose == 0 && k.double == 0 {
		return 1
	}
	delivered := down && (bytes.HasPrefix(frame, []byte("MSG ")) || bytes.HasPrefix(frame, []byte("HMSG ")))
	published := !down && (bytes.HasPrefix(frame, []byte("PUB curfew.")) || bytes.HasPrefix(frame, []byte("HPUB curfew.")))
	switch chance := k.rng.Float64(); {
	case delivered && chance < k.lose:
		return 0
	case (delivered || published) && chance > 1-k.double:
		return 2
	default:
		return 1
	}
}

var errFrame = errors.New("proof: a frame of another protocol")

// maxFrame is more than any message here.
const maxFrame = 8 << 20

// readFrame reads a line, and the payload that it announces. Both sides of the
// protocol announce it alike: by the last number of the line.
func readFrame(from *bufio.Reader) ([]byte, error) {
	line, err := from.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	verb, _, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "PUB", "HPUB", "MSG", "HMSG":
	default:
		return line, nil
	}
	fields := bytes.Fields(line)
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil || size < 0 || size > maxFrame {
		return nil, errFrame
	}
	frame := make([]byte, len(line)+size+2)
	copy(frame, line)
	_, err = io.ReadFull(from, frame[len(line):])
	return frame, err
}
