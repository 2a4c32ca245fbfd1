package backchannel

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// keySet is what one look at the OP's keys has found.
type keySet struct {
	url  string
	keys []jose.JSONWebKey
	at   time.Time
}

// verify tries the keys that may have made a signature: those of its key id, and
// those without one. A token without a key id has every key tried.
func (s *keySet) verify(jws *jose.JSONWebSignature) ([]byte, bool) {
	header := jws.Signatures[0].Header
	for i := range s.keys {
		key := &s.keys[i]
		if header.KeyID != "" && key.KeyID != "" && key.KeyID != header.KeyID || !fits(key.Key, header.Algorithm) {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// fits reports whether an algorithm signs with keys of this kind (RFC 7518
// section 3.1, RFC 8037 section 3.1). The key's own alg is not looked at: some
// OPs write one and sign with another.
func fits(key any, alg string) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Params().Name]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// readKeys reads a JWK Set (RFC 7517 section 5). Keys that are of no use are
// left out; a set without any other is an error, since an OP that signs has a
// key.
func readKeys(data []byte, logger *slog.Logger) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("no key set: %w", err)
	}
	var keys []jose.JSONWebKey
	for i, raw := range set.Keys {
		key, err := readKey(raw)
		if err != nil {
			logger.Debug("leaving out a key of the provider", "index", i, "error", err)
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of %d keys can verify a signature", len(set.Keys))
	}
	return keys, nil
}

// readKey reads a public key for signatures. Of its members only those are read
// that make the key: a certificate beside it that does not parse spoils nothing.
func readKey(raw json.RawMessage) (jose.JSONWebKey, error) {
	var bare struct {
		Type   string `json:"kty"`
		Use    string `json:"use,omitempty"`
		ID     string `json:"kid,omitempty"`
		Curve  string `json:"crv,omitempty"`
		X      string `json:"x,omitempty"`
		Y      string `json:"y,omitempty"`
		N      string `json:"n,omitempty"`
		E      string `json:"e,omitempty"`
		D      any    `json:"d,omitempty"`
		Secret any    `json:"k,omitempty"`
	}
	if err := json.Unmarshal(raw, &bare); err != nil {
		return jose.JSONWebKey{}, err
	}
	switch {
	case bare.D != nil || bare.Secret != nil:
		return jose.JSONWebKey{}, errors.New("a private or symmetric key, which anyone could have read there")
	case bare.Use != "" && bare.Use != "sig":
		return jose.JSONWebKey{}, fmt.Errorf("use is %s", quote(bare.Use))
	}
	for _, number := range []*string{&bare.X, &bare.Y, &bare.N, &bare.E} {
		*number = strings.TrimRight(*number, "=")
	}
	clean, err := json.Marshal(bare)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(clean); err != nil {
		return jose.JSONWebKey{}, err
	}
	if !key.Valid() {
		return jose.JSONWebKey{}, errors.New("no public key")
	}
	return key, nil
}
