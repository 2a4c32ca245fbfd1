package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// examples are the two subscribers, each with what shortens its websockets.
var examples = []struct {
	name    string
	command func(*testing.T) []string
	short   string
}{
	{"Go", goSubscriber, "LONGEST=500ms"},
	{"JavaScript", nodeSubscriber, "LONGEST_MS=500"},
}

// localCertificate is for localhost, and for who trusts the file.
func localCertificate(t *testing.T) (pair tls.Certificate, file string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})))
	return tls.Certificate{Certificate: [][]byte{public}, PrivateKey: private}, file
}

// TestSubscribersOverTLS: who they are may have any letters in it, which stand in a
// URL in another way.
func TestSubscribersOverTLS(t *testing.T) {
	const user, password = "sub/scriber", "p@ss:w%rd/?"
	pair, trusted := localCertificate(t)
	nats, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: user, Password: password,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, TLSTimeout: patient.Seconds(),
	})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
	if !nats.ReadyForConnections(patient) {
		t.Fatal("the NATS server is not ready")
	}
	at := url.URL{Scheme: "tls", User: url.UserPassword(user, password), Host: fmt.Sprintf("localhost:%d", nats.Addr().(*net.TCPAddr).Port)}
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			env := []string{"NATS_URL=" + at.String(), "SSL_CERT_FILE=" + trusted, "NODE_EXTRA_CA_CERTS=" + trusted}
			s := startSubscriber(t, env, example.command(t))
			conn, status := s.open(http.Header{"X-Curfew-Session": {"one"}})
			if conn == nil {
				t.Fatalf("a websocket is answered %d", status)
			}
			wantEcho(t, conn)
		})
	}
}

// TestSubscribersInsistOnTLS where the URL does: a server that offers none, or
// someone who stands between, gets nothing from them, and above all no password.
func TestSubscribersInsistOnTLS(t *testing.T) {
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			command := example.command(t)
			p := startProcess(t, []string{"NATS_URL=tls://subscriber:change-me@" + l.Addr().String(), "LISTEN=127.0.0.1:0"}, command[0], command[1:]...)
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, `INFO {"server_id":"x","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}`+"\r\n")
			if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
				t.Errorf("a server without TLS is told %q: %v", got, err)
			}
			l.Close()
			select {
			case <-p.ended:
			case <-time.After(patient):
				t.Fatal("it goes on without NATS")
			}
			if said := p.said(); strings.Contains(said, "listening on") || !strings.Contains(said, "tls") && !strings.Contains(said, "secure connection") {
				t.Errorf("it said %q", said)
			}
		})
	}
}

func TestSubscriberInJavaScriptNamesWhatIsNoAddress(t *testing.T) {
	command := nodeSubscriber(t)
	for _, address := range []string{"", "nats.example.com:4222", "wss://127.0.0.1:1", "nats://127.0.0.1:1,http://127.0.0.1:1"} {
		p := startProcess(t, []string{"NATS_URL=" + address, "LISTEN=127.0.0.1:0"}, command[0], command[1:]...)
		p.waitLine("what is wanted", func(line string) bool { return strings.HasPrefix(line, "NATS_URL: want nats://") })
	}
}

// TestSubscribersOutliveThoseWhoHangUp: a client that asks for a websocket and
// resets its connection before it is answered takes nobody else with it.
func TestSubscribersOutliveThoseWhoHangUp(t *testing.T) {
	nats := newPost(t)
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			s := startSubscriber(t, []string{"NATS_URL=" + nats.as(guest)}, example.command(t))
			for i := range 100 {
				session := []string{"", "X-Curfew-Session: one\r\n"}[i%2]
				s.hangsUp(t, session)
			}
			if _, status := s.open(nil); status != http.StatusUnauthorized {
				t.Errorf("afterwards, a websocket without a session is answered %d", status)
			}
		})
	}
}

// hangsUp asks for a websocket, and resets the connection.
func (s *subscriber) hangsUp(t *testing.T, header string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatalf("it is gone: %v", err)
	}
	fmt.Fprintf(conn, "GET /live HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", s.address, header)
	// With nothing to linger for, what is closed is reset.
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
