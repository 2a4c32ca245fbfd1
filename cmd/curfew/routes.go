package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// route is one line of the route table.
type route struct {
	pattern string // of http.ServeMux, without the prefix
	name    string // as the metrics have it
	handler http.Handler
}

// routes is every endpoint on the public listener but the check: see
// publicHandler.
func (a *App) routes() []route {
	return []route{
		{"GET /login", "login", http.HandlerFunc(a.party.Login)},
		{"GET /callback", "callback", http.HandlerFunc(a.party.Callback)},
		{"GET /callback/{provider}", "callback", http.HandlerFunc(a.party.Callback)},
		{"GET /logout", "logout", http.HandlerFunc(a.party.Logout)},
		{"POST /logout", "logout", http.HandlerFunc(a.party.Logout)},
		{"GET /signed-out", "signed-out", http.HandlerFunc(a.party.SignedOut)},
		{"GET /sessions", "sessions", http.HandlerFunc(a.party.Yours)},
		{"POST /sessions", "sessions", http.HandlerFunc(a.party.Yours)},
		{"GET /frontchannel-logout", "frontchannel-logout", http.HandlerFunc(a.party.FrontchannelLogout)},
		{"/backchannel-logout", "backchannel-logout", a.logoutTo},
		{"/forward", "forward", http.HandlerFunc(a.guard.Forward)},
		{"GET /forbidden", "forbidden", http.HandlerFunc(a.guard.Forbidden)},
		{"GET /session", "session", http.HandlerFunc(a.guard.Session)},
		{"GET /session/events", "session-events", http.HandlerFunc(a.guard.SessionEvents)},
		{"GET " + a.pages.StylePath(), "style", http.HandlerFunc(a.pages.ServeStyle)},
		{"GET " + a.pages.LogoPath(), "logo", http.HandlerFunc(a.pages.ServeLogo)},
	}
}

// adminRoutes is every endpoint on the admin listener. What is streamed there
// ends with leaving.
func (a *App) adminRoutes(leaving context.Context) []route {
	return []route{
		{"GET /healthz", "", http.HandlerFunc(healthz)},
		{"GET /readyz", "", http.HandlerFunc(a.readyz)},
		{"GET /metrics", "", a.metrics.handler()},
		{"/v1/", "", a.adminAPI(leaving).handler()},
	}
}

// publicHandler is the public listener's whole behaviour. The check takes its
// path and whatever is below it to the letter: Envoy puts the path that it asks
// about there, and the mux would answer one with "//" in it by a redirect.
func (a *App) publicHandler() http.Handler {
	mux := http.NewServeMux()
	allowed := make(map[string][]string)
	for _, r := range a.routes() {
		method, path, found := strings.Cut(r.pattern, " ")
		if !found {
			method, path = "", r.pattern
		} else {
			allowed[path] = append(allowed[path], method)
		}
		mux.Handle(strings.TrimSpace(method+" "+a.config.prefix+path), a.metrics.count(r.name, r.handler))
	}
	mux.Handle(a.config.prefix+"/", a.metrics.count("other", http.HandlerFunc(a.pages.NotFound)))
	for path, methods := range allowed {
		// The mux would say so itself if there were no page for what is not found.
		mux.Handle(a.config.prefix+path, a.metrics.count("other", notAllowed(methods)))
	}
	path := a.config.prefix + "/check"
	check := a.metrics.count("check", http.HandlerFunc(a.guard.Check))
	return fromProxies(a.config.trustedProxies, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path || strings.HasPrefix(r.URL.Path, path+"/") {
			check.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

func notAllowed(methods []string) http.Handler {
	allow := strings.Join(methods, ", ")
	if slices.Contains(methods, http.MethodGet) {
		allow += ", " + http.MethodHead
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	})
}

func (a *App) adminHandler(leaving context.Context) http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.adminRoutes(leaving) {
		mux.Handle(r.pattern, r.handler)
	}
	return mux
}

// healthz says that the process lives.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readiness is what /readyz says.
type readiness struct {
	Ready   bool   `json:"ready"`
	Replica string `json:"replica"`
	// Position is how far the log has been applied.
	Position uint64 `json:"position"`
	// Staleness is the age of the newest proof that no logout was missed, in
	// seconds; -1 if there is none.
	Staleness float64 `json:"staleness_seconds"`
	// Outbox is how many logouts wait for the log to take them. While there are
	// any, the lease is not renewed.
	Outbox int    `json:"outbox"`
	Reason string `json:"reason,omitempty"`
}

// readyz says whether this replica can let anybody in, and if not, why.
func (a *App) readyz(w http.ResponseWriter, _ *http.Request) {
	age, proven := a.lease.Age()
	state := readiness{
		Ready:     a.lease.Fresh(),
		Replica:   a.replica,
		Position:  uint64(a.registry.Applied().At),
		Staleness: -1,
		Outbox:    a.backlog.Len(),
	}
	if proven {
		state.Staleness = age.Seconds()
	}
	status := http.StatusOK
	if trouble := a.trouble.Load(); state.Ready && trouble != nil {
		state.Reason = trouble.String()
	}
	if !state.Ready {
		status, state.Reason = http.StatusServiceUnavailable, a.unready(age, proven, state.Outbox)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// What is encoded cannot fail; that the client is gone is its own affair.
	_ = json.NewEncoder(w).Encode(state)
}

// unready is why this replica lets nobody in.
func (a *App) unready(age time.Duration, proven bool, outbox int) string {
	reason := "no heartbeat has come back through the log yet"
	if proven {
		reason = fmt.Sprintf("the last heartbeat that came back through the log is %s old", age.Round(time.Millisecond))
	}
	if trouble := a.trouble.Load(); trouble != nil {
		reason += ": " + trouble.String()
	}
	if err := a.log.Reachable(); err != nil {
		reason += ": " + err.Error()
	}
	if rival := a.rival.Load(); rival != nil {
		reason += ": another process goes by this replica's name, instance " + *rival
	}
	if outbox > 0 {
		reason += fmt.Sprintf("; logouts wait for the log to take them: %d", outbox)
	}
	return reason
}

// servers are the public and the admin server.
func (a *App) servers() [2]*webServer {
	server := func(handler http.Handler) *webServer {
		return newWebServer(&http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      a.config.logoutWait + time.Minute,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
		})
	}
	leaving, leave := context.WithCancel(context.Background())
	admin := server(a.adminHandler(leaving))
	admin.RegisterOnShutdown(leave)
	public := server(a.publicHandler())
	public.RegisterOnShutdown(a.guard.Leave)
	return [2]*webServer{public, admin}
}

// serveOn serves until the server is shut down.
func serveOn(server *webServer, l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}
