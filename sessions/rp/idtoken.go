package rp

import (
	"context"
	"crypto"
	_ "crypto/sha256" // for at_hash
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// logoutEvent is the member of a logout token's events (Back-Channel Logout 1.0
// section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// unavailable is what Keys says of an error that means that the keys are not
// to be had.
type unavailable interface {
	error
	Unavailable() bool
}

// watchedKeys remembers why a signature did not hold: go-oidc keeps the error's
// text alone.
type watchedKeys struct {
	keys oidc.KeySet
	err  error
}

// VerifySignature asks the keys that are watched.
func (k *watchedKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.keys.VerifySignature(ctx, jwt)
	k.err = err
	return payload, err
}

// faultOf tells keys that are not to be had from a token that is not right.
func (k *watchedKeys) faultOf(what string, err error) *fault {
	trouble, known := errors.AsType[unavailable](k.err)
	if known && trouble.Unavailable() || errors.Is(k.err, context.DeadlineExceeded) || errors.Is(k.err, context.Canceled) {
		return faultf(ProviderUnreachable, "%s: %w", what, k.err)
	}
	return faultf(TokenInvalid, "%s: %w", what, err)
}

// verify checks an ID token as Core 1.0 section 3.1.3.7 has it: go-oidc decides
// on signature, algorithm, issuer, audience and expiry, and what it leaves to
// its callers is checked here. That the token is the answer to this login is
// what the nonce says.
func (c *Client) verify(ctx context.Context, metadata Metadata, login transaction, g grant) (claims, *fault) {
	token, about, f := c.open(ctx, metadata, g)
	if f != nil {
		return nil, f
	}
	now := c.Provider.Now()
	for _, err := range []error{
		checkIssued(token, login, now),
		checkParty(token, about, c.ID),
		checkAuthTime(about, c.AuthParams.Get("max_age"), now),
		checkAccessHash(g, about),
	} {
		if err != nil {
			return nil, faultf(TokenInvalid, "ID token: %w", err)
		}
	}
	return about, nil
}

// open has go-oidc check an ID token. To what it is the answer is not checked.
func (c *Client) open(ctx context.Context, metadata Metadata, g grant) (*oidc.IDToken, claims, *fault) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	keys := &watchedKeys{keys: c.Keys}
	verifier := oidc.NewVerifier(metadata.Issuer, keys, &oidc.Config{
		ClientID:             c.ID,
		SupportedSigningAlgs: c.algorithms(metadata.IDTokenAlgorithms),
		Now:                  c.Provider.Now,
	})
	token, err := verifier.Verify(ctx, g.tokens.ID)
	if err != nil {
		return nil, nil, keys.faultOf("ID token", err)
	}
	var raw json.RawMessage
	if err := token.Claims(&raw); err != nil {
		return nil, nil, faultf(TokenInvalid, "ID token: %w", err)
	}
	about, err := parseClaims(raw)
	if err != nil {
		return nil, nil, faultf(TokenInvalid, "ID token: %w", err)
	}
	return token, about, nil
}

func checkIssued(token *oidc.IDToken, login transaction, now time.Time) error {
	switch {
	case token.Nonce == "" || token.Nonce != login.Nonce:
		return errors.New("its nonce is not this login's")
	case token.IssuedAt.Before(login.BegunAt.Add(-skew)) && !token.IssuedAt.IsZero():
		return fmt.Errorf("it is issued at %s, before the login began", token.IssuedAt.UTC().Format(time.RFC3339))
	}
	return checkIssuedAt(token, now)
}

func checkIssuedAt(token *oidc.IDToken, now time.Time) error {
	switch {
	case token.IssuedAt.IsZero():
		return errors.New("iat is missing")
	case token.IssuedAt.After(now.Add(skew)):
		return fmt.Errorf("it is issued at %s, which is %s ahead of this clock", token.IssuedAt.UTC().Format(time.RFC3339), token.IssuedAt.Sub(now))
	}
	return nil
}

// checkParty makes sure that the token was made for us and is one about a login.
func checkParty(token *oidc.IDToken, about claims, client string) error {
	if token.Subject == "" {
		return errors.New("sub is missing")
	}
	azp, named := about["azp"]
	if named && azp != client {
		return errors.New("azp is another client")
	}
	others := slices.ContainsFunc(token.Audience, func(aud string) bool { return aud != client })
	if others && !named {
		return errors.New("it has further audiences and no azp")
	}
	if occurred, ok := about["events"].(map[string]any); ok && occurred[logoutEvent] != nil {
		return errors.New("it is a logout token")
	}
	if sid, named := about["sid"]; named && sid != nil && about.text("sid") != sid {
		return errors.New("sid is not a text")
	}
	return nil
}

// checkAuthTime holds the OP to a max_age that an operator asks for, since the
// request went through the user's browser (Core 1.0 section 3.1.2.1).
func checkAuthTime(about claims, maxAge string, now time.Time) error {
	if maxAge == "" {
		return nil
	}
	limit, err := time.ParseDuration(maxAge + "s")
	if err != nil {
		return errors.New("max_age is not a number of seconds")
	}
	if at := about.time("auth_time"); at.IsZero() || now.Sub(at) > limit+skew {
		return errors.New("auth_time is missing or longer ago than max_age allows")
	}
	return nil
}

// checkAccessHash compares at_hash, where it is there, with the access token
// (Core 1.0 section 3.1.3.8). go-oidc has the same, but not for HMAC
// algorithms.
func checkAccessHash(g grant, about claims) error {
	claimed, named := about["at_hash"]
	if !named || claimed == nil {
		return nil
	}
	algorithm, err := algorithmOf(g.tokens.ID)
	if err != nil {
		return err
	}
	var hash crypto.Hash
	switch {
	case strings.HasSuffix(algorithm, "256"):
		hash = crypto.SHA256
	case strings.HasSuffix(algorithm, "384"):
		hash = crypto.SHA384
	default: // the 512s, and EdDSA with Ed25519
		hash = crypto.SHA512
	}
	whole := hash.New()
	whole.Write([]byte(g.tokens.Access))
	if claimed != base64.RawURLEncoding.EncodeToString(whole.Sum(nil)[:hash.Size()/2]) {
		return errors.New("at_hash is not that of the access token")
	}
	return nil
}

var errNotCompact = errors.New("it is not in JWS compact form")

// algorithmOf reads the header of a token that has been verified.
func algorithmOf(token string) (string, error) {
	first, _, _ := strings.Cut(token, ".")
	plain, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return "", errNotCompact
	}
	header, err := parseClaims(plain)
	if err != nil {
		return "", errNotCompact
	}
	return header.text("alg"), nil
}

func isJWT(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/jwt"
}

// openUserinfo checks a signed userinfo answer (Core 1.0 section 5.3.2): its
// signature, and issuer and audience where it names them.
func (c *Client) openUserinfo(ctx context.Context, metadata Metadata, jwt string) (claims, *fault) {
	listed := metadata.UserinfoAlgorithms
	if len(listed) == 0 {
		listed = metadata.IDTokenAlgorithms
	}
	keys := &watchedKeys{keys: c.Keys}
	verifier := oidc.NewVerifier(metadata.Issuer, keys, &oidc.Config{
		SkipClientIDCheck:    true,
		SkipExpiryCheck:      true,
		SkipIssuerCheck:      true,
		SupportedSigningAlgs: c.algorithms(listed),
	})
	token, err := verifier.Verify(ctx, strings.TrimSpace(jwt))
	if err != nil {
		return nil, keys.faultOf("userinfo", err)
	}
	if token.Issuer != "" && token.Issuer != metadata.Issuer {
		return nil, faultf(TokenInvalid, "userinfo: it is issued by %q", printable(token.Issuer))
	}
	if len(token.Audience) > 0 && !slices.Contains(token.Audience, c.ID) {
		return nil, faultf(TokenInvalid, "userinfo: its audience is another client")
	}
	var raw json.RawMessage
	if err := token.Claims(&raw); err != nil {
		return nil, faultf(TokenInvalid, "userinfo: %w", err)
	}
	about, err := parseClaims(raw)
	if err != nil {
		return nil, faultf(TokenInvalid, "userinfo: %w", err)
	}
	return about, nil
}
