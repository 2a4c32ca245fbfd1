package natslog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"curfew/events"
)

// BenchmarkAppend measures one append after another, each answered.
func BenchmarkAppend(b *testing.B) {
	log := open(b, embeddedConfig(b))
	for b.Loop() {
		if _, err := log.Append(b.Context(), alive("a"), events.Always()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendToApply measures from the call of Append to the follower's
// batch, which a logout takes to be applied; and what of it is the way from the
// answer to the batch.
func BenchmarkAppendToApply(b *testing.B) {
	log := open(b, embeddedConfig(b))
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	applied := make(chan time.Time, 1)
	go func() {
		// It ends with the benchmark.
		_ = log.Follow(ctx, events.Mark{}, func(batch events.Batch) error {
			if len(batch.Records) > 0 {
				applied <- time.Now()
			}
			return nil
		})
	}()
	var after time.Duration
	for b.Loop() {
		if _, err := log.Append(b.Context(), alive("a"), events.Always()); err != nil {
			b.Fatal(err)
		}
		answered := time.Now()
		after += (<-applied).Sub(answered)
	}
	b.ReportMetric(float64(after.Microseconds())/float64(b.N), "µs-after-answer")
}

// BenchmarkFollow measures how fast a follower comes through a log it has not
// seen: sessions with 1.5 KB sealed.
func BenchmarkFollow(b *testing.B) {
	const n = 20_000
	log := open(b, embeddedConfig(b))
	at := time.Unix(1, 0)
	sealed := events.Sealed(strings.Repeat("gAAAAABh", 190))
	load(b, log, n, func(string) events.Event {
		return events.NewEvent(events.Started{
			Session: events.NewSessionID(), Issuer: "https://op.example", Sub: "sub", Sid: "sid", Secret: events.SecretHash{1},
			BegunAt: at, At: at, Expires: at, Sealed: sealed,
		}, "r", at)
	})
	enough := errors.New("enough")
	for b.Loop() {
		err := log.Follow(b.Context(), events.Mark{}, func(batch events.Batch) error {
			if batch.Position == n {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
