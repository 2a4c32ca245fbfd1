package rp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"curfew/sessions"
)

// Refresh gives a session's refresh token for new tokens (OpenID Connect Core
// 1.0 section 12) and takes over what the OP now says of the user. What the
// answer leaves out stays as it was: the refresh token, the ID token, and the
// claims where it brings none. Once the OP has answered, neither keys nor a
// userinfo endpoint that are not to be had make the new tokens go to waste.
//
// The errors are those of sessions.OP.
func (p *Party) Refresh(ctx context.Context, old sessions.Private) (sessions.Renewed, error) {
	c := p.client(old.Issuer)
	if c == nil {
		// One OP's token is none of another's business.
		return sessions.Renewed{}, unasked("the session is of the issuer %q, which is not configured", old.Issuer)
	}
	metadata, known := c.Provider.Metadata()
	switch {
	case !known:
		return sessions.Renewed{}, unasked("there is no discovery document from the OP yet")
	case old.Tokens.Refresh == "":
		return sessions.Renewed{}, unasked("the session has no refresh token")
	}
	g, err := c.spend(ctx, metadata, old.Tokens.Refresh)
	if err != nil {
		return sessions.Renewed{}, refreshError(err, p.Now())
	}
	at := p.Now().UTC()
	next, f := c.renew(ctx, metadata, old, g)
	if f != nil {
		return sessions.Renewed{}, &sessions.TroubleError{Cause: fmt.Errorf("rp: refresh: %w", f.cause)}
	}
	return sessions.Renewed{Private: next, At: at, Access: g.access.UTC()}, nil
}

func unasked(format string, args ...any) error {
	return &sessions.TroubleError{Cause: fmt.Errorf("rp: refresh: "+format, args...), Unspent: true}
}

func (c *Client) spend(ctx context.Context, metadata Metadata, refresh string) (grant, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, c.Provider.strict()), askTimeout)
	defer cancel()
	token, err := c.oauth(metadata).TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return grant{}, err
	}
	id, _ := token.Extra("id_token").(string)
	// Where the answer has no refresh token, x/oauth2 puts the old one there.
	g := grant{tokens: sessions.Tokens{ID: id, Access: token.AccessToken, Refresh: token.RefreshToken}}
	if token.ExpiresIn > 0 {
		g.access = c.Provider.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	}
	return g, nil
}

// renew works an answer into what is known of a session.
func (c *Client) renew(ctx context.Context, metadata Metadata, old sessions.Private, g grant) (sessions.Private, *fault) {
	next := old
	next.Tokens.Access, next.Tokens.Refresh = g.tokens.Access, g.tokens.Refresh
	var about claims
	if g.tokens.ID != "" {
		said, f := c.reverify(ctx, metadata, old, g)
		switch {
		case f == nil:
			about, next.Tokens.ID = said, g.tokens.ID
		case f.code == ProviderUnreachable || isExpired(f.cause):
			c.Provider.Logger.WarnContext(ctx, "ID token of a refresh not taken, the one before is kept", "session", old.Session, "cause", f.cause.Error())
		default:
			return sessions.Private{}, f
		}
	}
	if c.ClaimSource == FromUserinfo {
		said, f := c.askUserinfo(ctx, metadata, g.tokens.Access)
		switch {
		case f != nil:
			c.Provider.Logger.WarnContext(ctx, "no userinfo after a refresh, the claims before are kept", "session", old.Session, "cause", f.cause.Error())
		case said.text("sub") != old.Sub:
			return sessions.Private{}, faultf(UserinfoMismatch, "userinfo has another sub than the session")
		}
		about = said
	}
	if c.describes(about) {
		if identity, err := c.identity(about); err == nil {
			next.User = identity
		}
	}
	return next, nil
}

// isExpired reports whether an ID token is past its time: some OPs hand out the
// one of the login again with each refresh.
func isExpired(err error) bool {
	_, expired := errors.AsType[*oidc.TokenExpiredError](err)
	return expired
}

// describes reports whether claims say more of a user than which one it is. Some
// OPs put nothing else into the ID token of a refresh, which does not mean that
// the user has no groups any more.
func (c *Client) describes(about claims) bool {
	names := append([]string{"preferred_username", "email", "name"}, c.UsernameClaims...)
	return about.at(c.GroupsClaim) != nil || slices.ContainsFunc(names, func(name string) bool {
		return name != "sub" && about.text(name) != ""
	})
}

// reverify checks the ID token that came with a refresh, as Core 1.0 section
// 12.2 has it: it is the same user's, from the same OP, for us. It needs no
// nonce.
func (c *Client) reverify(ctx context.Context, metadata Metadata, old sessions.Private, g grant) (claims, *fault) {
	token, about, f := c.open(ctx, metadata, g)
	if f != nil {
		return nil, f
	}
	sid := about.text("sid")
	switch {
	case token.Subject != old.Sub:
		return nil, faultf(TokenInvalid, "ID token: sub is another user's")
	case sid != "" && old.Sid != "" && sid != old.Sid:
		return nil, faultf(TokenInvalid, "ID token: sid is another session's")
	}
	for _, err := range []error{
		checkIssuedAt(token, c.Provider.Now()),
		checkParty(token, about, c.ID),
		checkAccessHash(g, about),
	} {
		if err != nil {
			return nil, faultf(TokenInvalid, "ID token: %w", err)
		}
	}
	return about, nil
}

// refreshError tells a refusal from trouble, and whether the refresh token can
// have been spent.
func refreshError(err error, now time.Time) error {
	cause := fmt.Errorf("rp: refresh: %w", exchangeFault(err).cause)
	answer, answered := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !answered:
		return &sessions.TroubleError{Cause: cause, Unspent: undelivered(err)}
	case refuses(answer):
		return &sessions.RefusedError{Cause: cause}
	default:
		return &sessions.TroubleError{
			Cause:   cause,
			Unspent: statusOf(answer) < 500 || statusOf(answer) == http.StatusServiceUnavailable,
			Wait:    retryAfter(answer.Response, now),
		}
	}
}

func statusOf(answer *oauth2.RetrieveError) int {
	if answer.Response == nil {
		return 0
	}
	return answer.Response.StatusCode
}

// refuses reports whether an answer means that the refresh token is no good.
// RFC 6749 section 5.2 has invalid_grant for that, with status 400; some OPs say
// it with 403, or say invalid_request to a token that was used before, or answer
// 400 and nothing at all.
func refuses(answer *oauth2.RetrieveError) bool {
	status := statusOf(answer)
	switch answer.ErrorCode {
	case "invalid_grant":
		return status < 500 && status != http.StatusTooManyRequests
	case "invalid_request":
		return status == http.StatusBadRequest
	case "":
		return status == http.StatusBadRequest && len(bytes.TrimSpace(answer.Body)) == 0
	default:
		return false
	}
}

// undelivered reports whether a request surely never got to the OP.
func undelivered(err error) bool {
	op, network := errors.AsType[*net.OpError](err)
	_, stranger := errors.AsType[*tls.CertificateVerificationError](err)
	return network && op.Op == "dial" || stranger
}

// retryAfter reads the header of that name (RFC 9110 section 10.2.3); zero if it
// is not there, or makes no sense.
func retryAfter(answer *http.Response, now time.Time) time.Duration {
	const most = 24 * time.Hour
	if answer == nil {
		return 0
	}
	value := answer.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, most)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), most)
	}
	return 0
}
