package proof

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

// witness reads the stream as any subscriber may, by a way of its own to the
// brokers that the nemesis leaves alone, and keeps what ends sessions. The last
// of these on a subject is never superseded, so it misses none.
type witness struct {
	history *history
	js      jetstream.JetStream

	mu   sync.Mutex
	told []told
}

func newWitness(t *testing.T, h *history, urls string) *witness {
	t.Helper()
	conn, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	w := &witness{history: h}
	if w.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	return w
}

// read takes in all that ends sessions in the stream as it stands now. What was
// read before is known by its place.
func (w *witness) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	stream, err := w.js.Stream(ctx, "CURFEW")
	if err != nil {
		return err
	}
	created := stream.CachedInfo().Created
	from := uint64(1)
	for _, t := range w.told {
		if t.log.Equal(created) {
			from = max(from, t.seq+1)
		}
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"curfew.session.*.ended", "curfew.logout.>"},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return err
	}
	for {
		// A fetch that does not wait waits for ever where its answer is lost.
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			return err
		}
		n := 0
		for message := range batch.Messages() {
			n++
			if err := w.note(message, created); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// readWell is read when all is well, and has to succeed: an answer of a broker that
// has just come up may still be lost, and is not sent again.
func (w *witness) readWell(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if err = w.read(ctx); err == nil {
			return nil
		}
		pause(ctx, time.Second)
	}
	return err
}

func (w *witness) note(message jetstream.Msg, created time.Time) error {
	meta, err := message.Metadata()
	if err != nil {
		return err
	}
	event, err := events.Decode(events.Message{Subject: message.Subject(), Header: message.Headers(), Body: message.Data()})
	if err != nil {
		return err
	}
	w.told = append(w.told, told{
		log: created, seq: meta.Sequence.Stream, subject: message.Subject(), at: w.history.at(meta.Timestamp), event: event,
	})
	return nil
}

// log is what has been read.
func (w *witness) log() []told {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]told{}, w.told...)
}
