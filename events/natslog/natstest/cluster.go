package natstest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// patience bounds how long a node, or the cluster, may take to be ready.
const patience = 30 * time.Second

// Cluster is some NATS servers that know each other. Make one with Start. Its
// methods may be called from any goroutine, one at a time; what goes wrong is
// reported with t.Error.
type Cluster struct {
	t         testing.TB
	configure []func(*server.Options)

	mu    sync.Mutex
	nodes []*node
}

// node is one server, and what stands between it and the others.
type node struct {
	dir            string
	client, routes int    // ports
	to             []gate // to each other node, by its number
	server         *server.Server
}

// Start runs a cluster of n nodes on loopback until the test ends. A node speaks
// to another through a gate of its own, and learns of none beside them. With one
// node it is a server by itself.
func Start(t testing.TB, n int, configure ...func(*server.Options)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, configure: configure}
	dir, ports := t.TempDir(), NewPorts(t)
	for i := range n {
		c.nodes = append(c.nodes, &node{
			dir: filepath.Join(dir, fmt.Sprint("node", i)), client: ports.Next(), routes: ports.Next(), to: make([]gate, n),
		})
	}
	for i, from := range c.nodes {
		for j, to := range c.nodes {
			if i != j {
				from.to[j].open(t, to.routes)
			}
		}
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.Stop(i)
		}
	})
	for i := range c.nodes {
		c.start(i)
	}
	c.awaitFormed()
	return c
}

// options are those of one node. What it tells the others of itself leads
// nowhere: all routes are given.
func (c *Cluster) options(i int) *server.Options {
	n := c.nodes[i]
	o := &server.Options{
		ServerName: fmt.Sprint("node", i), Host: "127.0.0.1", Port: n.client,
		JetStream: true, StoreDir: n.dir, NoSigs: true,
	}
	if len(c.nodes) > 1 {
		o.Cluster = server.ClusterOpts{
			Name: "natstest", Host: "127.0.0.1", Port: n.routes,
			NoAdvertise: true, Advertise: "127.0.0.1:1", PoolSize: -1,
		}
		for j := range c.nodes {
			if j != i {
				o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: n.to[j].address()})
			}
		}
	}
	for _, configure := range c.configure {
		configure(o)
	}
	return o
}

func (c *Cluster) start(i int) {
	s, err := server.NewServer(c.options(i))
	if err != nil {
		c.t.Errorf("natstest: node %d: %v", i, err)
		return
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		c.t.Errorf("natstest: node %d takes no connections after %s", i, patience)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].server = s
}

// running is a node's server; nil while it is stopped.
func (c *Cluster) running(i int) *server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].server
}

// Size is the number of nodes, stopped ones included.
func (c *Cluster) Size() int { return len(c.nodes) }

// URL is where a node's clients connect, whether or not it runs.
func (c *Cluster) URL(node int) string {
	return fmt.Sprintf("nats://127.0.0.1:%d", c.nodes[node].client)
}

// URLs are all nodes' URLs, separated by commas.
func (c *Cluster) URLs() string {
	urls := make([]string, len(c.nodes))
	for i := range c.nodes {
		urls[i] = c.URL(i)
	}
	return strings.Join(urls, ",")
}

// Stop shuts a node down in good order and waits until it is gone. One that is
// stopped stays so.
func (c *Cluster) Stop(node int) {
	c.mu.Lock()
	s := c.nodes[node].server
	c.nodes[node].server = nil
	c.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// Restart starts a node again that was stopped, with what it held and where it
// was. It does not wait until the others have found it: see AwaitReady.
func (c *Cluster) Restart(node int) {
	c.Stop(node)
	c.start(node)
}

// Wipe stops every node, has each lose what it held, and starts them again.
func (c *Cluster) Wipe() {
	for i := range c.nodes {
		c.Stop(i)
	}
	for i, n := range c.nodes {
		if err := os.RemoveAll(n.dir); err != nil {
			c.t.Errorf("natstest: wipe: %v", err)
		}
		c.start(i)
	}
	c.awaitFormed()
}

// Cut keeps everything from passing between two nodes, either way, until Heal.
// What was on its way stays there, as in a network.
func (c *Cluster) Cut(a, b int) {
	c.nodes[a].to[b].set(true)
	c.nodes[b].to[a].set(true)
}

// Isolate cuts a node off from all others. Its clients still reach it.
func (c *Cluster) Isolate(node int) {
	for other := range c.nodes {
		if other != node {
			c.Cut(node, other)
		}
	}
}

// Heal ends every Cut.
func (c *Cluster) Heal() {
	for i := range c.nodes {
		for j := range c.nodes {
			if i != j {
				c.nodes[i].to[j].set(false)
			}
		}
	}
}

// Leader is the node that leads a stream of the global account, by its own word.
// For a moment two may say so, or none.
func (c *Cluster) Leader(stream string) (node int, found bool) {
	for i := range c.nodes {
		if s := c.running(i); s != nil && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return i, true
		}
	}
	return 0, false
}

var errNotReady = errors.New("natstest: the cluster has no leader, or a node is not current")

// Ready tells whether the running nodes are current and one of them leads them,
// so that streams can be made.
func (c *Cluster) Ready() error {
	if len(c.nodes) == 1 {
		return nil
	}
	led := false
	for i := range c.nodes {
		s := c.running(i)
		if s == nil {
			continue
		}
		if !s.JetStreamIsCurrent() {
			return errNotReady
		}
		led = led || s.JetStreamIsLeader()
	}
	if !led {
		return errNotReady
	}
	return nil
}

// formed is Ready for a new cluster, whose leader must know all nodes as well: one
// that it has never known has no place in a stream when it is away.
func (c *Cluster) formed() error {
	if err := c.Ready(); err != nil || len(c.nodes) == 1 {
		return err
	}
	for i := range c.nodes {
		if s := c.running(i); s != nil && len(s.JetStreamClusterPeers()) == len(c.nodes) {
			return nil
		}
	}
	return errUnknown
}

var errUnknown = errors.New("natstest: the cluster's leader does not know all nodes")

// AwaitReady waits for Ready.
func (c *Cluster) AwaitReady() { c.await(c.Ready) }

func (c *Cluster) awaitFormed() { c.await(c.formed) }

func (c *Cluster) await(state func() error) {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := state()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Errorf("%v after %s", err, patience)
			return
		}
		<-tick.C
	}
}
