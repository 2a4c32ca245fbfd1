package backchannel

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// Receiver puts a logout into the log and waits for the replicas.
// *sessions.Logouts is one.
type Receiver interface {
	// Receive returns an error if the log did not take the logout. One that it
	// has already is no error.
	Receive(ctx context.Context, logout events.LogoutReceived) (sessions.Fence, error)
}

// Handler is the endpoint that OPs post logout tokens to (section 2.5). Its
// fields must not be changed once it is used. Without Verifiers it refuses every
// token.
//
// It answers 200 when the log has the logout, with the header Curfew-Fence; 400
// for a flaw of request or token; 503 with Retry-After when keys or log are in
// trouble; and 405 to all but POST. An OP that hangs up before the answer still
// has its logout carried out.
type Handler struct {
	// Verifiers judge the tokens, each those of its own issuer. Of several for
	// one issuer only the first is asked.
	Verifiers []*Verifier
	Logouts   Receiver
	// Logger hears of every token that an OP has signed: what it named and what
	// became of it, never the token itself. Of the others it hears of some, and
	// how many more there were.
	Logger *slog.Logger
	// Now says when another line may be written about those.
	Now func() time.Time

	// Each has a measure of its own, so that none hides another.
	flawed, rationed, keyless quiet
}

// ServeHTTP answers one delivery.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	raw, err := readForm(w, r)
	if err != nil {
		h.refuse(w, r, &token{}, err)
		return
	}
	t, err := readToken(raw)
	if err != nil {
		h.refuse(w, r, t, err)
		return
	}
	ctx := context.WithoutCancel(r.Context())
	logout, err := h.verifier(t).verify(ctx, t)
	if err != nil {
		h.refuse(w, r, t, err)
		return
	}
	fence, err := h.Logouts.Receive(ctx, logout)
	if err != nil {
		h.refuse(w, r, t, &logError{err})
		return
	}
	h.Logger.InfoContext(r.Context(), "logout received", append(t.attributes(), "fence", fence.String())...)
	w.Header().Set("Curfew-Fence", fence.String())
	w.WriteHeader(http.StatusOK)
}

// verifier picks by issuer. The zero Verifier refuses those of no other.
func (h *Handler) verifier(t *token) *Verifier {
	for _, v := range h.Verifiers {
		if v.Issuer == t.claims.issuer {
			return v
		}
	}
	if len(h.Verifiers) > 0 {
		// The first names the issuer that it wants, which helps to find a
		// slash too many.
		return h.Verifiers[0]
	}
	return &Verifier{}
}

// attributes are what the log shows of a token. A stranger may have written
// them, so they are cut short and cleaned.
func (t *token) attributes() []any {
	var list []any
	for _, a := range [...]struct{ name, value string }{
		{"issuer", t.claims.issuer}, {"jti", t.claims.id}, {"sub", t.claims.subject}, {"sid", t.claims.session},
	} {
		if a.value != "" {
			list = append(list, a.name, quote(a.value))
		}
	}
	return list
}

// logError says that a good logout was not taken.
type logError struct{ error }

func (e *logError) Unwrap() error { return e.error }

// refuse answers for a flaw with 400 and for trouble of ours with 503.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, t *token, err error) {
	if flaw, ok := errors.AsType[*FlawError](err); ok {
		measure := &h.flawed
		if flaw.verified {
			measure = nil
		}
		if shown, ok := h.line(measure, append(t.attributes(), "flaw", string(flaw.Flaw), "detail", flaw.Detail)); ok {
			h.Logger.WarnContext(r.Context(), "logout token refused", shown...)
		}
		answer(w, http.StatusBadRequest, "invalid_request", string(flaw.Flaw)+": "+flaw.Detail)
		return
	}
	wait, what, measure := time.Second, "the provider's keys are not to be had now", &h.keyless
	if trouble, ok := errors.AsType[*KeyError](err); ok {
		wait = trouble.RetryAfter
		if trouble.Trouble == Rationed {
			what, measure = "the provider's keys are not looked at again yet, and no known one made the signature", &h.rationed
		}
	}
	if _, ok := errors.AsType[*logError](err); ok {
		what, measure = "the log does not take it now", nil
	}
	if shown, ok := h.line(measure, append(t.attributes(), "error", err)); ok {
		h.Logger.ErrorContext(r.Context(), "logout not carried out yet", shown...)
	}
	w.Header().Set("Retry-After", wholeSeconds(wait))
	answer(w, http.StatusServiceUnavailable, "temporarily_unavailable", what)
}

// line returns what a line about a token shows, and whether its measure allows
// the line; nil allows all.
func (h *Handler) line(measure *quiet, attributes []any) (shown []any, ok bool) {
	if measure == nil {
		return attributes, true
	}
	unsaid, ok := measure.admit(h.Now())
	if unsaid > 0 {
		attributes = append(attributes, "left_out", unsaid)
	}
	return attributes, ok
}

// wholeSeconds rounds up to what Retry-After can say.
func wholeSeconds(wait time.Duration) string {
	return strconv.FormatInt(max(1, int64((wait+time.Second-1)/time.Second)), 10)
}

// answer writes an error as RFC 6749 section 5.2 does, which section 2.8 points
// to.
func answer(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The one thing that fails here is the connection, and there is nobody
	// left to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": plain(description)})
}
