package natslog

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// TestTaken has a stream of another name that takes the log's events be a fault
// that no waiting cures, and has it named.
func TestTaken(t *testing.T) {
	for name, c := range map[string]struct {
		others map[string]string // subjects by the stream's name
		want   []string          // nil: no fault
	}{
		"none":          {nil, nil},
		"unrelated":     {map[string]string{"OTHER": "other.>"}, nil},
		"one subject":   {map[string]string{"OTHER": "curfew.session.>"}, []string{"OTHER"}},
		"part of one":   {map[string]string{"OTHER": "curfew.session.*.ended"}, []string{"OTHER"}},
		"more than all": {map[string]string{"ALL": ">"}, []string{"ALL"}},
		"two":           {map[string]string{"B": "curfew.logout.>", "A": "curfew.replica.>"}, []string{"A", "B"}},
	} {
		r := newRemote(t, nil)
		_, js := r.admin()
		for other, subject := range c.others {
			// A stream of everything can be had without acknowledgements only.
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: other, Subjects: []string{subject}, NoAck: true}); err != nil {
				t.Fatal(err)
			}
		}
		log := start(t, remoteConfig(r.server.ClientURL()))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := log.Ready(ctx)
		cancel()
		taken, ok := errors.AsType[*TakenError](err)
		if ok != (c.want != nil) || !ok && err != nil {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
			continue
		}
		if ok && (taken.Stream != streamName || !slices.Equal(taken.Others, c.want)) {
			t.Errorf("%s: got %+v, want %q", name, taken, c.want)
		}
		if _, err := js.Stream(t.Context(), streamName); errors.Is(err, jetstream.ErrStreamNotFound) != ok {
			t.Errorf("%s: the log's stream: %v", name, err)
		}
	}
	text := (&TakenError{streamName, []string{"A", "B"}}).Error()
	if !strings.Contains(text, "A, B") || !strings.Contains(text, "CURFEW_NATS_STREAM") {
		t.Errorf("got %q", text)
	}
}

// said hands on what is logged.
type said chan string

// Enabled is for everything.
func (said) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs forgets them.
func (s said) WithAttrs([]slog.Attr) slog.Handler { return s }

// WithGroup forgets it.
func (s said) WithGroup(string) slog.Handler { return s }

// Handle hands on the message and its attributes, if there is room.
func (s said) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	select {
	case s <- text:
	default:
	}
	return nil
}

// TestWithoutJetStream has a log wait for a server that has no JetStream, since
// that may be about to change, and say what to change.
func TestWithoutJetStream(t *testing.T) {
	r := newRemote(t, func(o *server.Options) { o.JetStream = false })
	heard := make(said, 100)
	config := remoteConfig(r.server.ClientURL())
	config.Logger = slog.New(heard)
	log := start(t, config)
	deadline := time.After(20 * time.Second)
	for text := ""; !strings.HasPrefix(text, "log unavailable"); {
		select {
		case text = <-heard:
		case <-deadline:
			t.Fatal("nothing was said")
		}
		if strings.HasPrefix(text, "log unavailable") && !strings.Contains(text, "JetStream wants jetstream {}") {
			t.Errorf("got %q", text)
		}
	}
	r.stop()
	r.options.JetStream = true
	r.start()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := log.Ready(ctx); err != nil {
		t.Errorf("once there is JetStream: %v", err)
	}
}
