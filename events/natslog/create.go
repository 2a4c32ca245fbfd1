package natslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TakenError says that the log's stream cannot be made because streams of other
// names take its events already.
type TakenError struct {
	Stream string
	Others []string // sorted
}

// Error names all of the streams.
func (e *TakenError) Error() string {
	return fmt.Sprintf("natslog: stream %s: its subjects curfew.> belong to another stream already: %s: "+
		"name that one in CURFEW_NATS_STREAM if it is curfew's, or have it take other subjects", e.Stream, strings.Join(e.Others, ", "))
}

// codeOverlap is the server's for a stream with subjects of another. The client
// has no name for it.
const codeOverlap jetstream.ErrorCode = 10065

// create makes the stream, unless another replica is quicker.
func create(ctx context.Context, js jetstream.JetStream, c Config) (jetstream.Stream, error) {
	config := c.streamConfig()
	stream, err := js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return js.Stream(ctx, c.Stream)
	}
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || refusal.ErrorCode != codeOverlap {
		return stream, err
	}
	others, lookup := takers(ctx, js, config)
	if lookup != nil || len(others) == 0 {
		return nil, err
	}
	return nil, &TakenError{c.Stream, others}
}

// takers are the streams that take events of the log, but for its own.
func takers(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig) ([]string, error) {
	var others []string
	for _, subject := range config.Subjects {
		names := js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
		for name := range names.Name() {
			if name != config.Name && !slices.Contains(others, name) {
				others = append(others, name)
			}
		}
		if err := names.Err(); err != nil {
			return nil, err
		}
	}
	slices.Sort(others)
	return others, nil
}

// explained says what to look at where nobody answers for JetStream. Its leader
// may be about to be found, so that this is no fault.
func explained(err error) error {
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("%w (if this goes on: JetStream wants jetstream {} in the NATS server's configuration, and for the account)", err)
	}
	return err
}
