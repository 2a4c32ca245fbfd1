package rp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// op is an OP that needs no network, so that its tests may run in a bubble of
// synthetic time. It does what is asked of it and errs where its hooks say.
type op struct {
	t      testing.TB
	issuer string
	key    *ecdsa.PrivateKey
	codes  map[string]asked

	mu        sync.Mutex                          // held while it answers, and by change
	down      bool                                // answers nothing
	discovery map[string]any                      // over the discovery document
	idToken   func(header, claims map[string]any) // alters the ID token
	answer    map[string]any                      // over the token answer
	refuse    http.HandlerFunc                    // answers instead of the token endpoint
	exchanged func()                              // runs while a code is exchanged
	userinfo  http.HandlerFunc
	requests  []*http.Request // to the token endpoint
	strays    []*http.Request // to where nobody should ask
}

// asked is an authorization request that was granted.
type asked struct{ nonce, challenge, redirect string }

func newOP(t testing.TB) *op {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &op{t: t, issuer: "https://op.example.com", key: key, codes: make(map[string]asked)}
}

var errDown = errors.New("connection refused")

// RoundTrip makes the OP an http.Client's transport.
func (o *op) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return nil, errDown
	}
	w := httptest.NewRecorder()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		o.sendJSON(w, o.document())
	case "/token":
		o.token(w, r)
	case "/userinfo":
		o.userinfo(w, r)
	default:
		o.strays = append(o.strays, r)
		http.NotFound(w, r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// change alters the OP while somebody may be asking it.
func (o *op) change(how func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how()
}

func (o *op) client() *http.Client { return &http.Client{Transport: o} }

func (o *op) sendJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		o.t.Error(err)
	}
}

func (o *op) document() map[string]any {
	document := map[string]any{
		"issuer":                                o.issuer,
		"authorization_endpoint":                o.issuer + "/authorize",
		"token_endpoint":                        o.issuer + "/token",
		"userinfo_endpoint":                     o.issuer + "/userinfo",
		"end_session_endpoint":                  o.issuer + "/end",
		"jwks_uri":                              o.issuer + "/keys",
		"id_token_signing_alg_values_supported": []string{"none", "HS256", "ES256"},
	}
	overlay(document, o.discovery)
	return document
}

// overlay puts members over others; nil takes one away.
func overlay(members, over map[string]any) {
	for name, value := range over {
		if members[name] = value; value == nil {
			delete(members, name)
		}
	}
}

// grant has the user sign in at the OP: it takes an authorization request and
// returns the parameters that the browser comes back with.
func (o *op) grant(location string) url.Values {
	u, err := url.Parse(location)
	if err != nil || u.Path != "/authorize" {
		o.t.Fatalf("not an authorization request: %s", location)
	}
	query := u.Query()
	code := rand.Text()
	o.codes[code] = asked{query.Get("nonce"), query.Get("code_challenge"), query.Get("redirect_uri")}
	return url.Values{"code": {code}, "state": {query.Get("state")}, "iss": {o.issuer}}
}

func (o *op) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		o.t.Error(err)
	}
	o.requests = append(o.requests, r)
	if o.exchanged != nil {
		o.exchanged()
	}
	if o.refuse != nil {
		o.refuse(w, r)
		return
	}
	was, known := o.codes[r.PostFormValue("code")]
	delete(o.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	proven := base64.RawURLEncoding.EncodeToString(sum[:]) == was.challenge
	if !known || !proven || r.PostFormValue("redirect_uri") != was.redirect {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		o.sendJSON(w, map[string]string{"error": "invalid_grant", "error_description": "the code is not good"})
		return
	}
	answer := map[string]any{
		"access_token": "access-token", "token_type": "Bearer", "refresh_token": "refresh-token", "expires_in": 300,
		"id_token": o.mint(was.nonce),
	}
	overlay(answer, o.answer)
	o.sendJSON(w, answer)
}

// mint makes an ID token.
func (o *op) mint(nonce string) string {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": o.issuer, "aud": "client", "sub": "user-1", "sid": "sid-1", "nonce": nonce,
		"iat": now, "exp": now + 300, "auth_time": now - 60,
		"preferred_username": "ada", "email": "ada@example.com", "name": "Ada L", "groups": []string{"admins", "staff"},
	}
	header := map[string]any{}
	if o.idToken != nil {
		o.idToken(header, claims)
	}
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return o.sign(header, claims)
}

func (o *op) sign(header, claims map[string]any) string {
	signing := jose.SigningKey{Algorithm: jose.ES256, Key: o.key}
	if header["alg"] == "HS256" {
		signing = jose.SigningKey{Algorithm: jose.HS256, Key: []byte(hmacSecret)}
	}
	options := &jose.SignerOptions{}
	for name, value := range header {
		if name != "alg" {
			options.WithHeader(jose.HeaderKey(name), value)
		}
	}
	signer, err := jose.NewSigner(signing, options)
	if err != nil {
		o.t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		o.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		o.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		o.t.Fatal(err)
	}
	return token
}

const hmacSecret = "a client secret of at least 32 bytes"

// opKeys verifies what the OP has signed, unless its keys are not to be had.
type opKeys struct {
	op  *op
	err error
}

func (k *opKeys) VerifySignature(_ context.Context, token string) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.HS256})
	if err != nil {
		return nil, err
	}
	if signed.Signatures[0].Header.Algorithm == "HS256" {
		return signed.Verify([]byte(hmacSecret))
	}
	return signed.Verify(&k.op.key.PublicKey)
}

// outageError is how Keys says that the keys are not to be had.
type outageError struct{}

func (outageError) Error() string     { return "keys: connection refused" }
func (outageError) Unavailable() bool { return true }
