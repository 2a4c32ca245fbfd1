package backchannel

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	testIssuer = "https://op.example.com"
	testClient = "curfew"
	testSecret = "a short client secret"
	testNow    = 1780000000
)

func testTime() time.Time { return time.Unix(testNow, 0).UTC() }

// testKeys are the keys of testdata/keys.json by id.
func testKeys(tb testing.TB) map[string]any {
	tb.Helper()
	data, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		tb.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		tb.Fatal(err)
	}
	keys := make(map[string]any)
	for _, key := range set.Keys {
		keys[key.KeyID] = key.Key
	}
	return keys
}

// published is the public half of a key as a member of a key set. Use may be
// empty.
func published(tb testing.TB, key any, id, use string) json.RawMessage {
	tb.Helper()
	data, err := json.Marshal(jose.JSONWebKey{Key: key.(crypto.Signer).Public(), KeyID: id, Use: use})
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// mint makes tokens.
type mint struct {
	tb   testing.TB
	keys map[string]any
}

func newMint(tb testing.TB) *mint { return &mint{tb: tb, keys: testKeys(tb)} }

func plainClaims() map[string]any {
	return map[string]any{
		"iss": testIssuer, "aud": testClient, "iat": testNow, "exp": testNow + 120,
		"jti": "j-1", "sub": "alice", "sid": "s-1",
		"events": map[string]any{eventName: map[string]any{}},
	}
}

// token signs claims with RS256 and the key of an id, put over the plain ones.
func (m *mint) token(kid string, patch map[string]any) string {
	claims := plainClaims()
	maps.Copy(claims, patch)
	header := map[string]any{"alg": "RS256", "kid": kid, "typ": "logout+jwt"}
	return m.sign(m.json(header), m.json(claims), "RS256", kid)
}

func (m *mint) json(v any) []byte {
	m.tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		m.tb.Fatal(err)
	}
	return data
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (m *mint) sign(header, payload []byte, alg, key string) string {
	m.tb.Helper()
	input := encode(header) + "." + encode(payload)
	signature, err := m.signature([]byte(input), alg, key)
	if err != nil {
		m.tb.Fatalf("sign with %s and %s: %v", alg, key, err)
	}
	return input + "." + encode(signature)
}

func (m *mint) signature(input []byte, alg, key string) ([]byte, error) {
	if key == "nobody" {
		return nil, nil
	}
	if strings.HasPrefix(alg, "HS") {
		return m.mac(input, alg, key), nil
	}
	if alg == "EdDSA" {
		return ed25519.Sign(m.keys[key].(ed25519.PrivateKey), input), nil
	}
	kind, digest := crypto.SHA256, sha256Of(input)
	if strings.HasSuffix(alg, "512") {
		sum := sha512.Sum512(input)
		kind, digest = crypto.SHA512, sum[:]
	}
	switch signer := m.keys[key].(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, signer, digest)
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	default:
		private := signer.(*rsa.PrivateKey)
		if strings.HasPrefix(alg, "PS") {
			return rsa.SignPSS(rand.Reader, private, kind, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(rand.Reader, private, kind, digest)
	}
}

func sha256Of(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

// mac signs with the client's secret or, as key confusion would have it, with
// the text of the OP's public key.
func (m *mint) mac(input []byte, alg, key string) []byte {
	secret := []byte(testSecret)
	if key == "public" {
		der, err := x509.MarshalPKIXPublicKey(m.keys["rsa"].(crypto.Signer).Public())
		if err != nil {
			m.tb.Fatal(err)
		}
		secret = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	mac := hmac.New(map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}[alg], secret)
	mac.Write(input)
	return mac.Sum(nil)
}
