package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// adminAPI is what operators are answered, under /v1 on the admin listener. No
// answer holds a token or a cookie's secret.
type adminAPI struct {
	// issuers are the providers whose sessions these are.
	issuers []string
	replica string
	// instance is this process's own.
	instance string
	door     door
	registry *sessions.Registry
	rows     *rows
	lease    *sessions.Lease
	fleet    *sessions.Fleet
	logouts  logouts
	log      events.Log
	metrics  *metrics
	// leaving ends when the replica does, and with it what is streamed.
	leaving context.Context
	now     func() time.Time
	logger  *slog.Logger
}

// logouts ends sessions everywhere. *sessions.Logouts is one.
type logouts interface {
	End(ctx context.Context, ended ...events.Ended) (sessions.Fence, error)
	Receive(ctx context.Context, logout events.LogoutReceived) (sessions.Fence, error)
}

// adminAPI makes the API out of the App's parts.
func (a *App) adminAPI(leaving context.Context) *adminAPI {
	return &adminAPI{
		issuers: a.config.issuers(), replica: a.replica, instance: a.instance,
		door: newDoor(a.config), registry: a.registry, rows: a.rows, lease: a.lease, fleet: a.fleet,
		logouts: a.logouts, log: a.log, metrics: a.metrics, leaving: leaving, now: timeOfDay, logger: a.logger,
	}
}

// handler serves everything under /v1 to those whom the door lets in.
func (api *adminAPI) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range []struct {
		pattern, name string
		answer        func(http.ResponseWriter, *http.Request) error
	}{
		{"GET /v1/sessions", "sessions", api.list},
		{"GET /v1/sessions/{id}", "session", api.show},
		{"DELETE /v1/sessions/{id}", "session", api.end},
		{"POST /v1/logouts", "logouts", api.logout},
		{"GET /v1/replicas", "replicas", api.replicas},
	} {
		mux.Handle(r.pattern, api.metrics.count("admin-"+r.name, api.answering(r.answer)))
	}
	// Not counted: how long somebody watches is no measure of anything.
	mux.Handle("GET /v1/events", api.answering(api.events))
	return api.guarded(func(w http.ResponseWriter, r *http.Request) error {
		return dispatch(mux, w, r)
	})
}

// guarded asks the door before anything else.
func (api *adminAPI) guarded(next func(http.ResponseWriter, *http.Request) error) http.Handler {
	return api.answering(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		if err := api.door.check(w, r); err != nil {
			api.logger.WarnContext(r.Context(), "refused at the admin listener", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr, "error", err)
			return err
		}
		return next(w, r)
	})
}

// answering turns what an endpoint returns into an answer.
func (api *adminAPI) answering(answer func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := answer(w, r)
		if err == nil {
			return
		}
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			api.logger.ErrorContext(r.Context(), "admin request not carried out", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
		}
		p.write(w)
	})
}

// dispatch serves what there is, and says what there is not as a problem.
func dispatch(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) error {
	handler, pattern := mux.Handler(r)
	if pattern != "" {
		mux.ServeHTTP(w, r)
		return nil
	}
	refusal := &headersOnly{header: http.Header{}}
	handler.ServeHTTP(refusal, r)
	if allowed := refusal.header.Get("Allow"); refusal.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allowed)
		return problemf(refusal.status, "%s takes %s", r.URL.Path, allowed)
	}
	return problemf(http.StatusNotFound, "there is nothing at %s", r.URL.Path)
}

// headersOnly takes the headers and the status of an answer, and drops the rest.
type headersOnly struct {
	header http.Header
	status int
}

// Header is what is kept.
func (w *headersOnly) Header() http.Header { return w.header }

// WriteHeader remembers the status.
func (w *headersOnly) WriteHeader(status int) { w.status = status }

// Write drops the body.
func (w *headersOnly) Write(b []byte) (int, error) { return len(b), nil }
