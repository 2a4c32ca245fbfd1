package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events/natslog/natstest"
)

func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
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

func publish(t *testing.T, js jetstream.JetStream, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := js.Publish(ctx, "a.b", nil)
	return err
}

// within tries until it succeeds.
func within(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// A node that is cut off must not find the others by another way.
func TestClusterIsCutAndHeals(t *testing.T) {
	c := natstest.Start(t, 3)
	js := connect(t, c.URLs())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"a.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	leader, found := c.Leader("S")
	if !found {
		t.Fatal("nobody leads the stream")
	}
	alone, other := connect(t, c.URL(leader)), connect(t, c.URL((leader+1)%3))
	c.Isolate(leader)
	within(t, "the majority goes on", func() error { return publish(t, other, time.Second) })
	if err := publish(t, alone, 2*time.Second); err == nil {
		t.Error("a node that is cut off took a message")
	}
	c.Heal()
	within(t, "the node is back", func() error { return publish(t, alone, time.Second) })
}

func TestNodesComeBackWithWhatTheyHeld(t *testing.T) {
	c := natstest.Start(t, 3)
	js := connect(t, c.URLs())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"a.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	for node := range c.Size() {
		within(t, "published", func() error { return publish(t, js, time.Second) })
		c.Restart(node)
		c.AwaitReady()
	}
	within(t, "all is there", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "S")
		if err == nil && s.CachedInfo().State.Msgs < 3 {
			t.Errorf("%d messages are left, want three", s.CachedInfo().State.Msgs)
		}
		return err
	})
	c.Wipe()
	within(t, "all is gone", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		names := js.StreamNames(ctx)
		for name := range names.Name() {
			t.Errorf("stream %s outlived it", name)
		}
		return names.Err()
	})
}

// Two nodes that are cut apart must not find each other by what they, or the
// third, tell of themselves, and not when one of them looks anew after a start.
// Neither does a node pass on what another said.
func TestNothingPassesACut(t *testing.T) {
	c := natstest.Start(t, 3)
	hear := func(node int) *nats.Subscription {
		conn, err := nats.Connect(c.URL(node), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		sub, err := conn.SubscribeSync("said.*")
		if err != nil {
			t.Fatal(err)
		}
		if servers := conn.Servers(); len(servers) != 1 {
			t.Errorf("a client of node %d has learnt of %q", node, servers)
		}
		return sub
	}
	ears := []*nats.Subscription{hear(0), hear(1), hear(2)}
	passes := func(from, to int) bool {
		conn, err := nats.Connect(c.URL(from))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		subject := "said." + nats.NewInbox()[7:]
		if err := errors.Join(conn.Publish(subject, nil), conn.Flush()); err != nil {
			t.Fatal(err)
		}
		for { // it has heard others before
			m, err := ears[to].NextMsg(100 * time.Millisecond)
			if err != nil || m.Subject == subject {
				return err == nil
			}
		}
	}
	both := func(a, b int) func() error {
		return func() error {
			if !passes(a, b) || !passes(b, a) {
				return fmt.Errorf("between %d and %d something is lost", a, b)
			}
			return nil
		}
	}
	within(t, "all hear each other", both(0, 1))
	for _, restarted := range []bool{false, true} {
		c.Cut(0, 1)
		if restarted {
			c.Restart(1)
			within(t, "the third is found again", both(1, 2))
		}
		for range 10 { // routes are looked for once a second
			if passes(0, 1) || passes(1, 0) {
				t.Fatalf("restarted %t: something passed", restarted)
			}
			if err := both(0, 2)(); err != nil {
				t.Errorf("restarted %t: %v", restarted, err)
			}
		}
		c.Heal()
		within(t, "all hear each other again", both(0, 1))
	}
}
