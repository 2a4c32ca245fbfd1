package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
)

const (
	// answerTimeout bounds the wait for one answer, whatever patience the
	// caller has: somebody's request hangs on it.
	answerTimeout = 2 * time.Second
	// inFlightWait lies between two tries at a condition that another append,
	// taken but not yet stored, stands in the way of.
	inFlightWait = 5 * time.Millisecond
)

// Append implements events.Log. It waits two seconds for the answer at most. That
// none came puts the stream in doubt: this server may be cut off from those that
// keep it.
func (l *Log) Append(ctx context.Context, event events.Event, when events.Condition) (events.Position, error) {
	message, err := events.Encode(event)
	if err != nil {
		return 0, fmt.Errorf("natslog: append: %w", err)
	}
	s, err := l.now()
	if err != nil {
		return 0, fmt.Errorf("natslog: append: %w", err)
	}
	asking, cancel := s.bound(ctx, answerTimeout)
	defer cancel()
	position, err := s.append(asking, message, newCondition(event.Fact, when))
	if errors.Is(err, events.ErrUnavailable) && unanswered(err) && ctx.Err() == nil {
		l.doubt(s)
	}
	if err != nil {
		return 0, fmt.Errorf("natslog: append: %w", err)
	}
	return position, nil
}

// condition is an events.Condition on one fact.
type condition struct {
	scope string
	last  events.Position
	asked bool
}

func newCondition(fact events.Fact, when events.Condition) condition {
	scope, last, asked := when.Scope(fact)
	return condition{scope, last, asked}
}

// errInFlight says that an append was refused for one that is not stored yet,
// or never will be.
var errInFlight = errors.New("another append is in flight")

func (s *session) append(ctx context.Context, message events.Message, when condition) (events.Position, error) {
	options := []jetstream.PublishOpt{
		jetstream.WithMsgID(message.ID()),
		jetstream.WithExpectStream(s.stream),
		jetstream.WithRetryAttempts(0),
	}
	if when.asked {
		options = append(options, jetstream.WithExpectLastSequenceForSubject(uint64(when.last), when.scope))
	}
	for {
		answer, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: message.Subject, Header: message.Header, Data: message.Body}, options...)
		if err == nil && (!answer.Duplicate || !when.asked) {
			return events.Position(answer.Sequence), nil
		}
		// A stream of several replicas looks for the event's id before it looks
		// at the condition, one of a single replica after: so what a duplicate
		// means is found out in the same way as what a refusal means.
		if err != nil && !isRefusal(err) {
			return 0, classify(err)
		}
		position, err := s.settle(ctx, message, when)
		if !errors.Is(err, errInFlight) {
			return position, err
		}
		pause(ctx, inFlightWait)
	}
}

// duplicateInFlight is the server's code for an event that it was sent before
// and has yet to store.
const duplicateInFlight jetstream.ErrorCode = 10158

// isRefusal reports whether the server refused an append for what stands in the
// log, or is about to.
func isRefusal(err error) bool {
	refusal, ok := errors.AsType[jetstream.JetStreamError](err)
	if !ok || refusal.APIError() == nil {
		return false
	}
	switch refusal.APIError().ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant, duplicateInFlight:
		return true
	}
	return false
}

// settle finds out what a refusal means. If the event's own subject holds the
// event, an earlier try succeeded whose answer was lost. That subject is looked
// at last: an earlier try may be stored between the two looks, and would else be
// taken for somebody's who was quicker.
func (s *session) settle(ctx context.Context, message events.Message, when condition) (events.Position, error) {
	var last events.Position
	var err error
	if when.scope != message.Subject && when.asked {
		if last, _, err = s.newest(ctx, when.scope); err != nil {
			return 0, err
		}
	}
	own, id, err := s.newest(ctx, message.Subject)
	if err != nil {
		return 0, err
	}
	if own != 0 && id == message.ID() {
		return own, nil
	}
	if when.scope == message.Subject {
		last = own
	}
	if !when.asked || last == when.last {
		return 0, errInFlight
	}
	return 0, &events.ConflictError{Subject: when.scope, Last: last}
}

// newest asks the stream's leader for the last message on a subject, wildcards
// allowed. It does not go by the library's call, which takes any replica's word
// where the stream allows direct gets.
func (s *session) newest(ctx context.Context, subject string) (events.Position, string, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return 0, "", err
	}
	response, err := s.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.stream, request)
	if err != nil {
		return 0, "", classify(err)
	}
	var answer struct {
		Error   *jetstream.APIError
		Message struct {
			Seq  events.Position
			Hdrs []byte
		}
	}
	if err := json.Unmarshal(response.Data, &answer); err != nil {
		return 0, "", err
	}
	if answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return 0, "", nil
	}
	if answer.Error != nil {
		return 0, "", classify(answer.Error)
	}
	header, err := nats.DecodeHeadersMsg(answer.Message.Hdrs)
	if err != nil {
		return 0, "", err
	}
	return answer.Message.Seq, events.Message{Header: header}.ID(), nil
}

// messageTooLarge is the server's code for an event over the stream's
// max_msg_size.
const messageTooLarge jetstream.ErrorCode = 10054

// classify wraps ErrUnavailable, unless what is wrong is the event. All else that
// a server refuses an append for, an account without room or a stream that was
// sealed, is the log's own trouble, though its code be 400: it may take the same
// event when somebody has seen to that. A caller who gave up does not know
// either.
func classify(err error) error {
	refusal, refused := errors.AsType[jetstream.JetStreamError](err)
	tooLarge := refused && refusal.APIError() != nil && refusal.APIError().ErrorCode == messageTooLarge
	if tooLarge || errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", events.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
}

// unanswered reports whether nobody answered for the stream, or said that there is
// none. A refusal is an answer: it gives no cause to look for another server.
func unanswered(err error) bool {
	refusal, refused := errors.AsType[jetstream.JetStreamError](err)
	return !refused || refusal.APIError() == nil || errors.Is(err, jetstream.ErrStreamNotFound)
}

// Status implements events.Log. The stream's leader answers.
func (l *Log) Status(ctx context.Context) (events.Status, error) {
	s, err := l.now()
	if err != nil {
		return events.Status{}, fmt.Errorf("natslog: status: %w", err)
	}
	status, err := s.status(ctx)
	if ctx.Err() == nil && (err != nil || status.ID != s.id) {
		l.doubt(s)
	}
	if err != nil {
		return events.Status{}, fmt.Errorf("natslog: status: %w", err)
	}
	return status, nil
}

func (s *session) status(ctx context.Context) (events.Status, error) {
	ctx, cancel := s.bound(ctx, answerTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.stream)
	if err != nil {
		return events.Status{}, fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	if err := heard(stream.CachedInfo().Cluster); err != nil {
		return events.Status{}, fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	return statusOf(stream.CachedInfo()), nil
}
