package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// enough is an environment that has what is required.
func enough() map[string]string {
	return map[string]string{
		"OIDC_ENDPOINT":      "https://id.example.com/realms/main",
		"OIDC_CLIENT_ID":     "curfew",
		"OIDC_CLIENT_SECRET": "hush",
		"CURFEW_PUBLIC_URL":  "https://app.example.com",
	}
}

func load(env map[string]string) (config, error) {
	return loadConfig(sources{env: func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}})
}

func with(pairs ...string) map[string]string {
	env := enough()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			delete(env, pairs[i])
		} else {
			env[pairs[i]] = pairs[i+1]
		}
	}
	return env
}

func TestDefaults(t *testing.T) {
	c, err := load(enough())
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"prefix":       {c.prefix, "/auth"},
		"listen":       {c.listen, "127.0.0.1:4180"},
		"admin":        {c.adminListen, "127.0.0.1:4181"},
		"data":         {c.data, "./curfew-data"},
		"redirect":     {c.providers[0].redirectURI.String(), "https://app.example.com/auth/callback"},
		"after logout": {c.providers[0].postLogoutURI.String(), "https://app.example.com/auth/signed-out"},
		"scopes":       {strings.Join(c.scopes, " "), "openid email profile offline_access"},
		"client auth":  {c.clientAuth, "auto"},
		"claim source": {c.claimSource, "id_token"},
		"username":     {strings.Join(c.usernameClaims, ","), "preferred_username,email,sub"},
		"groups":       {c.groupsClaim, "groups"},
		"stream":       {c.natsStream, "CURFEW"},
		"replicas":     {c.natsReplicas, 1},
		"lifetime":     {c.lifetime, 12 * time.Hour},
		"idle":         {c.idle, time.Duration(0)},
		"until access": {c.untilAccess, false},
		"staleness":    {c.maxStaleness, 15 * time.Second},
		"wait":         {c.logoutWait, 2 * time.Second},
		"missing exp":  {c.allowMissingExp, true},
		"cookie":       {c.cookieName(), "__Host-curfew"},
		"secure":       {c.secure(), true},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}
	for _, remote := range []string{"127.0.0.1:1", "[::1]:1", "@", ""} {
		if !isTrusted(c.trustedProxies, remote) {
			t.Errorf("%q is not trusted", remote)
		}
	}
	for _, remote := range []string{"10.0.0.1:1", "[2001:db8::1]:1", "nonsense"} {
		if isTrusted(c.trustedProxies, remote) {
			t.Errorf("%q is trusted", remote)
		}
	}
}

func TestEveryFaultIsNamedWithItsVariable(t *testing.T) {
	for _, c := range []struct{ name, value, says string }{
		{"OIDC_ENDPOINT", "", "is required"},
		{"OIDC_CLIENT_ID", "", "is required"},
		{"OIDC_CLIENT_SECRET", "", "is required"},
		{"CURFEW_PUBLIC_URL", "", "is required"},
		{"OIDC_ENDPOINT", "id.example.com", "no URL"},
		{"OIDC_ENDPOINT", "http://id.example.com", "must be https"},
		{"OIDC_ENDPOINT", "https://id.example.com/?a=b", "query"},
		{"OIDC_CLIENT_AUTH", "private_key_jwt", "none of auto"},
		{"OIDC_SIGNING_ALGS", "RS256,none", `"none"`},
		{"OIDC_REDIRECT_URI", "/callback", "no URL"},
		{"OIDC_SCOPES", "email", "no openid"},
		{"OIDC_AUTH_PARAMS", "a=%zz", "invalid URL escape"},
		{"OIDC_AUTH_PARAMS", "prompt=consent&state=mine", `"state"`},
		{"OIDC_TOKEN_ENCRYPTION_KEY", "short", "it has 5 characters"},
		{"OIDC_CLAIM_SOURCE", "both", "none of id_token"},
		{"OIDC_POST_LOGOUT_REDIRECT_URI", "x", "no URL"},
		{"CURFEW_PUBLIC_URL", "http://app.example.com", "must be https"},
		{"CURFEW_PUBLIC_URL", "https://app.example.com/x", "CURFEW_PREFIX"},
		{"CURFEW_PUBLIC_URL", "https://*.example.com", "wildcard"},
		{"CURFEW_PUBLIC_URL", "https://user@app.example.com", "no URL"},
		{"CURFEW_PREFIX", "auth", "no path"},
		{"CURFEW_PREFIX", "/", `"/" is no path`},
		{"CURFEW_PREFIX", "/a/{b}", "no path"},
		{"CURFEW_PREFIX", "/auth//", "no path"},
		{"CURFEW_PREFIX", "/a/../b", "no path"},
		{"CURFEW_PREFIX", "/./a", "no path"},
		{"CURFEW_PREFIX", "/a;b", "no path"},
		{"CURFEW_PREFIX", "/ä", "no path"},
		{"CURFEW_ADMIN_TOKEN", "tok ", "has white space"},
		{"CURFEW_ADMIN_TOKEN", "to\x01k", "control character"},
		{"CURFEW_ADMIN_LISTEN", "127.0.0.1:4180", "CURFEW_LISTEN's too"},
		{"CURFEW_LISTEN", "4180", "neither HOST:PORT"},
		{"CURFEW_LISTEN", "unix:", "names no path"},
		{"CURFEW_LISTEN", "127.0.0.1:65536", "no port"},
		{"CURFEW_LISTEN", "127.0.0.1:-1", "no port"},
		{"CURFEW_LISTEN", "127.0.0.1:", "no port"},
		{"CURFEW_ADMIN_LISTEN", "127.0.0.1:99999", "no port"},
		{"CURFEW_LISTEN", "127.0.0.1:http", "no port"},
		{"CURFEW_LISTEN", "127.0.0.1:0", ""},
		{"CURFEW_DATA", "config_test.go", "not a folder"},
		{"CURFEW_DATA", "config_test.go/data", "not a directory"},
		{"CURFEW_DATA", "testdata", ""},
		{"CURFEW_ADMIN_TOKEN", "", ""},
		{"CURFEW_REPLICA", "a b", "letters"},
		{"CURFEW_RETURN_TO", "app.example.com", "app.example.com"},
		{"CURFEW_COOKIE_DOMAIN", "other.org", "not a domain that"},
		{"CURFEW_COOKIE_DOMAIN", "com", "no domain"},
		{"CURFEW_TRUSTED_PROXIES", "proxy", "neither an address"},
		{"CURFEW_LOG_FORMAT", "xml", "none of text"},
		{"CURFEW_LOG_LEVEL", "loud", `"loud" is none of debug, info, warn, error`},
		{"CURFEW_NATS_URL", "nats.example.com:4222", "no URL"},
		{"CURFEW_NATS_URL", ",", "names no server"},
		{"CURFEW_NATS_CERT", "config_test.go", "CURFEW_NATS_KEY"},
		{"CURFEW_NATS_CREDS", "none.creds", "none.creds"},
		{"CURFEW_NATS_CREDS", "testdata", "directory"},
		{"CURFEW_NATS_CA", "none.pem", "none.pem"},
		{"CURFEW_NATS_CA", "config_test.go", "no certificate"},
		{"CURFEW_NATS_KEY", "none.pem", "none.pem"},
		{"CURFEW_NATS_STREAM", "a.b", "no stream name"},
		{"CURFEW_NATS_REPLICAS", "0", "1, 3 or 5"},
		{"CURFEW_NATS_REPLICAS", "2", "1, 3 or 5"},
		{"CURFEW_NATS_REPLICAS", "3", "CURFEW_NATS_URL"},
		{"CURFEW_SESSION_LIFETIME", "12", "no duration"},
		{"CURFEW_SESSION_LIFETIME", "1s", "not between"},
		{"CURFEW_SESSION_IDLE", "5s", "less than a minute"},
		{"CURFEW_SESSION_UNTIL", "sunset", "none of lifetime"},
		{"CURFEW_MAX_STALENESS", "0s", "not between"},
		{"CURFEW_LOGOUT_WAIT", "-1s", "not between"},
		{"CURFEW_ALLOW_MISSING_EXP", "maybe", `"maybe" is neither true nor false`},
	} {
		_, err := load(with(c.name, c.value))
		if c.says == "" {
			if err != nil {
				t.Errorf("%s=%q: %v", c.name, c.value, err)
			}
			continue
		}
		fault, ok := errors.AsType[*configError](err)
		if !ok {
			t.Errorf("%s=%q: got %v, want a *configError", c.name, c.value, err)
			continue
		}
		if len(fault.faults) != 1 || !strings.HasPrefix(fault.faults[0], c.name+": ") || !strings.Contains(fault.faults[0], c.says) {
			t.Errorf("%s=%q: got %q, want one fault of it that says %q", c.name, c.value, fault.faults, c.says)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := load(map[string]string{"CURFEW_PREFIX": "x", "CURFEW_MAX_STALENESS": "soon", "CURFEW_NATS_URL": "nats://n:4222"})
	fault, ok := errors.AsType[*configError](err)
	if !ok {
		t.Fatalf("got %v, want a *configError", err)
	}
	for _, name := range []string{
		"OIDC_ENDPOINT", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "CURFEW_PUBLIC_URL",
		"CURFEW_PREFIX", "CURFEW_MAX_STALENESS", "OIDC_TOKEN_ENCRYPTION_KEY",
	} {
		if !slices.ContainsFunc(fault.faults, func(f string) bool { return strings.HasPrefix(f, name+": ") }) {
			t.Errorf("no fault of %s in %q", name, fault.faults)
		}
	}
}

// TestFaultsHideNoOthers has what one fault leads to said once, and what it has
// nothing to do with all the same.
func TestFaultsHideNoOthers(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want []string // how the faults begin
	}{
		{[]string{"CURFEW_PUBLIC_URL", "http://app.example.com", "CURFEW_RETURN_TO", "a.example.com,https://b.example.com,https://c/d"},
			[]string{"CURFEW_PUBLIC_URL: ", `CURFEW_RETURN_TO: sessions: return origin "a.example.com"`, `CURFEW_RETURN_TO: sessions: return origin "https://c/d"`}},
		{[]string{"CURFEW_PUBLIC_URL", "", "CURFEW_RETURN_TO", "a.example.com"}, []string{"CURFEW_PUBLIC_URL: ", "CURFEW_RETURN_TO: "}},
		{[]string{"OIDC_CLIENT_SECRET", "", "OIDC_CLIENT_SECRET_FILE", "none", "OIDC_SIGNING_ALGS", "HS256"}, []string{"OIDC_CLIENT_SECRET_FILE: "}},
		{[]string{"OIDC_TOKEN_ENCRYPTION_KEY_FILE", "none", "CURFEW_NATS_URL", "nats://n:4222"}, []string{"OIDC_TOKEN_ENCRYPTION_KEY_FILE: "}},
		{[]string{"CURFEW_ADMIN_TOKEN_FILE", "none", "CURFEW_ADMIN_LISTEN", ":1"}, []string{"CURFEW_ADMIN_TOKEN_FILE: "}},
		{[]string{"OIDC_AUTH_PARAMS", "state=a&nonce=b"}, []string{"OIDC_AUTH_PARAMS: ", "OIDC_AUTH_PARAMS: "}},
		{[]string{"CURFEW_TRUSTED_PROXIES", "foo,::1,1.2.3.4/99"}, []string{`CURFEW_TRUSTED_PROXIES: "foo"`, `CURFEW_TRUSTED_PROXIES: "1.2.3.4/99"`}},
		{[]string{"OIDC_SIGNING_ALGS", "none,RS256,ZZ"}, []string{`OIDC_SIGNING_ALGS: "none"`, `OIDC_SIGNING_ALGS: "ZZ"`}},
		{[]string{"CURFEW_NATS_URL", "a:1,nats://b,http://c"}, []string{`CURFEW_NATS_URL: "a:1"`, `CURFEW_NATS_URL: "http://c"`}},
	} {
		_, err := load(with(c.env...))
		fault, ok := errors.AsType[*configError](err)
		if !ok {
			t.Errorf("%q: got %v", c.env, err)
			continue
		}
		if !slices.EqualFunc(fault.faults, c.want, strings.HasPrefix) {
			t.Errorf("%q: got %q, want %q", c.env, fault.faults, c.want)
		}
	}
}

// TestClientCertificate has certificate and key looked at beside each other.
func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key)
	c, err := load(with("CURFEW_NATS_CERT", cert, "CURFEW_NATS_KEY", key, "CURFEW_NATS_CA", cert))
	if err != nil || c.natsCert != cert || c.natsKey != key || c.natsCA != cert {
		t.Errorf("got %q %q %q %v", c.natsCert, c.natsKey, c.natsCA, err)
	}
	_, err = load(with("CURFEW_NATS_CERT", key, "CURFEW_NATS_KEY", cert))
	fault, _ := errors.AsType[*configError](err)
	if fault == nil || len(fault.faults) != 1 || !strings.HasPrefix(fault.faults[0], "CURFEW_NATS_CERT: ") {
		t.Errorf("turned round: got %v, want one fault of CURFEW_NATS_CERT", err)
	}
}

func writeCertificate(t *testing.T, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdminListenerBeyondThisMachineNeedsAToken(t *testing.T) {
	for listen, needed := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, "unix:/run/curfew/admin": false,
		"0.0.0.0:1": true, ":1": true, "10.0.0.1:1": true, "[::]:1": true, "admin.example.com:1": true,
	} {
		_, err := load(with("CURFEW_ADMIN_LISTEN", listen))
		if got := err != nil; got != needed {
			t.Errorf("%s: a token is needed: %v, want %v (%v)", listen, got, needed, err)
		}
		if _, err := load(with("CURFEW_ADMIN_LISTEN", listen, "CURFEW_ADMIN_TOKEN", "hush")); err != nil {
			t.Errorf("%s with a token: %v", listen, err)
		}
	}
}

func TestCookieNames(t *testing.T) {
	for _, c := range []struct{ public, domain, want string }{
		{"https://app.example.com", "", "__Host-curfew"},
		{"https://app.example.com", "example.com", "__Secure-curfew"},
		{"https://app.example.com", ".Example.com", "__Secure-curfew"},
		{"http://127.0.0.1:8080", "", "curfew"},
		{"http://localhost", "", "curfew"},
	} {
		got, err := load(with("CURFEW_PUBLIC_URL", c.public, "CURFEW_COOKIE_DOMAIN", c.domain))
		if err != nil || got.cookieName() != c.want {
			t.Errorf("%s %s: got %q %v, want %q", c.public, c.domain, got.cookieName(), err, c.want)
		}
	}
}

func TestScopesLoseTheirQuotes(t *testing.T) {
	c, err := load(with("OIDC_SCOPES", `"openid email"`))
	if err != nil || !slices.Equal(c.scopes, []string{"openid", "email"}) {
		t.Errorf("got %q %v", c.scopes, err)
	}
}

func TestHTTPIsForLoopbackAlone(t *testing.T) {
	for host, loopback := range map[string]bool{
		"localhost": true, "a.localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"10.0.0.1": false, "localhost.example.com": false, "0.0.0.0": false, "": false,
	} {
		if got := isLoopback(host); got != loopback {
			t.Errorf("%q: %v, want %v", host, got, loopback)
		}
	}
}
