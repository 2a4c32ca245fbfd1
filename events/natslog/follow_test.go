package natslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

// reader follows a log and checks that each position comes once and in order.
type reader struct {
	at   chan events.Position
	over chan error
}

func read(ctx context.Context, log *Log, after events.Mark) *reader {
	r := &reader{at: make(chan events.Position, 100_000), over: make(chan error, 1)}
	last := after.At
	go func() {
		r.over <- log.Follow(ctx, after, func(b events.Batch) error {
			for _, record := range b.Records {
				if record.Position != last+1 {
					return fmt.Errorf("position %d after %d", record.Position, last)
				}
				last = record.Position
			}
			r.at <- last
			return nil
		})
	}()
	return r
}

func (r *reader) to(t *testing.T, position events.Position) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case at := <-r.at:
			if at >= position {
				return
			}
		case err := <-r.over:
			t.Fatal(err)
		case <-deadline:
			t.Fatalf("the follower does not come to %d", position)
		}
	}
}

// fill appends events that supersede none, so that every position holds one.
func fill(t *testing.T, log *Log, from, to events.Position) {
	t.Helper()
	for i := from; i <= to; i++ {
		at, err := log.Append(t.Context(), alive(fmt.Sprint("r", i)), events.IfFirst())
		if at != i || err != nil {
			t.Fatalf("append: %d, %v, want %d", at, err, i)
		}
	}
}

// TestConsumerLost takes the follower's consumer away, again and again.
func TestConsumerLost(t *testing.T) {
	log := open(t, embeddedConfig(t))
	_, js := adminOf(t, log.embedded.server)
	r := read(t.Context(), log, events.Mark{})
	for round := range events.Position(5) {
		was := sessionOf(t, log)
		fill(t, log, 20*round+1, 20*round+20)
		r.to(t, 20*round+20)
		deleteConsumers(t, js)
		<-was.over.Done()
	}
}

func sessionOf(t *testing.T, log *Log) *session {
	t.Helper()
	s, err := log.await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func deleteConsumers(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	stream, err := js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	names := stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Fatal(err)
		}
	}
}

// TestStreamRemade has a follower take no consumer on a stream that was made
// anew since it was checked.
func TestStreamRemade(t *testing.T) {
	log := open(t, embeddedConfig(t))
	s := sessionOf(t, log)
	_, js := adminOf(t, log.embedded.server)
	if err := js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is made anew", func() bool {
		_, err := js.CreateStream(t.Context(), log.config.streamConfig())
		return err == nil
	})
	var f follower
	if _, _, err := f.consumer(t.Context(), s); !errors.Is(err, errResume) {
		t.Errorf("got %v", err)
	}
}

// TestHandOutOfTurn has a batch end where the consumer's count does not go on,
// and what came before handed over.
func TestHandOutOfTurn(t *testing.T) {
	broken := errors.New("broken")
	record := func(at events.Position) item {
		return item{found: true, number: uint64(at), record: events.Record{Position: at}}
	}
	gap, bad, old := record(4), record(3), record(3)
	gap.number, bad.err, old.record.Position = 4, broken, 1
	for name, tt := range map[string]struct {
		third   item
		handed  int
		at      events.Position
		stopped error
	}{
		"in turn":            {record(3), 3, 3, nil},
		"a message missing":  {gap, 2, 2, errResume},
		"one that is broken": {bad, 2, 2, broken},
		"one already seen":   {old, 2, 2, nil},
	} {
		feed := &feed{items: make(chan item, 2)}
		feed.items <- record(2)
		feed.items <- tt.third
		var got []events.Record
		f := follower{apply: func(b events.Batch) error { got = append(got, b.Records...); return nil }}
		_, err := f.hand(feed, record(1), 1)
		if len(got) != tt.handed || f.mark.At != tt.at || !errors.Is(err, tt.stopped) {
			t.Errorf("%s: %d records to %d, %v; want %d to %d, %v", name, len(got), f.mark.At, err, tt.handed, tt.at, tt.stopped)
		}
	}
}

// load puts n events into the embedded log past it, which is quicker.
func load(t testing.TB, log *Log, n int, event func(name string) events.Event) {
	t.Helper()
	conn, _ := adminOf(t, log.embedded.server)
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(n+1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m, err := events.Encode(event(fmt.Sprint("r", i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsgAsync(natsMessage(m)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

// TestBatchSize has a batch hold whatever is there, up to a limit.
func TestBatchSize(t *testing.T) {
	feed := &feed{items: make(chan item, maxBatch+2)}
	for at := range uint64(maxBatch + 2) {
		feed.items <- item{found: true, number: at + 1, record: events.Record{Position: events.Position(at + 1)}, pending: maxBatch + 1 - events.Position(at)}
	}
	var sizes []int
	f := follower{apply: func(b events.Batch) error {
		sizes = append(sizes, len(b.Records))
		if b.Last != maxBatch+2 {
			t.Errorf("a batch of a log to %d", b.Last)
		}
		return nil
	}}
	for next := uint64(1); len(feed.items) > 0; {
		var err error
		if next, err = f.hand(feed, <-feed.items, next); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{maxBatch, 2}; !slices.Equal(sizes, want) {
		t.Errorf("batches of %d, want %d", sizes, want)
	}
}

// TestCatchUp has a follower come through more than is in flight at a time.
func TestCatchUp(t *testing.T) {
	log := open(t, embeddedConfig(t))
	const n = inFlight + inFlight/2
	load(t, log, n, alive)
	read(t.Context(), log, events.Mark{}).to(t, n)
}
