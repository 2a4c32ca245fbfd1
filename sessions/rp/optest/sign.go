package optest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// compact writes header and claims as a compact JWS (RFC 7515), signed as the
// header's alg says. It is done by hand because a library rightly refuses to
// write the broken tokens that a test must be able to ask for.
func compact(header, claims map[string]any, key *key, secret []byte) (string, error) {
	head, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	encoding := base64.RawURLEncoding
	input := encoding.EncodeToString(head) + "." + encoding.EncodeToString(body)
	alg, _ := header["alg"].(string)
	signature, err := signature(alg, []byte(input), key, secret)
	if err != nil {
		return "", fmt.Errorf("sign with %q: %w", alg, err)
	}
	return input + "." + encoding.EncodeToString(signature), nil
}

// signature signs with an algorithm of RFC 7518 section 3 or RFC 8037; one that
// this provider does not know gets an empty signature, as "none" does.
func signature(alg string, input []byte, key *key, secret []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	switch alg {
	case "HS256":
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	case "HS512":
		mac := hmac.New(sha512.New, secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	case "RS256":
		return key.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	case "PS256":
		return key.signer.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case "EdDSA":
		return key.signer.Sign(rand.Reader, input, crypto.Hash(0))
	case "ES256":
		private, ok := key.signer.(*ecdsa.PrivateKey)
		if !ok {
			return nil, errors.New("the key is of another kind")
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		both := make([]byte, 64)
		r.FillBytes(both[:32])
		s.FillBytes(both[32:])
		return both, nil
	default:
		return nil, nil
	}
}

// issue signs claims for a client, as a header says.
func (p *Provider) issue(header map[string]any, client *Client, claims map[string]any) (string, error) {
	return p.sign(Mint{Client: client.ID, Header: header}, claims)
}

func headerOf(alg, typ string) map[string]any { return map[string]any{"alg": alg, "typ": typ} }

func (p *Provider) sign(mint Mint, claims map[string]any) (string, error) {
	client := p.client(mint.Client)
	if client == nil {
		return "", fmt.Errorf("client %q: %w", mint.Client, ErrUnknown)
	}
	header := map[string]any{}
	var signing *key
	secret := mint.Secret
	alg, _ := mint.Header["alg"].(string)
	switch kindOf(alg) {
	case kindSecret:
		if secret == nil {
			secret = []byte(client.Secret)
		}
	case "": // unsigned
	default:
		var err error
		if signing, err = p.keys.signing(alg); err != nil {
			return "", err
		}
		header["kid"] = signing.id
	}
	return compact(overlay(header, mint.Header), claims, signing, secret)
}

// Mint says what a logout token is to look like where it differs from the one
// the provider would send.
type Mint struct {
	// Client is the client's id, the token's audience. It must be known.
	Client string
	// Claims and Header are laid over the usual ones; a nil value takes a
	// member away. An alg that is not known leaves the token unsigned.
	Claims, Header map[string]any
	// Secret signs HS256 and HS512 tokens; nil is the client's secret.
	Secret []byte
}

// MintLogoutToken signs a logout token that names nobody unless told whom, and
// sends it to nobody. Nothing in it is checked: it is for tokens that are wrong.
func (p *Provider) MintLogoutToken(mint Mint) (string, error) {
	if p.client(mint.Client) == nil {
		return "", fmt.Errorf("optest: logout token for %q: %w", mint.Client, ErrUnknown)
	}
	mint.Header = overlay(map[string]any{"alg": p.logoutAlg(), "typ": "logout+jwt"}, mint.Header)
	token, err := p.sign(mint, overlay(p.logoutClaims(mint.Client), mint.Claims))
	if err != nil {
		return "", fmt.Errorf("optest: logout token: %w", err)
	}
	return token, nil
}

// logoutClaims are those every logout token has (Back-Channel Logout 1.0
// section 2.4), with two minutes to live, as the specification recommends.
func (p *Provider) logoutClaims(client string) map[string]any {
	now := p.Now().Unix()
	return map[string]any{
		"iss": p.Issuer, "aud": client, "iat": now, "exp": now + 120, "jti": uuid.NewString(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
}

func overlay(base, over map[string]any) map[string]any {
	merged := maps.Clone(base)
	maps.Copy(merged, over)
	maps.DeleteFunc(merged, func(_ string, value any) bool { return value == nil })
	return merged
}

// hint is what an ID token that a client returns says.
type hint struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Sub      string `json:"sub"`
	Sid      string `json:"sid"`
}

// readHint checks that an ID token is one of ours, however old: RP-Initiated
// Logout 1.0 section 2 has an expired one taken.
func (p *Provider) readHint(token string) (hint, error) {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(p.idAlg())})
	if err != nil || len(parsed.Signatures) != 1 {
		return hint{}, errors.New("it is no token of ours")
	}
	var said hint
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &said); err != nil {
		return hint{}, errors.New("it is no ID token")
	}
	client := p.client(said.Audience)
	if client == nil || said.Issuer != p.Issuer {
		return hint{}, errors.New("it is not from here or for nobody known")
	}
	var key any = []byte(client.Secret)
	if kindOf(p.idAlg()) != kindSecret {
		key = p.keys.verifying(parsed.Signatures[0].Header.KeyID)
	}
	if key == nil {
		return hint{}, errors.New("its key is not known")
	}
	if _, err := parsed.Verify(key); err != nil {
		return hint{}, errors.New("its signature is wrong")
	}
	return said, nil
}
