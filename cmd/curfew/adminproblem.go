package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"curfew/events"
	"curfew/sessions"
	"curfew/store"
)

// problemError is a refusal as RFC 9457 writes it. It is shown to operators, so
// it holds nothing secret.
type problemError struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// contentProblem is the media type of a problemError.
const contentProblem = "application/problem+json"

// problemf makes a problem without a type of its own, whose title is then the
// status' phrase (RFC 9457 section 4.2.1).
func problemf(status int, format string, args ...any) *problemError {
	return &problemError{"about:blank", http.StatusText(status), status, fmt.Sprintf(format, args...)}
}

// Error is title and detail.
func (p *problemError) Error() string {
	text := strings.ToLower(p.Title)
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return text
}

// problemOf finds what an operator can be told of a fault.
func problemOf(err error) *problemError {
	if p, ok := errors.AsType[*problemError](err); ok {
		return p
	}
	if _, damaged := errors.AsType[*store.DamagedError](err); damaged {
		return problemf(http.StatusServiceUnavailable, "the store is being rebuilt from the log")
	}
	if _, lost := errors.AsType[*events.LostError](err); lost {
		return problemf(http.StatusServiceUnavailable, "the log was made anew: begin again")
	}
	if errors.Is(err, events.ErrUnavailable) {
		return problemf(http.StatusServiceUnavailable, "the log does not answer")
	}
	return problemf(http.StatusInternalServerError, "the replica's own log says why")
}

// untaken is the problem with an end that the log has not taken.
func untaken(err error) error {
	switch {
	case errors.Is(err, sessions.ErrOutboxFull):
		return problemf(http.StatusServiceUnavailable, "the log does not answer, and no more can be kept until it does: ask again")
	default:
		return problemf(http.StatusServiceUnavailable, "the log does not take it now: this replica lets those in no more, and the others hear of it once the log has it; asking again does no harm")
	}
}

// retrySeconds is when to ask again after a 503.
const retrySeconds = "1"

func (p *problemError) write(w http.ResponseWriter) {
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retrySeconds)
	}
	writeJSON(w, p.Status, contentProblem, p)
}

// writeJSON answers with what is never more than plain data.
func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// What is encoded cannot fail; that the client is gone is its own affair.
	_ = encoder.Encode(body)
}
