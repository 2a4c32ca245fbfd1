package store

import (
	"bytes"
	"os"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// crowd is many sessions as the log brings them, with tokens of the size that
// real OPs make them.
func crowd(b *testing.B, ring *Keyring, n int) []events.Record {
	b.Helper()
	sealed, err := ring.Seal(bytes.Repeat([]byte{'x'}, 1000))
	if err != nil {
		b.Fatal(err)
	}
	records := make([]events.Record, n)
	for i := range records {
		id := events.NewSessionID()
		records[i] = events.Record{
			Event: events.Event{Fact: events.Started{
				Session: id, Issuer: issuer, Sub: id.String(), Sid: id.String(),
				Secret: events.SecretHash(bytes.Repeat(id[:], 2)), At: pastTime, BegunAt: pastTime,
				Expires: pastTime.Add(12 * time.Hour), Sealed: sealed,
			}},
			Position: events.Position(i + 1),
		}
	}
	return records
}

func BenchmarkCommit(b *testing.B) {
	const size = 10000
	ring := newRing(b, keyA)
	for b.Loop() {
		b.StopTimer()
		records := crowd(b, ring, size)
		h := newHouse(b)
		s := h.open()
		made := sessions.NewRegistry(s.Hasher(), sessions.Policy{}).Apply(events.Batch{Log: pastLog, Records: records, Position: size})
		b.StartTimer()
		if err := s.Commit(made, events.Mark{Log: pastLog, At: size}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		h.close(s)
		b.StartTimer()
	}
	b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func full(b *testing.B, n int) *house {
	b.Helper()
	h := newHouse(b)
	s := h.open()
	records := crowd(b, h.config.Ring, n)
	registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
	for at := 0; at < n; at += 10000 {
		to := min(at+10000, n)
		mark := events.Mark{Log: pastLog, At: events.Position(to)}
		if err := s.Commit(registry.Apply(events.Batch{Log: pastLog, Records: records[at:to], Position: mark.At}), mark); err != nil {
			b.Fatal(err)
		}
	}
	h.close(s)
	return h
}

func BenchmarkLoad(b *testing.B) {
	const size = 100_000
	h := full(b, size)
	s := h.open()
	for b.Loop() {
		registry := sessions.NewRegistry(s.Hasher(), sessions.Policy{})
		if err := s.Load(registry.Load); err != nil || registry.Len() != size {
			b.Fatal(registry.Len(), err)
		}
	}
	b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkOpen(b *testing.B) {
	const size = 100_000
	h := full(b, size)
	file, err := os.Open(h.config.Path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	b.Run("pages", func(b *testing.B) {
		for b.Loop() {
			if err := checkPages(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("clean", func(b *testing.B) {
		for b.Loop() {
			h.close(h.open())
		}
	})
	b.Run("in doubt", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			h.crash(h.open())
			b.StartTimer()
			h.config.boot = func() string { return "" }
			h.close(h.open())
		}
	})
}

func BenchmarkPrivate(b *testing.B) {
	h, p := filledHouse(b, 100)
	s := h.open()
	for b.Loop() {
		if _, err := s.Private(p.started[0]); err != nil {
			b.Fatal(err)
		}
	}
}
