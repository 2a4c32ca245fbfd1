package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Message is an event on the wire, before it is a NATS message.
type Message struct {
	Subject string
	// Header holds the CloudEvents attributes, one value each.
	Header map[string][]string
	Body   []byte
}

// The headers of CloudEvents' NATS binding, binary mode.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerType        = "ce-type"
	headerSource      = "ce-source"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerContentType = "content-type"

	specVersion = "1.0"
	contentType = "application/json"
)

// UnknownTypeError says that a message holds an event of a kind this version of
// curfew does not know. A follower may skip it if it is Additive, and must stop
// otherwise.
type UnknownTypeError struct {
	Type Type
	// Additive says that the kind belongs to a major version whose unknown
	// kinds change nothing in the known ones.
	Additive bool
}

// Error names the kind.
func (e *UnknownTypeError) Error() string {
	if e.Additive {
		return fmt.Sprintf("events: type %q is not known to this version", e.Type)
	}
	return fmt.Sprintf("events: type %q is of a major version this one cannot read: upgrade curfew", e.Type)
}

// Encode puts an event on the wire. It refuses one that lacks what its kind
// must say.
func Encode(event Event) (Message, error) {
	fact := event.Fact
	if fact == nil {
		return Message{}, fmt.Errorf("events: encode: no fact")
	}
	if err := fact.validate(); err != nil {
		return Message{}, fmt.Errorf("events: encode %s: %w", fact.Type(), err)
	}
	if event.ID == "" || event.Source == "" || !hasText(event.Time) {
		return Message{}, fmt.Errorf("events: encode %s: id, source or time is missing", fact.Type())
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(fact); err != nil {
		return Message{}, fmt.Errorf("events: encode %s: %w", fact.Type(), err)
	}
	return Message{
		Subject: fact.Subject(),
		Header: map[string][]string{
			headerSpecVersion: {specVersion},
			headerID:          {event.ID},
			headerType:        {string(fact.Type())},
			headerSource:      {event.Source},
			headerSubject:     {fact.about()},
			headerTime:        {event.Time.UTC().Format(time.RFC3339Nano)},
			headerContentType: {contentType},
		},
		Body: bytes.TrimSuffix(body.Bytes(), []byte("\n")),
	}, nil
}

// hasText reports whether a time is one, and has a form that reads back: in UTC,
// its year has four digits.
func hasText(at time.Time) bool {
	year := at.UTC().Year()
	return !at.IsZero() && year >= 0 && year <= 9999
}

// ID returns the id of the event in m, which also serves the log to recognise
// an event it was sent twice. It is empty if m holds no event.
func (m Message) ID() string { return m.attribute(headerID) }

// Decode takes an event off the wire. The error is an *UnknownTypeError for a
// kind it does not know. A message whose subject is not the one its fact
// belongs on is refused: nobody may say a thing of one session in the place of
// another.
func Decode(m Message) (Event, error) {
	event, err := decode(m)
	if err != nil {
		return Event{}, fmt.Errorf("events: decode message on %q: %w", m.Subject, err)
	}
	return event, nil
}

func decode(m Message) (Event, error) {
	if v := m.attribute(headerSpecVersion); v != specVersion {
		return Event{}, fmt.Errorf("%s is %q, want %q", headerSpecVersion, v, specVersion)
	}
	at, err := time.Parse(time.RFC3339Nano, m.attribute(headerTime))
	if err != nil {
		return Event{}, fmt.Errorf("%s: %w", headerTime, err)
	}
	event := Event{ID: m.ID(), Source: m.attribute(headerSource), Time: at.UTC()}
	if event.ID == "" || event.Source == "" || !hasText(event.Time) {
		return Event{}, fmt.Errorf("%s, %s or %s is missing", headerID, headerSource, headerTime)
	}
	kind := Type(m.attribute(headerType))
	event.Fact, err = decodeFact(kind, m.Body)
	if err != nil {
		return Event{}, err
	}
	if err := event.Fact.validate(); err != nil {
		return Event{}, fmt.Errorf("%s: %w", kind, err)
	}
	if want := event.Fact.Subject(); want != m.Subject {
		return Event{}, fmt.Errorf("%s belongs on %q", kind, want)
	}
	return event, nil
}

func decodeFact(kind Type, body []byte) (Fact, error) {
	switch kind {
	case TypeStarted:
		fact, err := decodeSealed(body, func(f *Started) *Sealed { return &f.Sealed })
		return fact, err
	case TypeRefreshed:
		fact, err := decodeSealed(body, func(f *Refreshed) *Sealed { return &f.Sealed })
		return fact, err
	case TypeClaimed:
		return decodeBody[Claimed](body)
	case TypeSeen:
		return decodeBody[Seen](body)
	case TypeEnded:
		return decodeBody[Ended](body)
	case TypeLogoutReceived:
		return decodeBody[LogoutReceived](body)
	case TypeAlive:
		return decodeBody[Alive](body)
	case TypeLeft:
		return decodeBody[Left](body)
	default:
		additive := strings.HasPrefix(string(kind), "curfew.") && strings.HasSuffix(string(kind), ".v1")
		return nil, &UnknownTypeError{Type: kind, Additive: additive}
	}
}

func decodeBody[F Fact](body []byte) (Fact, error) {
	var fact F
	if err := json.Unmarshal(body, &fact); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return fact, nil
}

// attribute returns a header's only value, and nothing if it has several.
func (m Message) attribute(name string) string {
	if values := m.Header[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}
