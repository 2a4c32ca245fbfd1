package backchannel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// judge has go-oidc decide about a token that has passed every check of ours.
func (v *Verifier) judge(ctx context.Context, t *token, now int64) (*oidc.LogoutToken, error) {
	bench := &bench{keys: v.Keys, token: t}
	config := &oidc.Config{
		ClientID: v.ClientID,
		// It was found among those taken. To ask for them again might get
		// another answer, and an empty one means RS256 to go-oidc.
		SupportedSigningAlgs: []string{t.alg},
		Now:                  func() time.Time { return time.Unix(now-grace, 0) },
	}
	logout, err := oidc.NewVerifier(v.Issuer, bench, config).VerifyLogout(ctx, t.raw)
	switch {
	case err == nil:
		return logout, nil
	case !bench.asked:
		// go-oidc reads more of the header than is read here, and its text
		// speaks of Go.
		return nil, flawed(Malformed, "header: jwk, x5c or another member is not what RFC 7515 has it be")
	case bench.err == nil:
		return nil, &FlawError{Flaw: Malformed, Detail: "the claims are not those of a logout token", verified: true}
	case ours(bench.err):
		return nil, fmt.Errorf("backchannel: verify logout token: %w", bench.err)
	default:
		return nil, flawed(BadSignature, "no key of the provider made the signature")
	}
}

// ours tells trouble with the keys from a bad signature.
func ours(err error) bool {
	trouble, ok := errors.AsType[interface {
		error
		Unavailable() bool
	}](err)
	return ok && trouble.Unavailable() || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// bench stands between go-oidc and the keys while one token is judged. It keeps
// the keys' error, which go-oidc flattens into text, and it hands go-oidc the
// claims as they were read here: go-oidc reads names without regard to case,
// and insists on exp, which we may have let pass without.
type bench struct {
	keys  oidc.KeySet
	token *token
	asked bool
	err   error
}

func (b *bench) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	b.asked = true
	payload, err := b.keys.VerifySignature(ctx, jwt)
	if err == nil && !bytes.Equal(payload, b.token.payload) {
		err = errors.New("what is signed is not what was read")
	}
	if err != nil {
		b.err = err
		return nil, err
	}
	return json.Marshal(b.token.claims.forOIDC())
}

// oidcClaims are claims in the form that go-oidc reads.
type oidcClaims struct {
	Issuer   string                     `json:"iss"`
	Subject  string                     `json:"sub,omitempty"`
	Session  string                     `json:"sid,omitempty"`
	ID       string                     `json:"jti"`
	Audience []string                   `json:"aud"`
	Issued   int64                      `json:"iat"`
	Expires  int64                      `json:"exp"`
	Events   map[string]json.RawMessage `json:"events"`
}

func (c *claims) forOIDC() oidcClaims {
	form := oidcClaims{
		Issuer: c.issuer, Subject: c.subject, Session: c.session, ID: c.id, Audience: c.audience,
		Issued: c.issued, Expires: c.expires,
		Events: map[string]json.RawMessage{eventName: c.event},
	}
	if !c.hasExpires {
		form.Expires = c.issued + undated
	}
	return form
}
