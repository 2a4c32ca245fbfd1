package rp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"curfew/sessions"
)

// grant is what the token endpoint gave.
type grant struct {
	tokens sessions.Tokens
	access time.Time // when the access token ends; zero if the OP does not say
}

// oauth is the client as x/oauth2 wants it. Its AuthStyleInHeader encodes id
// and secret as RFC 6749 section 2.3.1 asks.
func (c *Client) oauth(metadata Metadata) *oauth2.Config {
	config := &oauth2.Config{
		ClientID:     c.ID,
		ClientSecret: c.Secret,
		RedirectURL:  c.RedirectURI,
		Endpoint:     oauth2.Endpoint{TokenURL: metadata.TokenEndpoint},
	}
	switch c.clientAuth(metadata) {
	case AuthNone:
		config.ClientSecret = ""
		config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	case AuthPost:
		config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	default:
		config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return config
}

// clientAuth settles AuthAuto. An OP that lists nothing takes
// client_secret_basic (Discovery 1.0 section 3).
func (c *Client) clientAuth(metadata Metadata) string {
	switch {
	case c.Auth != "" && c.Auth != AuthAuto:
		return c.Auth
	case c.Secret == "":
		return AuthNone
	case slices.Contains(metadata.TokenAuthMethods, AuthPost) &&
		!slices.Contains(metadata.TokenAuthMethods, AuthBasic):
		return AuthPost
	default:
		return AuthBasic
	}
}

// exchange gives the code for tokens (Core 1.0 section 3.1.3).
func (c *Client) exchange(ctx context.Context, metadata Metadata, code, verifier string) (grant, *fault) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, c.Provider.strict()), askTimeout)
	defer cancel()
	token, err := c.oauth(metadata).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return grant{}, exchangeFault(err)
	}
	id, _ := token.Extra("id_token").(string)
	if id == "" {
		return grant{}, faultf(TokenInvalid, "the token answer has no id_token: is openid among the scopes the client may have?")
	}
	g := grant{tokens: sessions.Tokens{ID: id, Access: token.AccessToken, Refresh: token.RefreshToken}}
	g.tokens.Revocable = !slices.Contains(c.granted(token), oidc.ScopeOfflineAccess)
	if token.ExpiresIn > 0 {
		g.access = c.Provider.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	}
	return g, nil
}

// granted are the scopes that a token has: those that were asked for, where the OP
// does not say otherwise (RFC 6749 section 5.1).
func (c *Client) granted(token *oauth2.Token) []string {
	if scope, _ := token.Extra("scope").(string); scope != "" {
		return strings.Fields(scope)
	}
	return c.Scopes
}

// exchangeFault leaves out the body that x/oauth2's own error text has: an OP
// may put anything in there, tokens included.
func exchangeFault(err error) *fault {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := 0
		if refused.Response != nil {
			status = refused.Response.StatusCode
		}
		return &fault{ProviderError, &saidError{fmt.Errorf("the token endpoint answers %d %q: %q",
			status, printable(refused.ErrorCode), printable(refused.ErrorDescription)), refused.ErrorCode}}
	}
	return askFault("the token endpoint", err)
}

// askFault tells an OP that does not answer from one that answers nonsense.
func askFault(whom string, err error) *fault {
	if _, unreachable := errors.AsType[*url.Error](err); unreachable {
		return faultf(ProviderUnreachable, "%s: %w", whom, err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return faultf(ProviderUnreachable, "%s: %w", whom, err)
	}
	return faultf(ProviderError, "%s: %w", whom, err)
}

// askUserinfo fetches the claims about the user whom an access token stands for
// (Core 1.0 section 5.3). Whether it is the right user is not checked.
func (c *Client) askUserinfo(ctx context.Context, metadata Metadata, access string) (claims, *fault) {
	if metadata.UserinfoEndpoint == "" {
		return nil, faultf(ProviderError, "the OP has no userinfo endpoint: take the claims from the ID token")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metadata.UserinfoEndpoint, nil)
	if err != nil {
		return nil, &fault{ProviderError, err}
	}
	request.Header.Set("Authorization", "Bearer "+access)
	answer, err := c.Provider.strict().Do(request)
	if err != nil {
		return nil, askFault("userinfo", err)
	}
	defer answer.Body.Close()
	body, err := readAnswer(answer)
	if err != nil {
		return nil, askFault("userinfo", err)
	}
	if isJWT(answer.Header.Get("Content-Type")) {
		return c.openUserinfo(ctx, metadata, string(body))
	}
	about, err := parseClaims(body)
	if err != nil {
		return nil, &fault{ProviderError, fmt.Errorf("userinfo: %w", err)}
	}
	return about, nil
}
