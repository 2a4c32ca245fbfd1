package natslog

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

// changed is the stream as it is created, with one thing changed.
func changed(change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
	config := remoteConfig("").streamConfig()
	change(&config)
	return config
}

// TestWrongSettings has each setting that the log rests on refused by its name.
func TestWrongSettings(t *testing.T) {
	want := remoteConfig("").streamConfig()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"subjects":             func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[1:] },
		"retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"storage":              func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 },
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge-- },
		"max_msgs":             func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 << 30 },
		"max_msg_size":         func(c *jetstream.StreamConfig) { c.MaxMsgSize = minMessage - 1 },
		"max_consumers":        func(c *jetstream.StreamConfig) { c.MaxConsumers = 100 },
		"max_bytes":            func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 40 },
		"discard":              func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew },
		"duplicate_window":     func(c *jetstream.StreamConfig) { c.Duplicates-- },
		"deny_delete":          func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":           func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"no_ack":               func(c *jetstream.StreamConfig) { c.NoAck = true },
		"sealed":               func(c *jetstream.StreamConfig) { c.Sealed = true },
		"persist_mode":         func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"mirror":               func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "x"} },
		"sources":              func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "x"}} },
		"subject_transform":    func(c *jetstream.StreamConfig) { c.SubjectTransform = &jetstream.SubjectTransformConfig{} },
		"republish":            func(c *jetstream.StreamConfig) { c.RePublish.HeadersOnly = true },
	} {
		wrong := wrongSettings(changed(change), want)
		if len(wrong) != 1 || wrong[0].Name != name || wrong[0].Have == wrong[0].Want {
			t.Errorf("%s: got %+v", name, wrong)
		}
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"nothing":          func(*jetstream.StreamConfig) {},
		"subjects' order":  func(c *jetstream.StreamConfig) { slices.Reverse(c.Subjects) },
		"large messages":   func(c *jetstream.StreamConfig) { c.MaxMsgSize = minMessage },
		"a longer age":     func(c *jetstream.StreamConfig) { c.MaxAge *= 2 },
		"no age":           func(c *jetstream.StreamConfig) { c.MaxAge = 0 },
		"a longer window":  func(c *jetstream.StreamConfig) { c.Duplicates *= 2 },
		"replicas":         func(c *jetstream.StreamConfig) { c.Replicas = 3 },
		"direct gets":      func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"compression":      func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression },
		"another metadata": func(c *jetstream.StreamConfig) { c.Metadata = nil },
	} {
		if wrong := wrongSettings(changed(change), want); len(wrong) != 0 {
			t.Errorf("%s: got %+v", name, wrong)
		}
	}
}

// TestHeard has an answer believed if it is that of a leader which most of the
// replicas answer.
func TestHeard(t *testing.T) {
	peers := func(active ...time.Duration) *jetstream.ClusterInfo {
		info := &jetstream.ClusterInfo{Leader: "a"}
		for _, a := range active {
			info.Replicas = append(info.Replicas, &jetstream.PeerInfo{Active: a})
		}
		return info
	}
	leaderless := peers(0, 0)
	leaderless.Leader = ""
	for name, tt := range map[string]struct {
		cluster *jetstream.ClusterInfo
		want    error
	}{
		"one server":            {nil, nil},
		"one replica":           {peers(), nil},
		"all answer":            {peers(time.Second, 0), nil},
		"one of two is silent":  {peers(time.Minute, 0), nil},
		"both are silent":       {peers(silence, silence), errUnheard},
		"the only other is":     {peers(silence), errUnheard},
		"two of four are":       {peers(0, silence, 0, silence), nil},
		"three of four are":     {peers(0, silence, silence, silence), errUnheard},
		"no leader, all answer": {leaderless, errLeaderless},
	} {
		if got := heard(tt.cluster); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// TestUnanswered has a stream be in doubt when nobody answers for it, and not when
// it refuses an event.
func TestUnanswered(t *testing.T) {
	for err, want := range map[error]bool{
		context.DeadlineExceeded:       true,
		nats.ErrNoResponders:           true,
		jetstream.ErrNoStreamResponse:  true,
		jetstream.ErrStreamNotFound:    true,
		&jetstream.APIError{Code: 503}: false,
		&jetstream.APIError{Code: 400}: false,
	} {
		if got := unanswered(classify(err)); got != want {
			t.Errorf("%v: got %t", err, got)
		}
	}
}

// TestExistingStream has a log take a stream that an operator made, and refuse
// one that is not fit, without a change to either.
func TestExistingStream(t *testing.T) {
	tests := map[string]struct {
		change func(*jetstream.StreamConfig)
		wrong  []string
	}{
		"fit": {func(c *jetstream.StreamConfig) {
			c.MaxAge, c.Metadata, c.AllowDirect, c.Description = 0, nil, true, "ours"
		}, nil},
		"unfit": {func(c *jetstream.StreamConfig) {
			c.MaxAge, c.DenyDelete, c.RePublish = time.Hour, false, nil
			c.Duplicates = time.Minute
		}, []string{"deny_delete", "duplicate_window", "max_age", "republish"}},
	}
	for name, tt := range tests {
		// Each has a server of its own: where a stream has just been deleted, one of
		// its name may not be made for a moment.
		r := newRemote(t, nil)
		_, js := r.admin()
		stream, err := js.CreateStream(t.Context(), changed(tt.change))
		if err != nil {
			t.Fatal(err)
		}
		before := stream.CachedInfo().Config
		log := start(t, remoteConfig(r.server.ClientURL()))
		var wrong []string
		if settings, ok := errors.AsType[*SettingsError](log.Ready(t.Context())); ok {
			for _, s := range settings.Wrong {
				wrong = append(wrong, s.Name)
			}
			for _, text := range []string{streamName, "max_age is 1h0m0s, want 0 or at least 13h0m0s", "republish is none"} {
				if !strings.Contains(settings.Error(), text) {
					t.Errorf("%s: %q is not in %q", name, text, settings)
				}
			}
		}
		if slices.Sort(wrong); !slices.Equal(wrong, tt.wrong) {
			t.Errorf("%s: wrong are %q, want %q", name, wrong, tt.wrong)
		}
		if _, err := log.Status(t.Context()); (err == nil) != (tt.wrong == nil) {
			t.Errorf("%s: Status: %v", name, err)
		}
		if info, err := stream.Info(t.Context()); err != nil || !sameConfig(info.Config, before) {
			t.Errorf("%s: the stream was changed to %+v, %v", name, info, err)
		}
		log.Close()
	}
}

func sameConfig(a, b jetstream.StreamConfig) bool {
	return a.MaxAge == b.MaxAge && a.DenyDelete == b.DenyDelete && a.Description == b.Description &&
		a.AllowDirect == b.AllowDirect && republishText(a) == republishText(b) && maps.Equal(a.Metadata, b.Metadata)
}

// TestRepublished has a plain subscriber get each stored end of a session, as
// it was stored, and nothing that was refused.
func TestRepublished(t *testing.T) {
	log := open(t, embeddedConfig(t))
	conn, _ := adminOf(t, log.embedded.server)
	subscription, err := conn.SubscribeSync(events.SubjectEnded + "*")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	id := events.NewSessionID()
	ended := func(reason events.Reason) events.Event {
		return events.NewEvent(events.Ended{Session: id, Issuer: "i", Sub: "s", Reason: reason, At: time.Unix(1, 0).UTC()}, "r", time.Unix(2, 0).UTC())
	}
	other := events.NewEvent(events.Alive{Replica: "a", Instance: "i", Lease: 1}, "r", time.Unix(1, 0))
	stored := ended(events.Idle)
	for i, e := range []events.Event{other, stored, ended(events.Expired), stored} {
		_, err := log.Append(t.Context(), e, events.IfFirst())
		if conflicting := i == 2; (err != nil) != conflicting {
			t.Errorf("append %d: %v", i, err)
		}
	}
	m, err := subscription.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if want := events.SubjectEnded + id.String(); m.Subject != want {
		t.Errorf("published on %s, want %s", m.Subject, want)
	}
	got, err := events.Decode(events.Message{Subject: stored.Fact.Subject(), Header: m.Header, Body: m.Data})
	if err != nil || got != stored {
		t.Errorf("got %+v, %v\nwant %+v", got, err, stored)
	}
	// What is published has passed through the stream: once it holds another
	// event, nothing is on its way any more.
	if _, err := log.Append(t.Context(), ended(events.Admin), events.Always()); err != nil {
		t.Fatal(err)
	}
	if m, err = subscription.NextMsg(10 * time.Second); err != nil || !strings.Contains(string(m.Data), string(events.Admin)) {
		t.Errorf("then got %+v, %v", m, err)
	}
}
