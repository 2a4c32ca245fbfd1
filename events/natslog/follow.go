package natslog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

const (
	// inFlight is how many messages are on their way to a follower at most,
	// and inFlightBytes how much they may weigh.
	inFlight      = 5_000
	inFlightBytes = 32 << 20
	// maxBatch is how many records a batch holds at most.
	maxBatch = 10_000
	// heartbeat is how often the server must say that a silent consumer is
	// there. Two that are missed end the session.
	heartbeat = time.Second
	// pullExpiry is how long one request for messages stands.
	pullExpiry = 30 * time.Second
	// consumerLife is how long the server keeps a consumer nobody asks.
	consumerLife = 30 * time.Second
	// resumeWait lies between two consumers of one follower.
	resumeWait = 20 * time.Millisecond
)

// Follow implements events.Log. The zero Mark is the beginning of whichever log
// this is. A batch is whatever has come in meanwhile, one record or ten
// thousand; apply gets each as soon as it has returned from the last.
//
// The server sends a consumer's messages once, numbered. Anything out of turn
// ends the consumer, and a new one begins after the last record handed over: so
// none is skipped and none comes twice. A consumer lives and dies with the
// stream it was made on; that this is the right one is checked after it was
// made.
func (l *Log) Follow(ctx context.Context, after events.Mark, apply func(events.Batch) error) error {
	f := follower{mark: after, apply: apply}
	for {
		s, err := l.await(ctx)
		if err != nil {
			return err
		}
		err = f.run(ctx, s)
		if !errors.Is(err, errResume) {
			return err
		}
		if s.over.Err() == nil {
			l.config.Logger.Info("follow the log anew", "after", f.mark.At, "cause", err)
			l.doubt(s)
		}
		pause(ctx, resumeWait)
	}
}

// errResume is wrapped by what ends one consumer and not the follower.
var errResume = errors.New("natslog: follow")

// follower is one call of Follow.
type follower struct {
	mark  events.Mark
	heard time.Time       // the latest at which anything handed over was stored
	last  events.Position // how far the log is known to have gone
	apply func(events.Batch) error
}

// run follows with one consumer.
func (f *follower) run(ctx context.Context, s *session) error {
	feed := &feed{items: make(chan item, inFlight), broken: make(chan error, 1), done: make(chan struct{})}
	defer close(feed.done)
	consumer, status, err := f.consumer(ctx, s)
	if err != nil {
		return err
	}
	f.mark.Log, f.last = status.ID, status.Last
	// The leader's own word, all in one answer, is needed to go on without a
	// record: the consumer may be with a replica that is behind.
	if f.mark.At == status.Last || status.First > status.Last {
		f.mark.At = status.Last
		if err := f.apply(events.Batch{Log: f.mark.Log, Position: f.mark.At, Last: f.last}); err != nil {
			return err
		}
	}
	consuming, err := consumer.Consume(feed.take,
		jetstream.PullMaxMessagesWithBytesLimit(inFlight, inFlightBytes),
		jetstream.PullExpiry(pullExpiry),
		jetstream.PullHeartbeat(heartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { feed.fail(err) }))
	if err != nil {
		return fmt.Errorf("%w: %w", errResume, err)
	}
	defer consuming.Stop()
	for next := uint64(1); ; {
		select {
		case first := <-feed.items:
			if next, err = f.hand(feed, first, next); err != nil {
				return err
			}
		case err := <-feed.broken:
			return fmt.Errorf("%w: %w", errResume, err)
		case <-s.over.Done():
			return errResume
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// consumer makes a consumer that begins after the mark, and returns it with the
// log's status since. The error is a *LostError if the mark is no place in the
// log.
func (f *follower) consumer(ctx context.Context, s *session) (jetstream.Consumer, events.Status, error) {
	asking, cancel := s.bound(ctx, answerTimeout)
	defer cancel()
	consumer, err := s.js.CreateConsumer(asking, s.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(f.mark.At) + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: consumerLife,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return nil, events.Status{}, resume(ctx, err)
	}
	status, err := s.status(asking)
	switch {
	case err != nil:
		return nil, status, resume(ctx, err)
	case status.ID != s.id:
		return nil, status, fmt.Errorf("%w: the stream was made anew", errResume)
	case f.mark != (events.Mark{}) && f.mark.Log != status.ID, f.mark.At > status.Last:
		return nil, status, &events.LostError{Want: f.mark, Have: status}
	case f.heard.IsZero():
		return consumer, status, nil
	}
	// A log that was rolled back may have grown past the mark again before this
	// follower was back.
	since, err := s.firstSince(asking, f.heard)
	switch {
	case err != nil:
		return nil, status, resume(ctx, err)
	case since != 0 && since <= f.mark.At:
		return nil, status, &events.LostError{Want: f.mark, Have: status, Since: since}
	}
	return consumer, status, nil
}

// resume makes err one that another consumer may cure, unless ctx is over.
func resume(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", errResume, err)
}

// hand makes a batch of first and all that has come in behind it, hands it over
// and moves the mark. next is the number that the consumer must have given
// first; hand returns the one after the last.
func (f *follower) hand(feed *feed, first item, next uint64) (uint64, error) {
	batch := events.Batch{Log: f.mark.Log, Position: f.mark.At}
	var stop error
	for it, more := first, true; more; it, more = feed.another(len(batch.Records)) {
		if stop = it.wrong(next); stop != nil {
			break
		}
		next++
		if it.record.Position <= batch.Position {
			continue // a replica that is behind began earlier than it was asked to
		}
		if it.found {
			batch.Records = append(batch.Records, it.record)
		}
		batch.Position = it.record.Position
		if it.record.Stored.After(batch.Stored) {
			batch.Stored = it.record.Stored
		}
		f.last = max(f.last, batch.Position+it.pending)
	}
	if batch.Position > f.mark.At {
		batch.Last = f.last
		if err := f.apply(batch); err != nil {
			return next, err
		}
		f.mark.At = batch.Position
		if batch.Stored.After(f.heard) {
			f.heard = batch.Stored
		}
	}
	return next, stop
}

// feed is what a consumer's messages come through. They are decoded on the
// connection's side of it, while the last batch is being applied on the other.
type feed struct {
	items  chan item
	broken chan error
	done   chan struct{} // closed when nobody takes items any more
}

// item is one message.
type item struct {
	record  events.Record // only its Position, unless found
	found   bool          // false for a kind that may be skipped
	number  uint64        // the consumer's count
	pending events.Position
	err     error
}

// wrong says what keeps an item from being handed over, if anything does.
func (it *item) wrong(next uint64) error {
	if it.number != next {
		return fmt.Errorf("%w: message %d came in the place of %d", errResume, it.number, next)
	}
	return it.err
}

func (f *feed) take(message jetstream.Msg) {
	meta, err := message.Metadata()
	if err != nil {
		f.fail(err)
		return
	}
	it := item{number: meta.Sequence.Consumer, pending: events.Position(meta.NumPending)}
	it.record.Position = events.Position(meta.Sequence.Stream)
	it.record.Stored = meta.Timestamp
	it.record.Event, it.found, err = decode(message)
	if err != nil {
		it.err = fmt.Errorf("natslog: follow: %w", &events.UnreadableError{At: it.record.Position, Err: err})
	}
	select {
	case f.items <- it:
	case <-f.done:
	}
}

// decode finds no event in a message of a kind that may be skipped.
func decode(message jetstream.Msg) (event events.Event, found bool, err error) {
	event, err = events.Decode(events.Message{Subject: message.Subject(), Header: message.Headers(), Body: message.Data()})
	if unknown, ok := errors.AsType[*events.UnknownTypeError](err); ok && unknown.Additive {
		return events.Event{}, false, nil
	}
	return event, err == nil, err
}

// fail says once that the consumer is not to be trusted any more.
func (f *feed) fail(err error) {
	select {
	case f.broken <- err:
	default:
	}
}

// another returns the next item if it is there already and the batch has room.
func (f *feed) another(have int) (item, bool) {
	if have >= maxBatch {
		return item{}, false
	}
	select {
	case it := <-f.items:
		return it, true
	default:
		return item{}, false
	}
}
