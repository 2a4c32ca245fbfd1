package natslog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"curfew/events"
)

// appliedMessage is what a replica says outside the log. Its word is not kept:
// the heartbeats say the same, later.
type appliedMessage struct {
	Replica  string          `json:"replica"`
	Instance string          `json:"instance"`
	Position events.Position `json:"position"`
	// Log is the log in which Position is a place.
	Log events.LogID `json:"log,omitzero"`
}

// Announce tells the other replicas how far a process has applied the log. It
// does not wait until anybody has heard. It wraps events.ErrUnavailable while
// there is no connection.
func (l *Log) Announce(instance string, applied events.Mark) error {
	s, err := l.now()
	if err != nil {
		return fmt.Errorf("natslog: announce: %w", err)
	}
	body, err := json.Marshal(appliedMessage{l.config.Name, instance, applied.At, applied.Log})
	if err != nil {
		return fmt.Errorf("natslog: announce: %w", err)
	}
	if err := s.conn.Publish(events.SubjectApplied+l.config.Name, body); err != nil {
		return fmt.Errorf("natslog: announce: %w: %w", events.ErrUnavailable, err)
	}
	return nil
}

// Listen hears what the replicas announce from now on, this one included, until
// ctx ends, whose error it returns. What is said while the connection is down
// is missed.
func (l *Log) Listen(ctx context.Context, hear func(instance string, applied events.Mark)) error {
	s, err := l.await(ctx)
	if err != nil {
		return err
	}
	subscription, err := s.conn.SubscribeSync(events.SubjectApplied + "*")
	if err != nil {
		return fmt.Errorf("natslog: listen: %w", err)
	}
	// A connection that is gone has taken the subscription with it.
	defer func() { _ = subscription.Unsubscribe() }()
	for ctx.Err() == nil {
		message, err := subscription.NextMsgWithContext(ctx)
		switch {
		case err == nil:
			if said, ok := parseApplied(message); ok {
				hear(said.Instance, events.Mark{Log: said.Log, At: said.Position})
			}
		case !subscription.IsValid():
			return fmt.Errorf("natslog: listen: %w", err)
		}
	}
	return ctx.Err()
}

// parseApplied makes nothing of what is not in form: anybody may publish there.
func parseApplied(message *nats.Msg) (appliedMessage, bool) {
	var said appliedMessage
	err := json.Unmarshal(message.Data, &said)
	return said, err == nil && said.Instance != ""
}
