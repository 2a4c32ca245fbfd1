package guard

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func TestStreamIsRefusedAsSessionIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		defer h.finish()
		alive, over := h.signIn(sessions.Identity{Username: "ada"}), h.signIn(sessions.Identity{Username: "ada"})
		h.apply(h.ended(over, events.SignedOut))
		for _, c := range []struct {
			target, cookie string
			stale          bool
			status         int
			reason         string
		}{
			{"/auth/session/events", "", false, 401, "no_session"},
			{"/auth/session/events", h.encode(over), false, 401, "ended"},
			{"/auth/session/events", h.encode(alive) + "x", false, 401, "no_session"},
			{"/auth/session/events?groups=admins", h.encode(alive), false, 403, "group"},
			{"/auth/session/events", h.encode(alive), true, 503, "stale"},
			{"/auth/session/events", "", true, 503, "stale"},
		} {
			h.lease.stale.Store(c.stale)
			for _, handler := range []http.HandlerFunc{h.SessionEvents, h.Session} {
				h.want(h.ask(handler, c.target, c.cookie), c.status, c.reason)
			}
		}
	})
}

func TestStreamIsForPagesOfItsOwnOrigin(t *testing.T) {
	h := newHouse(t)
	h.tabs.watch(true)
	cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
	for _, c := range []struct {
		header []string
		taken  bool
	}{
		{nil, true},
		{[]string{"Sec-Fetch-Site", "same-origin"}, true},
		{[]string{"Sec-Fetch-Site", "none"}, true},
		{[]string{"Sec-Fetch-Site", "cross-site"}, false},
		{[]string{"Sec-Fetch-Site", "same-site"}, false},
		{[]string{"Sec-Fetch-Site", "a word to come"}, false},
		{[]string{"Origin", "https://app.example.com"}, true},  // the public URL's
		{[]string{"Origin", "https://wiki.example.com"}, true}, // the host that is asked
		{[]string{"Origin", "https://other.example.com", "X-Forwarded-Host", "other.example.com"}, true},
		{[]string{"Origin", "https://other.example.com"}, false},
		{[]string{"Origin", "https://app.example.com.evil.example"}, false},
		{[]string{"Origin", "https://app.example.co"}, false},
		{[]string{"Origin", "https://app.example.com/auth"}, false},
		{[]string{"Origin", "https:"}, false},
		{[]string{"Origin", "ftp://wiki.example.com"}, false},
		{[]string{"Origin", "https://x@wiki.example.com"}, false},
		{[]string{"Origin", "https://wiki.example.com:8443"}, false},
		{[]string{"Origin", "null"}, false},
		{[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "same-origin"}, false},
		{[]string{"Origin", "https://wiki.example.com", "Sec-Fetch-Site", "cross-site"}, false},
	} {
		w := h.ask(func(w http.ResponseWriter, r *http.Request) {
			r.Host, r.Method = "wiki.example.com", http.MethodHead
			h.SessionEvents(w, r)
		}, "/auth/session/events", cookie, c.header...)
		want := http.StatusForbidden
		if c.taken {
			want = http.StatusOK
		}
		h.want(w, want, "")
		if got := w.Header().Get("Content-Type") == "text/event-stream"; got != c.taken {
			t.Errorf("%q: a stream is %t, want %t", c.header, got, c.taken)
		}
	}
}

func TestStreamsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		ticket := h.signIn(sessions.Identity{Username: "ada"})
		stream := h.open(ticket)
		look := h.ask(func(w http.ResponseWriter, r *http.Request) {
			r.Method = http.MethodHead
			h.SessionEvents(w, r)
		}, "/auth/session/events", h.encode(ticket))
		for _, header := range []http.Header{stream.header, look.Header()} {
			for name, want := range map[string]string{
				"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
				"X-Content-Type-Options": "nosniff", "Set-Cookie": "", "X-Auth-Request-User": "",
			} {
				if got := header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		}
		if open := h.OpenTabs(); open != 1 || look.Body.Len() != 0 {
			t.Errorf("%d streams are open after a HEAD, which said %q", open, look.Body)
		}
		h.finish()
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		defer h.finish()
		crowded := func(ticket sessions.Ticket) {
			t.Helper()
			c := h.open(ticket)
			<-c.done
			if c.status != http.StatusTooManyRequests || c.header.Get("Retry-After") != "10" || c.header.Get("Cache-Control") != "no-store" {
				t.Errorf("one too many was answered %d %v", c.status, c.header)
			}
		}
		ticket := h.signIn(sessions.Identity{Username: "ada"})
		streams := make([]*client, maxTabsEach)
		for i := range streams {
			streams[i] = h.open(ticket)
		}
		crowded(ticket)
		h.open(h.signIn(sessions.Identity{Username: "grace"}))
		streams[7].hangUp()
		<-streams[7].done
		h.open(ticket)
		crowded(ticket)
		if got := h.OpenTabs(); got != maxTabsEach+1 {
			t.Errorf("%d are open, want %d", got, maxTabsEach+1)
		}

		for h.OpenTabs() < maxTabs {
			h.tabs.enter(events.NewSessionID(), events.SecretHash{})
		}
		crowded(h.signIn(sessions.Identity{Username: "noor"}))
		clear(h.tabs.open)
	})
}

// TestNoStreamThatNobodyLooksAfter: it would be silent for ever.
func TestNoStreamThatNobodyLooksAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTabHouse(t)
		ticket := h.signIn(sessions.Identity{Username: "ada"})
		h.stop()
		synctest.Wait()
		c := h.open(ticket)
		<-c.done
		if c.status != http.StatusTooManyRequests {
			t.Errorf("answered %d without Run", c.status)
		}
		h.finish()
		h.finish() // to leave twice is to leave
	})
}

// TestStreamUnderAClockThatIsOff: the time of day can be set, and a connection's
// deadline is not counted by it.
func TestStreamUnderAClockThatIsOff(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		h := newHouse(t)
		h.now = time.Now().Add(off)
		h.tabs.watch(true)
		cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
		var deadline time.Time
		began := time.Now()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.SessionEvents(&noting{w, &deadline}, r)
		}))
		defer server.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/auth/session/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", "curfew="+cookie)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		h.Leave() // which is the last word, once the stream stands
		said, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(string(said), "retry: ") || !strings.HasSuffix(string(said), stopping) {
			t.Errorf("%s off: said %q: %v", off, said, err)
		}
		if latest := time.Now().Add(writePatience); deadline.Before(began.Add(writePatience)) || deadline.After(latest) {
			t.Errorf("%s off: the deadline is %s", off, deadline)
		}
	}
}

// noting notes the deadline that its connection is given.
type noting struct {
	http.ResponseWriter
	deadline *time.Time
}

// Unwrap is for http.ResponseController.
func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// SetWriteDeadline is what http.ResponseController asks for.
func (n *noting) SetWriteDeadline(at time.Time) error {
	*n.deadline = at
	return http.NewResponseController(n.ResponseWriter).SetWriteDeadline(at)
}

// BenchmarkLookAtTabs is one look at a thousand open streams, of which there are
// ten a second.
func BenchmarkLookAtTabs(b *testing.B) {
	for _, open := range []int{0, 1000, maxTabs} {
		b.Run(fmt.Sprint(open), func(b *testing.B) {
			h := newHouse(b)
			h.tabs.watch(true)
			for range open {
				ticket := h.signIn(sessions.Identity{Username: "ada"})
				h.tabs.enter(ticket.Session, ticket.Secret.Hash())
			}
			for b.Loop() {
				h.lookAtTabs()
			}
		})
	}
}

// BenchmarkStreams has a thousand streams open on connections. It says what each
// costs in memory, and an operation is a sign of life to all and its arrival.
func BenchmarkStreams(b *testing.B) {
	const open = 1000
	h := newHouse(b)
	h.Now = time.Now
	h.now = time.Now()
	h.tabs.watch(true)
	server := httptest.NewServer(http.HandlerFunc(h.SessionEvents))
	defer server.Close()
	defer h.Leave()
	request := func() []byte {
		cookie := h.encode(h.signIn(sessions.Identity{Username: "ada"}))
		return []byte("GET /auth/session/events HTTP/1.1\r\nHost: x\r\nCookie: curfew=" + cookie + "\r\n\r\n")
	}
	requests := make([][]byte, open)
	for i := range requests {
		requests[i] = request()
	}
	conns := make([]net.Conn, open)
	before := inUse()
	for i := range conns {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(requests[i]); err != nil {
			b.Fatal(err)
		}
		conns[i] = conn
	}
	buffer := make([]byte, 4096)
	hear := func(want string) {
		for _, conn := range conns {
			for said := ""; !strings.HasSuffix(said, want); {
				n, err := conn.Read(buffer)
				if err != nil {
					b.Fatal(err)
				}
				said += string(buffer[:n])
			}
		}
	}
	hear("\n\n\r\n")
	each := float64(inUse()-before) / open
	for b.Loop() {
		h.tabs.mu.Lock()
		for t := range h.tabs.open {
			t.looks = int(breath / lookEvery)
		}
		h.tabs.mu.Unlock()
		h.lookAtTabs()
		hear(":\n\n\r\n")
	}
	b.ReportMetric(each, "B/stream")
}

// inUse is the memory of heap and stacks that something is in.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
