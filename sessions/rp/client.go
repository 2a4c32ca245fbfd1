package rp

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"
)

// How curfew proves to the token endpoint who it is (OpenID Connect Core 1.0
// section 9).
const (
	// AuthAuto takes the first of basic and post that the OP's metadata lists;
	// none where there is no secret.
	AuthAuto  = "auto"
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthNone  = "none"
)

// Where a user's claims are taken from.
const (
	FromIDToken  = "id_token"
	FromUserinfo = "userinfo"
)

// Client is this service as one OP knows it. Its fields must not be changed once
// it is used.
type Client struct {
	// Name tells it from the others in URLs. It may be empty where there is one
	// alone.
	Name string
	// Title is what people choose it by; empty means Name.
	Title    string
	Provider *Provider
	ID       string
	Secret   string
	// Auth is AuthAuto, which empty means too, AuthBasic, AuthPost or AuthNone.
	Auth string
	// Keys verifies the OP's signatures. An error of it that says of itself
	// Unavailable() true means that the keys are not to be had, and nothing
	// about the token.
	Keys oidc.KeySet
	// Algorithms are the signature algorithms taken; empty means those that
	// discovery lists and that need no shared secret.
	Algorithms []string

	// RedirectURI is where the OP sends browsers back to: callback below the
	// prefix, or, as is right where there are several, callback/NAME.
	RedirectURI string
	// Scopes are asked for; openid must be one.
	Scopes []string
	// AuthParams are further parameters of the authorization request. None of
	// the protocol's own may be among them.
	AuthParams url.Values

	// ClaimSource is FromIDToken, which empty means too, or FromUserinfo.
	ClaimSource string
	// UsernameClaims are looked at in order for the username; empty means
	// preferred_username, email, sub. A user with none of them is refused.
	UsernameClaims []string
	// GroupsClaim holds the user's groups, a string or a list of them: a
	// claim's name, or a dotted path into one such as realm_access.roles.
	GroupsClaim string

	// PostLogoutRedirectURI is where the OP sends browsers after a logout.
	PostLogoutRedirectURI string
	// Revoker is told of tokens that are needed no more; nil if they are to end
	// by themselves.
	Revoker *Revoker
	// Strangers is how often, at this replica, a front-channel logout may go
	// into the log for a sid that no session bears; nil never lets one.
	Strangers *rate.Limiter
}

func (c *Client) title() string { return cmp.Or(c.Title, c.Name) }

func (c *Client) validate() error {
	return errors.Join(c.validateClient(), c.validateClaims(), CheckAuthParams(c.AuthParams))
}

// tellApart names what c and another client have in common that must tell them
// apart.
func (c *Client) tellApart(other *Client) error {
	var faults []error
	if c.Name == other.Name {
		faults = append(faults, fmt.Errorf("rp: two providers have the name %q", c.Name))
	}
	if c.Provider.Issuer == other.Provider.Issuer {
		faults = append(faults, fmt.Errorf("rp: the providers %q and %q are one issuer, %s: logout tokens are told apart by it",
			other.Name, c.Name, c.Provider.Issuer))
	}
	return errors.Join(faults...)
}

// protocolParams are those of the authorization request that are not for an
// operator to set: the flow is built on them.
func protocolParams() []string {
	return []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
		"code_challenge", "code_challenge_method", "request", "request_uri", "registration",
	}
}

func (c *Client) validateClient() error {
	var faults []error
	if c.ID == "" {
		faults = append(faults, errors.New("rp: client id is missing"))
	}
	switch c.Auth {
	case "", AuthAuto, AuthNone:
	case AuthBasic, AuthPost:
		if c.Secret == "" {
			faults = append(faults, fmt.Errorf("rp: client secret is missing, which %s needs", c.Auth))
		}
	default:
		faults = append(faults, fmt.Errorf("rp: client authentication %q: want auto, client_secret_basic, client_secret_post or none", c.Auth))
	}
	if slices.ContainsFunc(c.Algorithms, isNone) {
		faults = append(faults, errors.New("rp: signature algorithm none: an unsigned token proves nothing"))
	}
	return errors.Join(faults...)
}

func (c *Client) validateClaims() error {
	var faults []error
	if c.ClaimSource != "" && c.ClaimSource != FromIDToken && c.ClaimSource != FromUserinfo {
		faults = append(faults, fmt.Errorf("rp: claim source %q: want id_token or userinfo", c.ClaimSource))
	}
	if !slices.Contains(c.Scopes, oidc.ScopeOpenID) {
		faults = append(faults, errors.New("rp: scopes: openid is missing"))
	}
	return errors.Join(faults...)
}

// CheckAuthParams names every parameter that is not an operator's to add to the
// authorization request.
func CheckAuthParams(params url.Values) error {
	var faults []error
	for _, name := range protocolParams() {
		if params.Has(name) {
			faults = append(faults, fmt.Errorf("rp: authorization parameter %q is set by the protocol", name))
		}
	}
	return errors.Join(faults...)
}

func isNone(algorithm string) bool { return strings.EqualFold(algorithm, "none") }

// algorithms are those that a token may be signed with, given those that
// discovery lists.
func (c *Client) algorithms(listed []string) []string {
	if len(c.Algorithms) > 0 {
		return c.Algorithms
	}
	return asymmetric(listed)
}
