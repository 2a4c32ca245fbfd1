package backchannel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

const (
	// patience is what a look at the OP's keys may take.
	patience = 5 * time.Second
	// burst and every ration the looks: so many at once, then one each time
	// this has passed.
	burst = 5
	every = 10 * time.Second
	// stale is how old keys may be before they are looked at again without
	// need, so that a key that the OP has withdrawn is not trusted for ever.
	stale = time.Hour
)

// Keys are the OP's signing keys, as its JWK Set has them: an oidc.KeySet for ID
// tokens and logout tokens alike. Its fields must not be changed once it is
// used. The zero value verifies nothing.
//
// Keys are fetched when they are first needed and kept. A signature that no key
// kept has made leads to a fresh look, so that rotated keys are found at once.
// However many such signatures come at a time, one look is under way at most,
// and looks are rationed: five at once, then one in ten seconds. A signature by
// a key that is kept never waits for that.
//
// Which algorithms are allowed is not checked, but an HMAC is checked with the
// Secret alone, never with a key of the OP.
type Keys struct {
	// URL is where the OP publishes its keys; false while that is not known.
	URL func() (string, bool)
	// HTTP fetches them; nil means http.DefaultClient. A fetch ends after five
	// seconds whatever the client's own bound is.
	HTTP *http.Client
	// Secret is the client's secret, for HS256, HS384 and HS512. Without it
	// nothing signed so is verified.
	Secret []byte
	Now    func() time.Time
	Logger *slog.Logger

	mu      sync.Mutex
	set     keySet // the newest found
	failed  error  // what the newest look came to nothing for
	begun   uint64 // looks, ever
	flight  *flight
	limiter *rate.Limiter
}

// VerifySignature verifies a compact JWS and returns its payload. The error is
// a *KeyError: a signature is bad only if a look at the OP's keys that began
// after the call came to its end and did not have the key.
//
// A caller whose ctx ends is let go, unless it is the one that is looking: it
// stays for the others' sake until the look ends, at most five seconds.
func (k *Keys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, joseAlgorithms())
	if err != nil {
		// The parser's error may quote the token.
		return nil, &KeyError{Err: errors.New("no signed token of a known algorithm")}
	}
	if strings.HasPrefix(jws.Signatures[0].Header.Algorithm, "HS") {
		return k.verifySecret(jwt, jws)
	}
	url := k.url()
	set, begun := k.kept(url)
	payload, good := set.verify(jws)
	if good && k.Now().Sub(set.at) < stale {
		return payload, nil
	}
	fresh, trouble := k.lookFor(ctx, jws, url, begun)
	switch {
	case trouble == nil:
		return fresh, nil
	case good && trouble.Unavailable():
		k.Logger.Warn("trusting keys of the provider that are old", "since", set.at, "error", trouble)
		return payload, nil
	default:
		return nil, trouble
	}
}

// url is where the keys are; empty while that is not known.
func (k *Keys) url() string {
	if k.URL == nil {
		return ""
	}
	url, known := k.URL()
	if !known {
		return ""
	}
	return url
}

// kept returns the keys that are kept, and how many looks have begun by now.
// Keys from elsewhere are not kept once the OP publishes them at another place.
func (k *Keys) kept(url string) (set keySet, begun uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if url != "" && k.set.url != url {
		k.set = keySet{url: url}
	}
	return k.set, k.begun
}

func joseAlgorithms() []jose.SignatureAlgorithm {
	list := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, alg := range algorithms {
		list[i] = jose.SignatureAlgorithm(alg)
	}
	return list
}

// verifySecret computes the HMAC itself: go-jose asks for secrets as long as the
// hash, and OPs hand out shorter ones (Keycloak: 32 characters, for HS512 too).
func (k *Keys) verifySecret(jwt string, jws *jose.JSONWebSignature) ([]byte, error) {
	if len(k.Secret) == 0 {
		return nil, &KeyError{Err: errors.New("signed with a shared secret, and there is none")}
	}
	newHash := map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}
	mac := hmac.New(newHash[jws.Signatures[0].Header.Algorithm], k.Secret)
	mac.Write([]byte(jwt[:strings.LastIndexByte(jwt, '.')]))
	if !hmac.Equal(mac.Sum(nil), jws.Signatures[0].Signature) {
		return nil, &KeyError{Err: errors.New("the shared secret did not make the signature")}
	}
	return jws.UnsafePayloadWithoutVerification(), nil
}
