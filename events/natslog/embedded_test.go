package natslog

import (
	"context"
	"errors"
	"testing"
	"time"

	"curfew/events"
)

// TestEmbeddedLogKeepsEventsForLonger has an operator let sessions live longer,
// and then no longer: the log that is there goes on, and never forgets sooner.
func TestEmbeddedLogKeepsEventsForLonger(t *testing.T) {
	config := embeddedConfig(t)
	var before events.Status
	for i, step := range []struct{ asked, kept time.Duration }{
		{2 * time.Hour, 2 * time.Hour}, {13 * time.Hour, 13 * time.Hour}, {time.Hour, 13 * time.Hour},
	} {
		age := step.asked
		config.MaxAge = age
		log, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- log.Run(ctx) }()
		if err := log.Ready(t.Context()); err != nil {
			t.Fatalf("%s: %v", age, err)
		}
		if i == 0 {
			if _, err := log.Append(t.Context(), alive("a"), events.Always()); err != nil {
				t.Fatal(err)
			}
		}
		status, err := log.Status(t.Context())
		if err != nil || i > 0 && status != before {
			t.Errorf("%s: the log is %+v (%v), and was %+v", age, status, err, before)
		}
		before = status
		s, err := log.await(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stream, err := s.js.Stream(t.Context(), streamName)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().Config.MaxAge; got != step.kept {
			t.Errorf("%s: events are kept for %s, want %s", age, got, step.kept)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Run returned %v", age, err)
		}
		log.Close()
	}
}
