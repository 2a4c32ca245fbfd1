package backchannel

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"curfew/events"
)

const (
	// grace is what the OP's clock and ours may differ by.
	grace = 60
	// undated is how old a token without exp may be, in seconds.
	undated = 300
	// leastMemory is what every log remembers a logout for.
	leastMemory = time.Hour
)

// Verifier judges the logout tokens of one OP for one client. Its fields must
// not be changed once it is used. The zero value refuses every token.
type Verifier struct {
	// Issuer is what iss must be, byte for byte.
	Issuer string
	// ClientID must be the token's one audience.
	ClientID string
	// Keys verifies signatures. Errors that say of themselves Unavailable()
	// true, as a *KeyError does, are not taken for the token's fault.
	Keys oidc.KeySet
	// Algorithms lists the signature algorithms taken. While it is empty, every
	// token has to wait: the OP's metadata is not known yet.
	Algorithms func() []string
	// AllowMissingExp takes a token without exp whose iat is at most five
	// minutes back. LemonLDAP::NG, Glewlwyd, Hydra and Casdoor send such.
	AllowMissingExp bool
	// MaxAge is how old the iat of a token with exp may be, however late its
	// exp is. It must not be more than the log remembers a logout for, so that
	// no token can take effect twice. Zero means an hour, which every log
	// remembers, and no OP known gives its tokens longer (Janssen: an hour).
	MaxAge time.Duration
	Now    func() time.Time
}

// Verify turns a logout token into the fact to be put into the log. Replica is
// not set in it. Whether the token came before, and whether there is a session
// that it names, is not checked: the log does.
//
// The error is, or wraps, a *FlawError if the token is refused. Otherwise it is
// no fault of the token's, mostly a *KeyError, and the same token may be given
// again.
func (v *Verifier) Verify(ctx context.Context, raw string) (events.LogoutReceived, error) {
	t, err := readToken(raw)
	if err != nil {
		return events.LogoutReceived{}, err
	}
	return v.verify(ctx, t)
}

func (v *Verifier) verify(ctx context.Context, t *token) (events.LogoutReceived, error) {
	// The issuer comes first: without one, the rest of v may not be set either.
	if t.claims.issuer == "" || t.claims.issuer != v.Issuer {
		return events.LogoutReceived{}, flawed(WrongIssuer, "iss is %s, want %s", quote(t.claims.issuer), quote(v.Issuer))
	}
	// Whole seconds, as the token's own times are.
	now := v.Now().Unix()
	if err := v.check(t, now); err != nil {
		return events.LogoutReceived{}, err
	}
	logout, err := v.judge(ctx, t, now)
	if err != nil {
		return events.LogoutReceived{}, err
	}
	return events.LogoutReceived{
		Issuer:   logout.Issuer,
		Sub:      logout.Subject,
		Sid:      logout.SessionID,
		JTI:      logout.TokenID,
		IssuedAt: logout.IssuedAt.UTC(),
		Until:    logout.IssuedAt.Truncate(time.Second).UTC(),
		Reason:   events.Backchannel,
	}, nil
}

// check holds a token against what can be told without any key. It comes before
// the signature, so that only tokens that could be good cost a look at the keys.
func (v *Verifier) check(t *token, now int64) error {
	taken := v.Algorithms()
	c := &t.claims
	switch {
	case len(taken) == 0:
		return &KeyError{Trouble: NoKeys, RetryAfter: time.Second, Err: errors.New("the provider's algorithms are not known yet")}
	case !slices.Contains(taken, t.alg):
		return flawed(BadAlg, "alg is %s, want one of %s", t.alg, strings.Join(taken, ", "))
	case t.hasTyp && !slices.Contains(types, strings.ToLower(t.typ)):
		return flawed(WrongTyp, "typ is %s, want logout+jwt", quote(t.typ))
	case !v.alone(c.audience):
		return flawed(WrongAudience, "aud is %s, want %s alone", quote(strings.Join(c.audience, " ")), quote(v.ClientID))
	case c.hasNonce:
		return flawed(HasNonce, "a logout token has no nonce")
	case c.event == nil:
		return flawed(NoEvent, "events holds no object %s", eventName)
	case c.id == "":
		return flawed(NoJTI, "jti is missing or empty")
	case c.subject == "" && c.session == "":
		return flawed(NamesNobody, "sub and sid are missing or empty")
	case !c.hasIssued:
		return flawed(NoIAT, "iat is missing")
	}
	return v.checkTimes(c, now)
}

// types are the values of typ that pass, without regard to case as all media
// types (RFC 7515 section 4.1.9): section 2.4 asks for the second only in new
// deployments.
var types = []string{"jwt", "logout+jwt", "application/logout+jwt"}

// alone reports whether the client is the only audience.
func (v *Verifier) alone(audience []string) bool {
	return len(audience) > 0 && !slices.ContainsFunc(audience, func(a string) bool { return a != v.ClientID })
}

func (v *Verifier) checkTimes(c *claims, now int64) error {
	age := now - c.issued
	switch {
	case age < -grace:
		return flawed(TooNew, "iat is %d seconds ahead", -age)
	case !c.hasExpires && !v.AllowMissingExp:
		return flawed(Expired, "exp is missing")
	case !c.hasExpires && age > undated:
		return flawed(TooOld, "iat is %d seconds back, and there is no exp", age)
	case c.hasExpires && now-c.expires > grace:
		return flawed(Expired, "exp is %d seconds back", now-c.expires)
	case c.hasExpires && age > v.maxAge():
		return flawed(TooOld, "iat is %d seconds back", age)
	}
	return nil
}

// maxAge is in seconds.
func (v *Verifier) maxAge() int64 {
	if v.MaxAge <= 0 {
		return int64(leastMemory/time.Second) + grace
	}
	return int64(v.MaxAge/time.Second) + grace
}
