package natslog

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

// FirstSince asks the log for the position of the oldest event that it took after
// a time, by its own clock; zero if there is none, as far as the replica of the
// stream knows that answers, which may be behind. An event that stands where
// somebody has been already, and is younger than all that was there then, says
// that the log has lost what was there, and was written on.
func (l *Log) FirstSince(ctx context.Context, after time.Time) (events.Position, error) {
	s, err := l.await(ctx)
	if err != nil {
		return 0, err
	}
	first, err := s.firstSince(ctx, after)
	if err != nil {
		l.doubt(s)
		return 0, fmt.Errorf("natslog: first since: %w: %w", events.ErrUnavailable, err)
	}
	return first, nil
}

func (s *session) firstSince(ctx context.Context, after time.Time) (events.Position, error) {
	ctx, cancel := s.bound(ctx, answerTimeout)
	defer cancel()
	start := after.Add(time.Nanosecond)
	consumer, err := s.js.CreateConsumer(ctx, s.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &start,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: time.Second, // nobody will ask it for a message
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return 0, err
	}
	info := consumer.CachedInfo()
	if info.NumPending == 0 {
		return 0, nil
	}
	return events.Position(info.Delivered.Stream) + 1, nil
}
