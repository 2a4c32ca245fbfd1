package optest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"

	jose "github.com/go-jose/go-jose/v4"
)

// kind is the kind of key an algorithm signs with.
type kind string

const (
	kindRSA    kind = "RSA"
	kindEC     kind = "EC"
	kindEd     kind = "OKP"
	kindSecret kind = "oct" // the client's own secret
)

// kindOf is the kind of key that alg signs with, empty if this provider does not
// sign with it.
func kindOf(alg string) kind {
	switch alg {
	case "RS256", "PS256":
		return kindRSA
	case "ES256":
		return kindEC
	case "EdDSA":
		return kindEd
	case "HS256", "HS512":
		return kindSecret
	default:
		return ""
	}
}

// key is a signing key with the name it is published under.
type key struct {
	id     string
	kind   kind
	signer crypto.Signer
}

func newKey(kind kind) (*key, error) {
	signer, err := newSigner(kind)
	if err != nil {
		return nil, fmt.Errorf("make %s key: %w", kind, err)
	}
	public := jose.JSONWebKey{Key: signer.Public()}
	thumb, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("name %s key: %w", kind, err)
	}
	return &key{id: base64.RawURLEncoding.EncodeToString(thumb[:12]), kind: kind, signer: signer}, nil
}

func newSigner(kind kind) (crypto.Signer, error) {
	switch kind {
	case kindRSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	case kindEC:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
}

// keyring holds the keys of now, which sign; those of before the last rotation,
// which are still published; and older ones, by which nothing is recognised but
// this provider's own ID tokens coming back as hints.
type keyring struct {
	mu          sync.Mutex
	generations []map[kind]*key // newest first
}

// rotate begins a generation with a key for each of the algorithms.
func (k *keyring) rotate(algs []string) error {
	generation := make(map[kind]*key)
	for _, alg := range algs {
		kind := kindOf(alg)
		if kind == kindSecret || generation[kind] != nil {
			continue
		}
		key, err := newKey(kind)
		if err != nil {
			return err
		}
		generation[kind] = key
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.generations = slices.Insert(k.generations, 0, generation)
	return nil
}

// signing is the key that signs with alg now. One for an algorithm that is not
// in regular use is made when first asked for, and published.
func (k *keyring) signing(alg string) (*key, error) {
	kind := kindOf(alg)
	if kind == "" || kind == kindSecret {
		return nil, fmt.Errorf("no key signs with %q", alg)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.generations) == 0 {
		return nil, errors.New("there are no keys before Handler has been called")
	}
	if key := k.generations[0][kind]; key != nil {
		return key, nil
	}
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	k.generations[0][kind] = key
	return key, nil
}

// public is the key set for clients: this generation and the one before.
func (k *keyring) public() jose.JSONWebKeySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, generation := range k.generations[:min(2, len(k.generations))] {
		for _, key := range generation {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.signer.Public(), KeyID: key.id, Use: "sig"})
		}
	}
	return set
}

// verifying finds a public key of any generation by its name; nil if it is none
// of ours.
func (k *keyring) verifying(id string) crypto.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, generation := range k.generations {
		for _, key := range generation {
			if key.id == id {
				return key.signer.Public()
			}
		}
	}
	return nil
}

// RotateKeys signs with new keys from now on. The keys of before stay published
// until the next rotation, so that what they signed can still be checked.
func (p *Provider) RotateKeys() error {
	if err := p.keys.rotate(p.algs()); err != nil {
		return fmt.Errorf("optest: rotate keys: %w", err)
	}
	return nil
}
