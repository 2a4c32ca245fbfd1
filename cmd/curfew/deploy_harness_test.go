package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// guarded is a sample application behind one of the proxies of deploy/, which
// asks three replicas.
type guarded struct {
	*house
	url  string // the proxy's, as browsers see it
	app  *httptest.Server
	way  *relay // from the proxy to the replicas
	nats *process
	tls  *httptest.Server // whose certificate the proxy has
	// held keeps the proxy's address until the proxy starts.
	held net.Listener
	// fresh opens a connection for each request, and never follows redirects.
	fresh *http.Client
}

// newGuarded starts everything but the proxy, which is to listen at g.address.
func newGuarded(t *testing.T, scheme string) *guarded {
	t.Helper()
	address, nats := startNATS(t, t.TempDir(), "-1")
	held := holdAddress(t)
	g := &guarded{
		url: scheme + "://" + held.Addr().String(), held: held, nats: nats,
		app: httptest.NewServer(http.HandlerFunc(sample)), tls: httptest.NewTLSServer(nil),
	}
	t.Cleanup(g.app.Close)
	t.Cleanup(g.tls.Close)
	g.fresh = &http.Client{Transport: g.transport(), Timeout: patient, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	s := newSite(t, address)
	op := &optest.Provider{Now: time.Now, Clients: []optest.Client{{
		ID: testClientID, Secret: testClientSecret,
		RedirectURIs:   []string{g.url + "/auth/callback"},
		PostLogoutURIs: []string{g.url + "/auth/signed-out"},
		// Past the proxy, so that a test can say which replica is told.
		BackchannelURI: s.front.URL + "/auth/backchannel-logout",
	}}}
	realop.Serve(t, op, nil)
	// Long enough for a busy machine not to run out of it by itself.
	s.open(op.Issuer, "CURFEW_PUBLIC_URL="+g.url, "CURFEW_MAX_STALENESS=3s")
	g.house = &house{s, smallProvider{op}}
	g.way = newRelay(t, s.replicas)
	return g
}

// holdAddress takes an address that nobody listens at, for somebody else to listen
// there once it is closed.
func holdAddress(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// freeAddress is one that nobody listens at, now. Somebody else may take it before
// it is used.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := holdAddress(t)
	l.Close()
	return l.Addr().String()
}

// host is the proxy's address.
func (g *guarded) host() string {
	_, host, _ := strings.Cut(g.url, "://")
	return host
}

func (g *guarded) transport() *http.Transport {
	config := g.tls.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	return &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
}

// certificate writes the proxy's certificate and key.
func (g *guarded) certificate(dir string) (cert, key string) {
	g.t.Helper()
	pair := g.tls.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		g.t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	g.write(cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	g.write(key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return cert, key
}

// write makes a file that the proxy can read, whoever it runs as.
func (g *guarded) write(name, content string) {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// browser opens one that takes the proxy's certificate.
func (g *guarded) browser() *realop.Browser {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return &realop.Browser{Client: &http.Client{Jar: jar, Transport: g.transport(), Timeout: patient}}
}

// enter opens a page and signs in on the way; it returns the page that was
// arrived at, and the session cookie.
func (g *guarded) enter(b *realop.Browser, name, page string) (*http.Response, *http.Cookie) {
	g.t.Helper()
	resp, cookie := g.tryToEnter(b, name, page)
	if cookie == nil {
		g.t.Fatalf("no session cookie; the sign-in ended at %s with %d", resp.Request.URL, resp.StatusCode)
	}
	return resp, cookie
}

// tryToEnter is enter; without a session the cookie is nil.
func (g *guarded) tryToEnter(b *realop.Browser, name, page string) (*http.Response, *http.Cookie) {
	g.t.Helper()
	resp, err := b.SignIn(g.t.Context(), g.url+page, realop.User{Username: name, Password: "demo"})
	if err != nil {
		g.t.Fatal(err)
	}
	u, err := url.Parse(g.url)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, c := range b.Client.Jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "curfew") {
			return resp, c
		}
	}
	return resp, nil
}

// signedIn is a new session's cookie.
func (g *guarded) signedIn(name string) *http.Cookie {
	g.t.Helper()
	_, cookie := g.enter(g.browser(), name, "/auth/login?rd=/")
	return cookie
}

// told is what curfew says of a session, asked through the proxy.
func (g *guarded) told(cookie *http.Cookie, member string) string {
	g.t.Helper()
	_, body := g.send(g.request(http.MethodGet, "/auth/session", cookie, nil, nil))
	var about map[string]any
	if err := json.Unmarshal([]byte(body), &about); err != nil {
		g.t.Fatalf("/auth/session: %v: %s", err, body)
	}
	value, _ := about[member].(string)
	return value
}

// request makes one for the proxy. Header names are sent as they are written.
func (g *guarded) request(method, path string, cookie *http.Cookie, header http.Header, body io.Reader) *http.Request {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	if cookie != nil {
		req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	return req
}

// send sends a request through the proxy; the body has been read.
func (g *guarded) send(req *http.Request) (*http.Response, string) {
	g.t.Helper()
	resp, err := g.fresh.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp, string(body)
}

// seen is what the sample application says it was sent.
type seen struct {
	Method, URI, Host, Body string
	Header                  http.Header
}

func (g *guarded) seen(body string) seen {
	g.t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		g.t.Fatalf("the application did not answer: %s", body)
	}
	return s
}

// sample is an application: it says what it was sent, fails when it is told to,
// and echoes what comes over an upgraded connection.
func sample(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/status/401":
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/status/403":
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/status/500":
		w.WriteHeader(http.StatusInternalServerError)
	case r.Header.Get("Upgrade") == "websocket" && strings.EqualFold(r.Header.Get("Connection"), "upgrade"):
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		line, _ := buffer.ReadString('\n')
		io.WriteString(conn, "echo "+line)
		return
	}
	body, _ := io.ReadAll(r.Body)
	said := seen{Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header, Body: string(body)}
	_ = json.NewEncoder(w).Encode(said)
}

// upgrade asks for a websocket and sends a line over it.
func (g *guarded) upgrade(cookie *http.Cookie) (status int, line string) {
	g.t.Helper()
	req := g.request(http.MethodGet, "/socket", cookie, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Fetch-Mode": {"websocket"},
	}, nil)
	// A client with a time limit hides the connection.
	resp, err := g.fresh.Transport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	conn, open := resp.Body.(io.ReadWriter)
	if resp.StatusCode != http.StatusSwitchingProtocols || !open {
		return resp.StatusCode, ""
	}
	io.WriteString(conn, "hello\n")
	line, err = bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, line
}

// relay hands each connection on to the next replica, and counts them.
type relay struct {
	net.Listener
	opened atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
	done  bool
}

func newRelay(t *testing.T, replicas []*replica) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	t.Cleanup(r.close)
	addresses := make([]string, len(replicas))
	for i, replica := range replicas {
		addresses[i] = strings.TrimPrefix(replica.public, "http://")
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			n := int(r.opened.Add(1))
			go r.join(in, addresses[n%len(addresses)])
		}
	}()
	return r
}

// join copies both ways until either side ends.
func (r *relay) join(in net.Conn, address string) {
	out, err := net.Dial("tcp", address)
	if err != nil {
		in.Close()
		return
	}
	if !r.keep(in, out) {
		return
	}
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			in.Close()
			out.Close()
		}()
	}
}

func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conns...)
	if r.done {
		for _, c := range conns {
			c.Close()
		}
	}
	return !r.done
}

// close ends it, with its connections.
func (r *relay) close() {
	r.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	for _, c := range r.conns {
		c.Close()
	}
}
