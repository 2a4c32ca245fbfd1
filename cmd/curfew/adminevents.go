package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"curfew/events"
)

// eventView is an event of the log as operators see it.
type eventView struct {
	Position events.Position `json:"position"`
	// Time is when it happened, by its source's clock.
	Time    time.Time   `json:"time"`
	Type    events.Type `json:"type"`
	Source  string      `json:"source"`
	Subject string      `json:"subject"`
	ID      string      `json:"id"`
	// Data is the event's body without what is secret or sealed.
	Data map[string]json.RawMessage `json:"data"`
}

func viewEvent(record events.Record) (eventView, error) {
	view := eventView{
		Position: record.Position, Time: record.Time, Type: record.Fact.Type(), Source: record.Source,
		Subject: record.Fact.Subject(), ID: record.ID,
	}
	body, err := json.Marshal(record.Fact)
	if err != nil {
		return view, err
	}
	if err := json.Unmarshal(body, &view.Data); err != nil {
		return view, err
	}
	delete(view.Data, "sealed")
	delete(view.Data, "secret")
	return view, nil
}

const (
	// writePatience is how long a client may take to take what it is sent.
	writePatience = 30 * time.Second
	// silence is how long nothing is sent at most while the log goes on.
	silence = 10 * time.Second
)

// events streams the log as server-sent events, until the client goes.
func (api *adminAPI) events(w http.ResponseWriter, r *http.Request) error {
	pattern := r.URL.Query().Get("subject")
	if err := checkPattern(pattern); err != nil {
		return problemf(http.StatusBadRequest, "subject is %q: %v", pattern, err)
	}
	mark, err := api.begin(r)
	if err != nil {
		return err
	}
	s := &stream{w: w, control: http.NewResponseController(w), pattern: pattern, now: api.now}
	s.open()
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(api.leaving, cancel)()
	err = api.log.Follow(ctx, mark, s.take)
	if r.Context().Err() != nil || s.gone {
		return nil // nobody listens any more
	}
	end := problemf(http.StatusServiceUnavailable, "this replica is stopping")
	if api.leaving.Err() == nil {
		api.logger.WarnContext(r.Context(), "a stream of events broke off", "error", err)
		end = problemOf(err)
	}
	s.close(end)
	return nil
}

// begin is where a stream begins: after the position that the client names, or
// else at the log's end. A browser that reconnects names the last it has seen.
func (api *adminAPI) begin(r *http.Request) (events.Mark, error) {
	status, err := api.log.Status(r.Context())
	if err != nil {
		return events.Mark{}, err
	}
	since := r.Header.Get("Last-Event-ID")
	if since == "" {
		since = r.URL.Query().Get("since")
	}
	if since == "" {
		return status.End(), nil
	}
	position, err := strconv.ParseUint(since, 10, 64)
	if err != nil {
		return events.Mark{}, problemf(http.StatusBadRequest, "since is %q, want a position: 0 for all that the log holds", since)
	}
	if events.Position(position) > status.Last {
		return events.Mark{}, problemf(http.StatusBadRequest, "since is %d, but the log ends at %d", position, status.Last)
	}
	return events.Mark{Log: status.ID, At: events.Position(position)}, nil
}

// stream is one client's server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	pattern string
	now     func() time.Time
	wrote   time.Time
	gone    bool
}

// open sends the header, so that the client knows that it misses nothing from
// here on.
func (s *stream) open() {
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.WriteHeader(http.StatusOK)
	// A client that is gone already is found by the first batch.
	_ = s.send(": the log, from here on\n\n")
	_ = s.flush()
}

// take sends what of a batch the client asked for.
func (s *stream) take(batch events.Batch) error {
	for _, record := range batch.Records {
		if !matches(s.pattern, record.Fact.Subject()) {
			continue
		}
		view, err := viewEvent(record)
		if err != nil {
			return err
		}
		if err := s.sendJSON(fmt.Sprintf("id: %d\n", record.Position), view); err != nil {
			return err
		}
	}
	if s.now().Sub(s.wrote) > silence {
		if err := s.send(":\n\n"); err != nil {
			return err
		}
	}
	return s.flush()
}

// close says why the stream ends, to a client that would go on listening.
func (s *stream) close(why *problemError) {
	if s.sendJSON("event: problem\n", why) == nil {
		// It is the last word: nobody is left to be told that it is not heard.
		_ = s.flush()
	}
}

func (s *stream) sendJSON(head string, body any) error {
	line, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return s.send(head + "data: " + string(line) + "\n\n")
}

// send gives each text a deadline of its own: the server's is for answers that
// end.
func (s *stream) send(text string) error {
	s.wrote = s.now()
	err := s.control.SetWriteDeadline(deadline(writePatience))
	if err == nil {
		_, err = s.w.Write([]byte(text))
	}
	s.gone = s.gone || err != nil
	return err
}

func (s *stream) flush() error {
	err := s.control.Flush()
	s.gone = s.gone || err != nil
	return err
}
