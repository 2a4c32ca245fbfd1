package rp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"curfew/sessions"
)

// user is who has signed in, as the OP says.
type user struct {
	sub, sid string
	authTime time.Time // zero if the OP does not say, or nothing plausible
	identity sessions.Identity
	grant    grant
}

// identify turns a code into a user.
func (c *Client) identify(ctx context.Context, metadata Metadata, login transaction, code string) (user, *fault) {
	g, f := c.exchange(ctx, metadata, code, login.Verifier)
	if f != nil {
		return user{}, f
	}
	about, f := c.verify(ctx, metadata, login, g)
	if f != nil {
		return user{}, f
	}
	u := user{sub: about.text("sub"), sid: about.text("sid"), authTime: about.time("auth_time"), grant: g}
	if c.ClaimSource == FromUserinfo {
		about, f = c.askUserinfo(ctx, metadata, g.tokens.Access)
		if f != nil {
			return user{}, f
		}
		if about.text("sub") != u.sub {
			return user{}, faultf(UserinfoMismatch, "userinfo has another sub than the ID token")
		}
	}
	identity, err := c.identity(about)
	if err != nil {
		return user{}, &fault{TokenInvalid, err}
	}
	u.identity = identity
	return u, nil
}

// maxUsername is how long a username may be, in bytes.
const maxUsername = 255

// identity picks out of the claims what applications are told.
func (c *Client) identity(about claims) (sessions.Identity, error) {
	names := c.UsernameClaims
	if len(names) == 0 {
		names = []string{"preferred_username", "email", "sub"}
	}
	identity := sessions.Identity{
		PreferredUsername: about.text("preferred_username"),
		Email:             about.text("email"),
		Name:              about.text("name"),
		Groups:            about.list(c.GroupsClaim),
	}
	for _, name := range names {
		// One that cleaning would change is none: applications would take it
		// for another user's. Nor is one that no proxy has room for.
		if username := about.text(name); username != "" && len(username) <= maxUsername && username == sessions.Clean(username) {
			identity.Username = username
			return identity, nil
		}
	}
	return sessions.Identity{}, fmt.Errorf("no username: the claims have no usable %s", strings.Join(names, ", nor "))
}

// claims are what the OP says of a user, by their exact names.
type claims map[string]any

var errClaims = errors.New("the claims are not a JSON object")

func parseClaims(raw []byte) (claims, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var c claims
	if err := decoder.Decode(&c); err != nil || c == nil {
		return nil, errClaims
	}
	return c, nil
}

// text is a claim's value if that is a text, and otherwise empty.
func (c claims) text(name string) string {
	text, _ := c[name].(string)
	return text
}

// time is a claim's value if that is a plausible number of seconds since 1970.
func (c claims) time(name string) time.Time {
	number, _ := c[name].(json.Number)
	seconds, err := number.Float64()
	if err != nil || seconds < 1 || seconds >= 1<<36 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// list is the value of a claim, or of what a dotted path leads to, as a list of
// texts: a text alone is a list of one. A claim whose own name has dots in it
// comes first. What is no text is left out.
func (c claims) list(path string) []string {
	var texts []string
	switch value := c.at(path).(type) {
	case string:
		if value != "" {
			texts = append(texts, value)
		}
	case []any:
		for _, item := range value {
			if text, ok := item.(string); ok && text != "" {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

func (c claims) at(path string) any {
	if value, found := c[path]; found {
		return value
	}
	for i, letter := range path {
		if letter != '.' {
			continue
		}
		if inner, ok := c[path[:i]].(map[string]any); ok {
			if value := claims(inner).at(path[i+1:]); value != nil {
				return value
			}
		}
	}
	return nil
}
