package natslog

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"curfew/events"
)

// TestTooLargeIsSaidOfTheEvent: nothing is wrong with the log then, and to try
// again does not help.
func TestTooLargeIsSaidOfTheEvent(t *testing.T) {
	err := classify(nats.ErrMaxPayload)
	if !errors.Is(err, events.ErrTooLarge) || !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
