package backchannel

import "fmt"

// Flaw names what is wrong with a logout token, or with the request it came in.
type Flaw string

// The flaws. Where a token has several, any one of them is named.
const (
	// Malformed: no request or token that can be read, or one that can be read
	// in two ways: no compact JWS (an encrypted token is none), duplicate
	// members, invalid UTF-8, a claim of the wrong type, a critical header.
	Malformed Flaw = "malformed"
	// BadSignature: no key of the OP made the signature.
	BadSignature Flaw = "bad_signature"
	// BadAlg: signed with an algorithm that is not taken, or not signed.
	BadAlg Flaw = "bad_alg"
	// WrongTyp: the header says that it is another kind of token.
	WrongTyp Flaw = "wrong_typ"
	// WrongIssuer: iss is not the OP's.
	WrongIssuer Flaw = "wrong_issuer"
	// WrongAudience: aud is not our client, or not our client alone.
	WrongAudience Flaw = "wrong_audience"
	// NoIAT: iat is missing.
	NoIAT Flaw = "no_iat"
	// TooOld: iat is further back than a token of its kind may be.
	TooOld Flaw = "too_old"
	// TooNew: iat is ahead of our clock.
	TooNew Flaw = "too_new"
	// Expired: exp has passed, or is missing where it is asked for.
	Expired Flaw = "expired"
	// NoJTI: jti is missing.
	NoJTI Flaw = "no_jti"
	// NoEvent: events does not hold the back-channel logout event.
	NoEvent Flaw = "no_event"
	// HasNonce: there is a nonce, as an ID token has.
	HasNonce Flaw = "has_nonce"
	// NamesNobody: neither sub nor sid is there.
	NamesNobody Flaw = "names_nobody"
)

// FlawError says why a logout token is refused.
type FlawError struct {
	Flaw Flaw
	// Detail says it in a few words, for whoever runs the OP. It may quote what
	// the token says of its algorithm, type, issuer, audience and times, which nobody has
	// verified, and quotes nothing else.
	Detail string

	// verified says that it is the OP's token all the same.
	verified bool
}

// Error names the flaw and its detail.
func (e *FlawError) Error() string {
	return fmt.Sprintf("backchannel: logout token: %s: %s", e.Flaw, e.Detail)
}

func flawed(flaw Flaw, format string, args ...any) error {
	return &FlawError{Flaw: flaw, Detail: fmt.Sprintf(format, args...)}
}
