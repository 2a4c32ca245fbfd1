package natslog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

// Setting is one setting of a stream that is not as it must be.
type Setting struct{ Name, Have, Want string }

// SettingsError says that a stream exists and is not fit to hold the log. It is
// never changed from here: what it holds may be somebody's.
type SettingsError struct {
	Stream string
	Wrong  []Setting
}

// Error names every wrong setting.
func (e *SettingsError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "natslog: stream %s is not fit for the log:", e.Stream)
	for i, s := range e.Wrong {
		if i > 0 {
			text.WriteByte(';')
		}
		fmt.Fprintf(&text, " %s is %s, want %s", s.Name, s.Have, s.Want)
	}
	return text.String()
}

// settingMaxAge is the one setting that the embedded stream may be helped with.
const settingMaxAge = "max_age"

// identityKey is the member of the stream's metadata that holds a random id.
// The creation time alone could be given twice, by a backup that is restored.
const identityKey = "curfew-log"

// minMessage is how large a message must be allowed to be, in bytes: a logout
// token is 64 KiB at most, and what is in it may take up six times as much in
// JSON. A logout that is too large for the log would wait in the outbox for ever.
const minMessage = 512 << 10

// duplicateWindow is how long the server recognises an event it has taken
// without a condition. It keeps an entry in memory for each.
const duplicateWindow = 2 * time.Minute

// republished is what the stream publishes once more when it is stored.
var republished = jetstream.RePublish{
	Source:      "curfew.session.*.ended",
	Destination: events.SubjectEnded + "{{wildcard(1)}}",
}

// streamConfig is the stream as it is created here. Reads go to the leader
// only: a direct get may be answered by a replica that is behind.
func (c Config) streamConfig() jetstream.StreamConfig {
	republish := republished
	return jetstream.StreamConfig{
		Name:              c.Stream,
		Description:       "curfew's log",
		Subjects:          []string{events.SubjectSessions, events.SubjectLogouts, events.SubjectReplicas},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          max(c.Replicas, 1),
		MaxMsgsPerSubject: 1,
		MaxAge:            c.MaxAge,
		Discard:           jetstream.DiscardOld,
		Duplicates:        min(duplicateWindow, c.MaxAge),
		DenyDelete:        true,
		DenyPurge:         true,
		RePublish:         &republish,
		Metadata:          map[string]string{identityKey: rand.Text()},
	}
}

// anewWait is how long a stream that was there must be gone before another is
// made in its place. The server may still be deleting the folder, and would
// take the new stream's away with it (nats-server 2.15 does).
const anewWait = time.Second

// ensure returns the stream, which it creates if there is none; had says that
// there was one before. The error is a *SettingsError if it is not fit, and a
// *TakenError if it cannot be.
func ensure(ctx context.Context, js jetstream.JetStream, c Config, had bool) (*jetstream.StreamInfo, error) {
	stream, err := find(ctx, js, c.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && had {
		pause(ctx, anewWait)
		stream, err = find(ctx, js, c.Stream)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = create(ctx, js, c)
	}
	if err != nil {
		return nil, explained(err)
	}
	info := stream.CachedInfo()
	if err := heard(info.Cluster); err != nil {
		return nil, err
	}
	wrong := wrongSettings(info.Config, c.streamConfig())
	if c.URL == "" && len(wrong) == 1 && wrong[0].Name == settingMaxAge {
		return lengthen(ctx, js, c, info.Config)
	}
	if len(wrong) > 0 {
		return nil, &SettingsError{Stream: c.Stream, Wrong: wrong}
	}
	return info, nil
}

// find does not wait for an answer as long as a stream may take to be made: a
// server that is cut off from the others gives none.
func find(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return js.Stream(ctx, name)
}

// silence is how long most of a stream's replicas may have said nothing to its
// leader. They answer it once a second, and look for another leader no sooner
// than four seconds after they last heard of it (nats-server 2.15).
const silence = 3 * time.Second

// What keeps an answer about a stream from being believed.
var (
	errLeaderless = errors.New("the stream has no leader")
	errUnheard    = errors.New("most of the stream's replicas do not answer its leader")
)

// heard is nil if the answer is that of a leader which has lately heard from most
// of the stream's replicas. One that is cut off takes itself for the leader for
// up to twenty seconds, and then answers as one of those who have none: all the
// while it tells how the stream was.
func heard(cluster *jetstream.ClusterInfo) error {
	if cluster == nil {
		return nil
	}
	if cluster.Leader == "" {
		return errLeaderless
	}
	voices := 1 // the leader's own
	for _, replica := range cluster.Replicas {
		if replica.Active < silence {
			voices++
		}
	}
	if 2*voices <= len(cluster.Replicas)+1 {
		return errUnheard
	}
	return nil
}

// lengthen has the embedded server keep events for longer, as it must when an
// operator lets sessions live longer. Nobody else has that stream, nothing is
// lost by it, and there is no other way to it than through this process.
func lengthen(ctx context.Context, js jetstream.JetStream, c Config, have jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	c.Logger.Warn("the embedded log keeps events for longer from now on", "was", have.MaxAge, "is", c.MaxAge)
	have.MaxAge = c.MaxAge
	stream, err := js.UpdateStream(ctx, have)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// wrongSettings compares those settings that the log rests on. Limits on size
// would drop the oldest events, and a logout with them.
func wrongSettings(have, want jetstream.StreamConfig) []Setting {
	var wrong []Setting
	compare := func(name string, fit bool, have, want any) {
		if !fit {
			wrong = append(wrong, Setting{name, fmt.Sprint(have), fmt.Sprint(want)})
		}
	}
	slices.Sort(have.Subjects)
	slices.Sort(want.Subjects)
	compare("subjects", slices.Equal(have.Subjects, want.Subjects), have.Subjects, want.Subjects)
	compare("retention", have.Retention == want.Retention, have.Retention, want.Retention)
	compare("storage", have.Storage == want.Storage, have.Storage, want.Storage)
	compare("max_msgs_per_subject", have.MaxMsgsPerSubject == want.MaxMsgsPerSubject, have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	compare(settingMaxAge, have.MaxAge == 0 || have.MaxAge >= want.MaxAge, have.MaxAge, "0 or at least "+want.MaxAge.String())
	compare("max_msgs", have.MaxMsgs <= 0, have.MaxMsgs, "-1")
	compare("max_msg_size", have.MaxMsgSize <= 0 || have.MaxMsgSize >= minMessage, have.MaxMsgSize, fmt.Sprintf("-1 or at least %d", minMessage))
	compare("max_consumers", have.MaxConsumers <= 0, have.MaxConsumers, "-1")
	compare("max_bytes", have.MaxBytes <= 0, have.MaxBytes, "-1")
	compare("discard", have.Discard == want.Discard, have.Discard, want.Discard)
	compare("duplicate_window", have.Duplicates >= want.Duplicates, have.Duplicates, "at least "+want.Duplicates.String())
	compare("deny_delete", have.DenyDelete, have.DenyDelete, true)
	compare("deny_purge", have.DenyPurge, have.DenyPurge, true)
	compare("no_ack", !have.NoAck, have.NoAck, false)
	compare("sealed", !have.Sealed, have.Sealed, false)
	compare("persist_mode", have.PersistMode == want.PersistMode, have.PersistMode, want.PersistMode)
	compare("mirror", have.Mirror == nil, "set", "none")
	compare("sources", len(have.Sources) == 0, "set", "none")
	compare("subject_transform", have.SubjectTransform == nil, "set", "none")
	compare("republish", republishText(have) == republishText(want), republishText(have), republishText(want))
	return wrong
}

func republishText(c jetstream.StreamConfig) string {
	r := c.RePublish
	if r == nil {
		return "none"
	}
	text := r.Source + " to " + r.Destination
	if r.HeadersOnly {
		text += " (headers only)"
	}
	return text
}

// identity is the stream's: a stream deleted and made again under the same name
// is another.
func identity(info *jetstream.StreamInfo) events.LogID {
	created := info.Created.UTC().Format(time.RFC3339Nano)
	sum := sha256.Sum256([]byte(info.Config.Metadata[identityKey] + " " + created))
	return events.LogID(sum[:8])
}

// statusOf reads a stream's state. The server gives an empty stream's first
// position in two ways, according to its past.
func statusOf(info *jetstream.StreamInfo) events.Status {
	status := events.Status{
		ID:      identity(info),
		Created: info.Created.UTC(),
		First:   events.Position(info.State.FirstSeq),
		Last:    events.Position(info.State.LastSeq),
	}
	if info.State.Msgs == 0 {
		status.First = status.Last + 1
	}
	return status
}
