package guard

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// writePatience is how long a client may take to take what it is told: less
	// than a replica that stops gives its requests.
	writePatience = 3 * time.Second
	// minRetry and maxRetry bound after how many milliseconds a browser whose
	// stream has broken off opens it anew: each is told another time, so that not
	// all tabs of a replica that has stopped come back at once.
	minRetry = 1000
	maxRetry = 5000
)

// crowded is what Retry-After says where there are too many streams.
const crowded = "10"

// SessionEvents tells a page that its session has ended, by server-sent events
// (HTML Living Standard section 9.2). It is refused as Session is, and to pages
// of other origins. It is no use of the session: a page that is left open keeps
// nobody signed in.
//
// An open stream is told nothing but signs of life until there is a last word,
// and ends with it: "ended", or "unsure" if this replica cannot say any more
// whether the session stands.
func (g *Guard) SessionEvents(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if !g.ownPage(r) {
		h["Cache-Control"] = noStore
		w.WriteHeader(http.StatusForbidden)
		return
	}
	found, _ := g.look(r)
	if found.status != http.StatusOK {
		answerWith(h, found)
		w.WriteHeader(found.status)
		return
	}
	h["Cache-Control"] = noStore
	t := g.tabs.enter(found.id, found.row.Secret)
	if t == nil {
		// Not 503, for which a proxy may take a replica for unwell.
		h.Set("Retry-After", crowded)
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	defer g.tabs.leave(t)
	streamHeader(h)
	if r.Method == http.MethodHead {
		return
	}
	s := &stream{w: w, control: http.NewResponseController(w), deadline: g.Deadline}
	g.serve(r, t, s)
}

func streamHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	// nginx would wait for 4 KB.
	h.Set("X-Accel-Buffering", "no")
}

// serve tells a stream what there is to tell, until the last word or until its
// client is gone.
func (g *Guard) serve(r *http.Request, t *tab, s *stream) {
	//nolint:gosec // It spreads load, and is no secret.
	retry := minRetry + rand.IntN(maxRetry-minRetry)
	if !s.send(fmt.Sprintf("retry: %d\n\n", retry)) {
		return
	}
	for {
		select {
		case w := <-t.told:
			if !s.send(w.text) || w.last {
				return
			}
		case <-g.tabs.left:
			w := g.wordTo(t, g.Lease.Fresh(), g.Now())
			if !w.last {
				w.text = stopping
			}
			s.send(w.text)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// ownPage reports whether no browser says that the request comes from a page of
// another origin. Pages that only share the cookie's domain may be other people's.
// No browser need send either header: the cookie alone decides who gets in.
func (g *Guard) ownPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	for _, origin := range r.Header.Values("Origin") {
		if origin != "" && !g.ownOrigin(r, origin) {
			return false
		}
	}
	return true
}

// ownOrigin reports whether an origin is the host that is asked, or the public
// URL's: a proxy may pass on another Host.
func (g *Guard) ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return false
	}
	return u.Host == r.Host || u.Host == r.Header.Get("X-Forwarded-Host") || strings.HasPrefix(g.LoginURL, origin+"/")
}

// stream is one client's server-sent events.
type stream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	deadline func(time.Duration) time.Time
}

// send reports whether the client may have got the text. Each has a deadline of
// its own: the server's is for answers that end.
func (s *stream) send(text string) bool {
	if err := s.control.SetWriteDeadline(s.deadline(writePatience)); err != nil {
		return false
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
