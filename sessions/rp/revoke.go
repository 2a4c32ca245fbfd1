package rp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"curfew/events"
	"curfew/sessions"
)

const (
	// revokeAfter is how long after a sign-out its tokens are given back. The
	// browser is at the OP's own sign-out by then: an OP that ends its session
	// together with the tokens would tell no other client of it.
	revokeAfter = 30 * time.Second
	// maxRevocations is how many sign-outs may wait for that. Beyond it the
	// tokens are left to end by themselves.
	maxRevocations = 10_000
)

// Revoker gives the tokens of those who have signed out back to an OP (RFC 7009),
// where it takes them. It does what it can: what fails, or is still to be done
// when the replica ends, is left to the OP's own logout and the tokens' own end.
// A refresh token for offline access outlives the session by its purpose
// (Back-Channel Logout 1.0 section 2.7), and is not given back. The zero value,
// and nil, give nothing back; make one with NewRevoker.
type Revoker struct {
	client *Client
	queue  chan revocation
}

// revocation is a token to be given back.
type revocation struct {
	session     events.SessionID
	token, hint string
	due         time.Time
}

// NewRevoker makes one with an empty queue.
func NewRevoker(c *Client) *Revoker {
	return &Revoker{client: c, queue: make(chan revocation, maxRevocations)}
}

// take queues the tokens of a session that has been signed out: the refresh token,
// with which an OP ends the access tokens of the same grant too (RFC 7009 section
// 2.1), or else the access token.
func (v *Revoker) take(private sessions.Private) {
	if v == nil || v.queue == nil || !private.Tokens.Revocable {
		return
	}
	due := revocation{private.Session, private.Tokens.Refresh, "refresh_token", v.client.Provider.Now().Add(revokeAfter)}
	if due.token == "" {
		due.token, due.hint = private.Tokens.Access, "access_token"
	}
	if metadata, _ := v.client.Provider.Metadata(); metadata.RevocationEndpoint == "" || due.token == "" {
		return
	}
	select {
	case v.queue <- due:
	default:
		v.client.Provider.Logger.Warn("tokens not revoked: too many sign-outs at once", "session", private.Session)
	}
}

// Run gives back what is due until ctx ends, whose error it returns.
func (v *Revoker) Run(ctx context.Context) error {
	for {
		select {
		case next := <-v.queue:
			select {
			case <-time.After(next.due.Sub(v.client.Provider.Now())):
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := v.client.revoke(ctx, next.token, next.hint); err != nil && ctx.Err() == nil {
				v.client.Provider.Logger.WarnContext(ctx, "tokens not revoked", "session", next.session, "error", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) revoke(ctx context.Context, token, hint string) error {
	metadata, known := c.Provider.Metadata()
	if !known || metadata.RevocationEndpoint == "" {
		return errors.New("rp: revocation: the OP has no endpoint for it any more")
	}
	form := url.Values{"token": {token}, "token_type_hint": {hint}}
	method := c.clientAuth(metadata)
	if method != AuthBasic {
		form.Set("client_id", c.ID)
	}
	if method == AuthPost {
		form.Set("client_secret", c.Secret)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, metadata.RevocationEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if method == AuthBasic {
		request.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	answer, err := c.Provider.strict().Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	// What it says besides is of no use.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent {
		return statusError(answer.StatusCode)
	}
	return nil
}
