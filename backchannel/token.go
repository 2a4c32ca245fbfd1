package backchannel

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// token is a logout token that has been read and not yet judged: nothing in it
// is verified.
type token struct {
	raw string

	alg string
	// typ is as the header has it; hasTyp tells an empty one from none.
	typ    string
	hasTyp bool

	payload []byte
	claims  claims
}

// claims are those that a logout token is judged by.
type claims struct {
	issuer   string
	subject  string
	session  string
	id       string
	audience []string

	issued, expires       int64 // seconds since 1970
	hasIssued, hasExpires bool

	hasNonce bool
	// event is the back-channel member of events, nil if that is no object.
	event json.RawMessage
}

// eventName is the member of events that makes a token a logout token
// (section 2.4).
const eventName = "http://schemas.openid.net/event/backchannel-logout"

// segment decodes one part of a token. Go's own decoder would skip line breaks.
func segment(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// readToken reads a compact JWS (RFC 7515 section 7.1). The error is a
// *FlawError. The result is not nil even then: it holds what could be read, for
// the log.
func readToken(raw string) (*token, error) {
	t := &token{raw: raw}
	parts := strings.Split(raw, ".")
	switch {
	case len(parts) == 5:
		return t, flawed(Malformed, "the token is encrypted, and no encryption was agreed on")
	case len(parts) != 3:
		return t, flawed(Malformed, "a token has 3 parts, this has %d", len(parts))
	}
	header, err := segment(parts[0])
	if err != nil {
		return t, flawed(Malformed, "header: no base64url")
	}
	if err := t.readHeader(header); err != nil {
		return t, err
	}
	if t.payload, err = segment(parts[1]); err != nil {
		return t, flawed(Malformed, "claims: no base64url")
	}
	if err := t.claims.read(t.payload); err != nil {
		return t, flawed(Malformed, "claims: %v", err)
	}
	if _, err := segment(parts[2]); err != nil {
		return t, flawed(Malformed, "signature: no base64url")
	}
	return t, nil
}

// algorithms are those that Keys can verify.
var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
}

func (t *token) readHeader(data []byte) error {
	header, err := readObject(data)
	if err != nil {
		return flawed(Malformed, "header: %v", err)
	}
	if t.alg, err = header.text("alg"); err != nil {
		return flawed(Malformed, "header: %v", err)
	}
	if !slices.Contains(algorithms, t.alg) {
		return flawed(BadAlg, "alg is %s, which signs nothing here", quote(t.alg))
	}
	if t.typ, err = header.text("typ"); err != nil {
		return flawed(Malformed, "header: %v", err)
	}
	_, t.hasTyp = header["typ"]
	if _, err := header.text("kid"); err != nil {
		return flawed(Malformed, "header: %v", err)
	}
	// No extension is understood here (RFC 7515 section 4.1.11). b64, which
	// changes what is signed, must not come without crit (RFC 7797 section 6),
	// and so not at all.
	for _, name := range []string{"crit", "b64"} {
		if _, found := header[name]; found {
			return flawed(Malformed, "header: %s is not understood", name)
		}
	}
	return nil
}

func (c *claims) read(data []byte) error {
	object, err := readObject(data)
	if err != nil {
		return err
	}
	var faults [8]error
	c.issuer, faults[0] = object.text("iss")
	c.id, faults[1] = object.text("jti")
	// Rauthy writes the one of these that it leaves out as null.
	c.subject, faults[2] = object.textOrNull("sub")
	c.session, faults[3] = object.textOrNull("sid")
	c.audience, faults[4] = object.texts("aud")
	c.issued, c.hasIssued, faults[5] = object.seconds("iat")
	c.expires, c.hasExpires, faults[6] = object.seconds("exp")
	_, c.hasNonce = object["nonce"]
	c.event = event(object["events"])
	if c.expires == farOff {
		faults[7] = fmt.Errorf("exp: %w, that is no date", errType)
	}
	// One fault says enough.
	for _, fault := range faults {
		if fault != nil {
			return fault
		}
	}
	return nil
}

// event finds the back-channel event. It and what it stands in must be objects;
// what else stands there is the OP's affair: Keycloak puts a boolean beside it.
func event(raw json.RawMessage) json.RawMessage {
	var events, event members
	if json.Unmarshal(raw, &events) != nil || json.Unmarshal(events[eventName], &event) != nil || event == nil {
		return nil
	}
	return events[eventName]
}
