package natslog

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"curfew/events"
)

// A server whose account has no room left says so with a code that blames the
// event. It is the log's trouble: the same event is taken when there is room.
func TestFullAccountIsTheLogsTrouble(t *testing.T) {
	r := newRemote(t, nil)
	log := start(t, remoteConfig(r.server.ClientURL()))
	if err := log.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	limit := func(most int64) {
		t.Helper()
		limits := map[string]server.JetStreamAccountLimits{"": {
			MaxMemory: -1, MaxStore: most, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
		}}
		if err := r.server.GlobalAccount().UpdateJetStreamLimits(limits); err != nil {
			t.Fatal(err)
		}
	}
	limit(4 << 10)
	var refused events.Event
	var err error
	for range 100 {
		refused = events.NewEvent(events.Ended{
			Session: events.NewSessionID(), Issuer: "i", Sub: "s", Reason: events.Admin, At: time.Unix(1, 0).UTC(),
		}, "r", time.Unix(2, 0).UTC())
		if _, err = log.Append(t.Context(), refused, events.IfFirst()); err != nil {
			break
		}
	}
	if !errors.Is(err, events.ErrUnavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	limit(-1)
	if err := log.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), refused, events.IfFirst()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A server that takes no large messages would refuse a logout for ever.
func TestServerWithSmallMessagesIsRefused(t *testing.T) {
	r := newRemote(t, func(o *server.Options) { o.MaxPayload = minMessage - 1 })
	log := start(t, remoteConfig(r.server.ClientURL()))
	settings, wrong := errors.AsType[*SettingsError](log.Ready(t.Context()))
	if !wrong || len(settings.Wrong) != 1 || settings.Wrong[0].Name != "the server's max_payload" {
		t.Errorf("got %v", settings)
	}
}
