package main

import (
	"context"
	"slices"
	"sync"

	"curfew/cmd/curfew/demo"
	"curfew/events"
	"curfew/events/natslog"
)

// feedLength is how many facts the demo's page shows.
const feedLength = 8

// feed is what the log took last, newest first. Heartbeats are left out.
type feed struct {
	mu   sync.Mutex
	last []demo.Event
}

// take keeps what a person would want to see of a batch.
func (f *feed) take(batch events.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, record := range batch.Records {
		if session, shown := shownOf(record.Fact); shown {
			f.last = slices.Insert(f.last, 0, demo.Event{At: record.Stored, Kind: string(record.Fact.Type()), Session: session})
		}
	}
	f.last = f.last[:min(len(f.last), feedLength)]
	return nil
}

func shownOf(fact events.Fact) (session string, shown bool) {
	switch fact := fact.(type) {
	case events.Started:
		return fact.Session.String(), true
	case events.Refreshed:
		return fact.Session.String(), true
	case events.Ended:
		return fact.Session.String(), true
	case events.LogoutReceived:
		return "", true
	default:
		return "", false
	}
}

func (f *feed) events() []demo.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.last)
}

// watch follows the demo's log until ctx ends. It asks of the stream what the
// replicas ask, since whoever comes first makes it.
func (s *stage) watch(ctx context.Context, f *feed, start func(func() error)) error {
	log, err := natslog.New(natslog.Config{
		URL: s.natsURL(), Stream: "CURFEW", MaxAge: s.apps[0].config.lifetime + afterlife, Name: "demo-feed", Logger: s.logger,
	})
	if err != nil {
		return err
	}
	start(func() error { return log.Run(ctx) })
	start(func() error {
		defer log.Close()
		return log.Follow(ctx, events.Mark{}, f.take)
	})
	return nil
}
