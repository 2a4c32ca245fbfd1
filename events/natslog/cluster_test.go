package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
	"curfew/events/logtest"
	"curfew/events/natslog/natstest"
)

func replicated(urls string) Config {
	config := remoteConfig(urls)
	config.Replicas = 3
	return config
}

// adminAt is another program at a cluster.
func adminAt(t testing.TB, urls string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// leaderOf waits until a node leads the stream.
func leaderOf(t *testing.T, c *natstest.Cluster) int {
	t.Helper()
	var leader int
	eventually(t, "a node leads the stream", func() (led bool) {
		leader, led = c.Leader(streamName)
		return led
	})
	return leader
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so: %s", what)
		}
	}
}

// TestContractReplicated is the contract on a stream of three replicas. Each
// test has a stream of another name, since a name's folder may still be on its
// way out.
func TestContractReplicated(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	js := adminAt(t, c.URLs())
	streams := 0
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		config := replicated(c.URLs())
		streams++
		config.Stream = fmt.Sprint(streamName, streams)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := js.DeleteStream(ctx, config.Stream); err != nil {
				t.Error(err)
			}
		})
		return logtest.Harness{Log: open(t, config), Put: func(m events.Message) { put(t, js, m) }, Lags: true}
	})
}

// TestLeaderStopped has the stream's leader go, twice, under appends.
func TestLeaderStopped(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	one, two := open(t, replicated(c.URLs())), open(t, replicated(c.URLs()))
	before := statusOfLog(t, one)
	w, witness := begin(t, one, two), watch(t, two)
	for range 2 {
		w.more(30)
		leader := leaderOf(t, c)
		c.Stop(leader)
		w.more(30)
		c.Restart(leader)
		c.AwaitReady()
	}
	w.finish(witness)
	if after := statusOfLog(t, one); after.ID != before.ID || after.Last < w.acknowledged() {
		t.Errorf("status is %+v, was %+v", after, before)
	}
}

func statusOfLog(t *testing.T, log *Log) events.Status {
	t.Helper()
	var status events.Status
	eventually(t, "the log tells its status", func() bool {
		var err error
		status, err = log.Status(t.Context())
		return err == nil
	})
	return status
}

// TestRollingRestart has the nodes restarted one after the other, each as soon
// as the one before is back.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	one, two := open(t, replicated(c.URLs())), open(t, replicated(c.URLs()))
	w, witness := begin(t, one, two), watch(t, two)
	for node := range c.Size() {
		w.more(30)
		c.Restart(node)
		c.AwaitReady()
	}
	w.more(30)
	w.finish(witness)
}

// TestNodeCutOff has a node cut off from the others. Who knows only that node can
// append nothing and is told nothing old; who knows the others too goes on with
// them.
func TestNodeCutOff(t *testing.T) {
	for name, tt := range map[string]struct {
		after int // the stream's leader, in the order of nodes
		long  time.Duration
	}{
		"leader":   {0, 12 * time.Second}, // the others have another by then
		"follower": {1, 13 * time.Second}, // it says by then how the stream was, leader or not
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := natstest.Start(t, 3)
			free := open(t, replicated(c.URLs()))
			alone := (leaderOf(t, c) + tt.after) % 3
			bound := open(t, replicated(c.URL(alone)))
			connectTo(t, free, c.URL(alone)) // the hard case
			w, witness := begin(t, free), watch(t, bound)
			w.more(30)
			c.Isolate(alone)
			minority(t, bound, w, tt.long)
			w.more(30)
			c.Heal()
			healed := alive("healed")
			eventually(t, "the node takes appends again", func() bool {
				_, err := bound.Append(t.Context(), healed, events.IfFirst())
				return err == nil
			})
			w.more(30)
			w.finish(witness)
		})
	}
}

// connectTo has a log that knows many servers be connected with one of them.
func connectTo(t *testing.T, log *Log, url string) {
	t.Helper()
	eventually(t, "connected with "+url, func() bool {
		if log.conn.IsConnected() && log.conn.ConnectedUrl() == url {
			return true
		}
		_ = log.conn.ForceReconnect() // which goes on to the next
		return false
	})
	await(t, log, true)
}

// minority asks a log, whose one server is cut off, all that can be asked, while
// others append.
func minority(t *testing.T, log *Log, w *work, long time.Duration) {
	t.Helper()
	cut := time.Now()
	for i := 0; time.Since(cut) < long; i++ {
		known := w.acknowledged()
		status, err := log.Status(t.Context())
		if err == nil && status.Last < known || err != nil && !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("after %s: status to %d of %d, %v", time.Since(cut), status.Last, known, err)
		}
		if at, err := log.Append(t.Context(), alive(fmt.Sprint("minority", i)), events.IfFirst()); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("after %s: append: %d, %v", time.Since(cut), at, err)
		}
		pause(t.Context(), 20*time.Millisecond)
	}
}

// TestMajorityGone has two of three nodes stopped, and back.
func TestMajorityGone(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	log := open(t, replicated(c.URLs()))
	w, witness := begin(t, log), watch(t, log)
	w.more(30)
	left := leaderOf(t, c)
	c.Stop((left + 1) % 3)
	c.Stop((left + 2) % 3)
	for range 3 {
		if at, err := log.Append(t.Context(), alive("alone"), events.IfFirst()); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("Append: %d, %v", at, err)
		}
	}
	c.Restart((left + 1) % 3)
	w.more(30)
	c.Restart((left + 2) % 3)
	c.AwaitReady()
	w.more(30)
	w.finish(witness)
}

// TestCreatedWithoutOne has a log start while a node is away: the stream is made
// all the same, with a place kept for that node.
func TestCreatedWithoutOne(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	c.Stop(2)
	c.AwaitReady()
	log := open(t, replicated(c.URLs()))
	w, witness := begin(t, log), watch(t, log)
	w.more(30)
	c.Restart(2)
	c.AwaitReady()
	js := adminAt(t, c.URL(0))
	eventually(t, "the third node has it all", func() bool {
		stream, err := js.Stream(t.Context(), streamName)
		if err != nil {
			return false
		}
		info := stream.CachedInfo()
		current := 0
		for _, r := range info.Cluster.Replicas {
			if r.Current && !r.Offline && r.Lag == 0 {
				current++
			}
		}
		return info.Config.Replicas == 3 && current == 2
	})
	c.Stop(leaderOf(t, c)) // so that the third is needed
	w.more(30)
	w.finish(witness)
}

// TestReplicasAreTheOperators has a stream of one replica taken for a log of
// three, and the other way round, and neither changed.
func TestReplicasAreTheOperators(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	for created, asked := range map[int]int{1: 3, 3: 1} {
		config := remoteConfig(c.URLs())
		config.Stream = fmt.Sprint(streamName, created)
		config.Replicas = created
		open(t, config).Close()
		config.Replicas = asked
		log := open(t, config)
		if _, err := log.Append(t.Context(), alive("a"), events.Always()); err != nil {
			t.Errorf("%d for %d: %v", created, asked, err)
		}
		js := adminAt(t, c.URLs())
		stream, err := js.Stream(t.Context(), config.Stream)
		if err != nil || stream.CachedInfo().Config.Replicas != created {
			t.Errorf("%d for %d: %+v, %v", created, asked, stream, err)
		}
		if err := js.DeleteStream(t.Context(), config.Stream); err != nil {
			t.Fatal(err)
		}
		log.Close()
	}
}

// TestClusterWiped has all nodes lose what they held: the log is another, and a
// follower is told.
func TestClusterWiped(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, 3)
	log := open(t, replicated(c.URLs()))
	before := statusOfLog(t, log)
	witness := watch(t, log)
	fill(t, log, 1, 10)
	witness.to(t, 10)
	c.Wipe()
	select {
	case err := <-witness.over:
		lost, ok := errors.AsType[*events.LostError](err)
		if !ok || lost.Want != (events.Mark{Log: before.ID, At: 10}) || lost.Have.ID == before.ID || !strings.Contains(err.Error(), "not "+before.ID.String()) {
			t.Errorf("got %v", err)
		}
	case <-time.After(patience):
		t.Error("the follower was not told")
	}
}
