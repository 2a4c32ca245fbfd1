package proof

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
)

const (
	opHost       = "op.example.com"
	clientID     = "curfew"
	clientSecret = "a-secret-for-the-proof"
	// accessLife is short, so that there is much to refresh.
	accessLife = 6 * time.Second
)

// op is the OpenID Provider: package optest's, behind TLS, which fails on
// demand and watches how refresh tokens are used.
type op struct {
	*optest.Provider
	t       *testing.T
	history *history
	server  *httptest.Server
	caFile  string
	roots   *x509.CertPool

	mu      sync.Mutex
	down    bool          // it answers 503 at the door
	slow    time.Duration // it answers, but late
	forgets bool          // it does what it is asked, and the answer is lost
	names   map[string]person
	byCode  map[string]person // who is behind a code, once it has been redeemed
	revoked map[string]bool   // sids whose refresh tokens it takes no more
	newest  string            // the sid of the newest refresh, whose answer may be on its way
}

// person is whom tokens are about.
type person struct{ Sub, Sid string }

func newOP(t *testing.T, h *history, publicURL string, people int) *op {
	o := &op{
		t: t, history: h,
		names: make(map[string]person), byCode: make(map[string]person), revoked: make(map[string]bool),
	}
	certificate := o.certify()
	o.Provider = &optest.Provider{
		Issuer: "https://" + opHost, Alg: "ES256", AccessLife: accessLife, Now: time.Now,
		HTTP: http.DefaultClient, Logger: slog.New(slog.DiscardHandler),
		Clients: []optest.Client{{
			ID: clientID, Secret: clientSecret,
			RedirectURIs:   []string{publicURL + "/auth/callback"},
			PostLogoutURIs: []string{publicURL + "/auth/signed-out"},
		}},
	}
	for i := range people {
		name := "person" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		o.Users = append(o.Users, optest.User{Sub: "sub-" + name, Username: name, Password: name, Name: name, Email: name + "@example.com"})
	}
	handler, err := o.Handler()
	if err != nil {
		t.Fatal(err)
	}
	o.server = httptest.NewUnstartedServer(o.fail(o.watch(handler)))
	o.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	o.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	o.server.StartTLS()
	t.Cleanup(o.server.Close)
	return o
}

// certify makes a certificate for the OP's name, and the file by which the
// replicas trust it.
func (o *op) certify() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: opHost}, DNSNames: []string{opHost},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		o.t.Fatal(err)
	}
	o.caFile = filepath.Join(o.t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(o.caFile, text, 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.roots = x509.NewCertPool()
	o.roots.AppendCertsFromPEM(text)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// set changes what befalls the OP.
func (o *op) set(what func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what()
}

func (o *op) heal() { o.set(func() { o.down, o.slow, o.forgets = false, 0, false }) }

// fail has requests fail that come from replicas: to the token endpoint and for
// the keys.
func (o *op) fail(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		down, slow := o.down, o.slow
		o.mu.Unlock()
		if r.URL.Path != "/token" && r.URL.Path != "/jwks" {
			next.ServeHTTP(w, r)
			return
		}
		if down {
			http.Error(w, "down for the proof", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
		pause(r.Context(), slow)
	})
}

// watch reads what the token endpoint is asked and answers. An answer is lost
// with its connection.
func (o *op) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		form := *r
		form.Body = io.NopCloser(strings.NewReader(string(body)))
		if err := form.ParseForm(); err != nil {
			return
		}
		seen := httptest.NewRecorder()
		refresh := form.PostForm.Get("refresh_token")
		who := o.whose(refresh)
		if refresh != "" {
			o.set(func() { o.newest = who.Sid })
		}
		if refresh != "" && o.isRevoked(who.Sid) {
			seen.Header().Set("Content-Type", "application/json")
			seen.WriteHeader(http.StatusBadRequest)
			_, _ = seen.WriteString(`{"error":"invalid_grant"}`)
		} else {
			next.ServeHTTP(seen, r)
		}
		o.mu.Lock()
		lost := o.forgets && refresh != ""
		o.mu.Unlock()
		o.remember(form.PostForm.Get("code"), refresh, seen, !lost)
		if lost {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), seen.Header())
		w.WriteHeader(seen.Code)
		_, _ = w.Write(seen.Body.Bytes())
	})
}

// remember notes whom new tokens are about, and that an old one was shown.
func (o *op) remember(code, refresh string, seen *httptest.ResponseRecorder, answered bool) {
	var answer struct {
		ID      string `json:"id_token"`
		Refresh string `json:"refresh_token"`
	}
	_ = json.Unmarshal(seen.Body.Bytes(), &answer)
	granted := answer.ID != ""
	if refresh != "" {
		o.history.addPresented(presented{refresh, o.history.now(), answered, granted})
	}
	if !granted {
		return
	}
	var who person
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(answer.ID, ".")[1])
	if err == nil {
		err = json.Unmarshal(claims, &who)
	}
	if err != nil {
		o.t.Errorf("the OP's ID token: %v", err)
	}
	o.set(func() {
		o.names[answer.Refresh] = who
		if code != "" {
			o.byCode[code] = who
		}
	})
}

func (o *op) whose(refresh string) person {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.names[refresh]
}

func (o *op) whoseCode(code string) (person, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	who, known := o.byCode[code]
	return who, known
}

func (o *op) newestRefresh() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}

func (o *op) isRevoked(sid string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.revoked[sid]
}

// opLink is a replica's way to the OP: an HTTP proxy of its own, which can be
// cut.
type opLink struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newOPLink(t *testing.T, o *op) *opLink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &opLink{listener: l, target: o.server.Listener.Addr().String(), conns: make(map[net.Conn]bool)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go k.join(conn)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		k.set(true)
	})
	return k
}

// set cuts the link, or mends it. What is under way when it is cut is cut off.
func (k *opLink) set(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = cut
	for conn := range k.conns {
		if cut {
			conn.Close()
		}
	}
}

// admit notes a connection, unless the link is cut.
func (k *opLink) admit(conns ...net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range conns {
		k.conns[conn] = true
	}
	return !k.cut
}

func (k *opLink) release(conns ...net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
		delete(k.conns, conn)
	}
}

// join serves one CONNECT.
func (k *opLink) join(client net.Conn) {
	defer client.Close()
	from := bufio.NewReader(client)
	request, err := http.ReadRequest(from)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	server, err := net.Dial("tcp", k.target)
	if err != nil {
		return
	}
	defer k.release(client, server)
	if !k.admit(client, server) {
		return
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, from)
		server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// pause waits, but not beyond ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
