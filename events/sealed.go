package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Sealed is a Fernet token holding a session's tokens and profile claims. This
// package neither makes nor opens it.
type Sealed string

// The characters of a Fernet token, as bits: base64's for URLs, and padding.
const (
	sealedBelow64 uint64 = 0x3ff<<'0' | 1<<'-' | 1<<'='
	sealedFrom64  uint64 = 0x3ffffff<<('A'-64) | 0x3ffffff<<('a'-64) | 1<<('_'-64)
)

// isSealedByte is asked for each byte of each token, hence without a branch for
// each range.
func isSealedByte(c byte) bool {
	if c < 64 {
		return sealedBelow64>>c&1 == 1
	}
	return c < 128 && sealedFrom64>>(c-64)&1 == 1
}

// validate refuses what a Fernet token cannot hold. The decoder cuts the token
// off the body by position and relies on it needing no escape.
func (s Sealed) validate() error {
	if s == "" {
		return missing("sealed")
	}
	for _, c := range []byte(s) {
		if !isSealedByte(c) {
			return fmt.Errorf("sealed is no Fernet token: it holds %q", c)
		}
	}
	return nil
}

// sealedMark begins the last member of a body as Encode writes it. It cannot
// occur inside a JSON string, whose quotes are escaped.
const sealedMark = `,"sealed":"`

// decodeSealed parses the small head of a body and cuts the long token off its
// tail unparsed, which takes a fraction of the time of a whole parse. A body
// written another way, by another hand, is parsed whole.
func decodeSealed[F Fact](body []byte, sealed func(*F) *Sealed) (Fact, error) {
	head, token, found := cutSealed(body)
	if !found {
		return decodeBody[F](body)
	}
	var fact F
	if err := json.Unmarshal(append(slices.Clip(head), '}'), &fact); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	*sealed(&fact) = Sealed(token)
	return fact, nil
}

// cutSealed finds the token that a body ends with.
func cutSealed(body []byte) (head, token []byte, found bool) {
	rest, closed := bytes.CutSuffix(body, []byte(`"}`))
	start := len(rest)
	for start > 0 && isSealedByte(rest[start-1]) {
		start--
	}
	head, marked := bytes.CutSuffix(rest[:start], []byte(sealedMark))
	return head, rest[start:], closed && marked
}
