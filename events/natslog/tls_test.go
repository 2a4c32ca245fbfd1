package natslog

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// authority signs certificates, and keeps all in files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca")
	return a
}

// issue makes a certificate for loopback; the first one signs itself and those
// that come after.
func (a *authority) issue(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: a.cert == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	a.save(name+".crt", "CERTIFICATE", der)
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.save(name+".key", "EC PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) save(name, kind string, der []byte) {
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// TestTLS has a server let in whom the authority knows, and the log trust no
// server that it doesn't.
func TestTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	ours.issue("server")
	ours.issue("client")
	others.issue("client")
	r := newRemote(t, func(o *server.Options) {
		config, err := server.GenTLSConfig(&server.TLSConfigOpts{
			CertFile: ours.file("server.crt"), KeyFile: ours.file("server.key"), CaFile: ours.file("ca.crt"), Verify: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.TLSConfig, o.TLSVerify, o.TLSTimeout = config, true, 5
	})
	base := remoteConfig("tls://" + r.server.Addr().String())
	for name, tt := range map[string]struct {
		ca, client *authority
		ok         bool
	}{
		"ours":              {ours, ours, true},
		"no client":         {ours, nil, false},
		"another client":    {ours, others, false},
		"another authority": {others, ours, false},
	} {
		config := base
		config.CA = tt.ca.file("ca.crt")
		if tt.client != nil {
			config.Cert, config.Key = tt.client.file("client.crt"), tt.client.file("client.key")
		}
		if tt.ok {
			open(t, config)
			continue
		}
		log := start(t, config)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := log.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}
