// Package demo is the front door of curfew's demo: one origin that plays the
// reverse proxy and the application behind it. It lets a person sign in, look
// at a few documents, sign out in three ways, and see what each replica makes of
// their session while they do.
//
// It is a small copy of what nginx or Traefik would do with curfew: each request
// for the application is asked about at a replica, and each request in another.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Site is the demo's origin. All fields are needed but those said not to be.
type Site struct {
	// Replicas are asked in turn. One that does not answer is passed over.
	Replicas []Replica
	// Host is the host that the site goes by, with its port. Whoever comes by
	// another is sent to it: a sign-in would not find its cookie there. Empty
	// takes any.
	Host string
	// Prefix is where the replicas' own endpoints are; empty is /auth.
	Prefix string
	// LogoutSession has the provider end one of its sessions, named by the
	// provider's session id, and tell a replica.
	LogoutSession func(ctx context.Context, sid string) (Answer, error)
	// LogoutUser has the provider end all sessions of a user, and tell a
	// replica with a token that names the user alone.
	LogoutUser func(ctx context.Context, sub string) (Answer, error)
	// Provider is where the provider's own page is; nil shows no link.
	Provider *url.URL
	// Events returns what the log took last, newest first; nil shows none. It
	// is called several times a second.
	Events func() []Event
	// Transport reaches the replicas; nil is one without proxies.
	Transport http.RoundTripper
	Now       func() time.Time
	Logger    *slog.Logger
}

// Replica is one running curfew.
type Replica struct {
	// Name is shown to people.
	Name string
	// Base is the origin of its public listener; a path in it is ignored.
	Base *url.URL
}

// Answer is what a replica said to a logout.
type Answer struct {
	// Status is the HTTP status; zero says that no replica was told, which
	// counts as an error.
	Status int
	// Fence is the Curfew-Fence header: complete, pending or empty.
	Fence string
	// Took is how long the replica took to answer.
	Took time.Duration
	// Sent is when it was told, from which the replicas' own times are
	// counted; zero stands for Took before the logout function returned.
	Sent time.Time
	// Replica names who answered; it may be empty.
	Replica string
}

// Event is one fact of the log, for people.
type Event struct {
	At time.Time
	// Kind is the CloudEvents type, or any other short name.
	Kind string
	// Session is the session's public id; empty where the fact names none.
	Session string
}

// Handler checks the fields and returns the whole site. Every address outside
// Prefix, /demo/ and the documents is answered with 404.
func (s Site) Handler() (http.Handler, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("demo: site: %w", err)
	}
	if s.Prefix == "" {
		s.Prefix = "/auth"
	}
	if s.Transport == nil {
		s.Transport = &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute}
	}
	f := &front{Site: s}
	return f.atHost(f.routes()), nil
}

// atHost sends whoever comes by another host to the site's own.
func (f *front) atHost(next http.Handler) http.Handler {
	if f.Host == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Host, f.Host) || !strings.HasPrefix(r.URL.Path, "/") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		// What comes after the host cannot change it, as it begins with a slash.
		w.Header().Set("Location", "http://"+f.Host+r.URL.RequestURI())
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

func (s Site) validate() error {
	if len(s.Replicas) == 0 {
		return errors.New("there are no replicas")
	}
	for _, r := range s.Replicas {
		if r.Name == "" || r.Base == nil || r.Base.Host == "" {
			return fmt.Errorf("replica %q: want a name and an origin", r.Name)
		}
	}
	if s.LogoutSession == nil || s.LogoutUser == nil {
		return errors.New("LogoutSession or LogoutUser is missing")
	}
	if s.Now == nil || s.Logger == nil {
		return errors.New("the clock or the logger is missing")
	}
	return nil
}

// front is a Site that serves.
type front struct {
	Site
	turn atomic.Uint32 // who is asked next
}

func (f *front) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(f.Prefix+"/", f.proxy())
	mux.HandleFunc("GET /{$}", f.guarded(f.library))
	mux.HandleFunc("GET /documents/{name}", f.guarded(f.document))
	mux.HandleFunc("/", f.nothingHere)

	mux.HandleFunc("GET /demo/verdicts", f.verdicts)
	// Other sites must not sign people out: a logout has no secret in it.
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(f.crossSite))
	for path, way := range f.ways() {
		mux.Handle("POST "+path, own.Handler(f.signOut(way)))
		// Whoever reloads or bookmarks the answer to a POST.
		mux.Handle("GET "+path, http.RedirectHandler("/", http.StatusSeeOther))
	}
	mux.HandleFunc("GET /demo/style.css", serveStyle)
	mux.HandleFunc("GET /demo/panel.js", servePart)
	mux.HandleFunc("GET /demo/icon.svg", servePart)
	return mux
}

// proxy hands requests for curfew's own endpoints on to the replicas in turn,
// so that a login begun at one is finished at another. The Host header stays
// the browser's, since Origin is compared with it.
func (f *front) proxy() http.Handler {
	return &httputil.ReverseProxy{
		Transport: inTurn{f},
		Rewrite: func(p *httputil.ProxyRequest) {
			stripIdentity(p.Out.Header)
			p.SetXForwarded()
		},
		ErrorLog: slog.NewLogLogger(f.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			f.Logger.WarnContext(r.Context(), "no replica took a request", "path", r.URL.Path, "error", err)
			f.notice(w, http.StatusBadGateway, noAnswer)
		},
	}
}
