package backchannel

import (
	"fmt"
	"time"
)

// KeyTrouble says why Keys did not verify a signature.
type KeyTrouble uint8

// Why a signature was not verified.
const (
	// NotSigned is the token's fault: the OP's keys, looked up afresh after the
	// token came, did not make the signature.
	NotSigned KeyTrouble = iota
	// NoKeys is not: the OP's keys could not be had, or the wait for them was
	// broken off.
	NoKeys
	// Rationed is not, or not surely: no known key made the signature, and the
	// OP has been asked for its keys too often of late to be asked again now.
	Rationed
)

// KeyError is every error of Keys.VerifySignature. The one question that most
// callers have is Unavailable. (go-oidc flattens the errors of its KeySet into
// text: who needs this one through an oidc.IDTokenVerifier must put a KeySet of
// their own between the two and keep it there.)
type KeyError struct {
	Trouble KeyTrouble
	// RetryAfter is when to try again at the soonest; zero for NotSigned.
	RetryAfter time.Duration
	Err        error
}

// Unavailable reports whether the trouble is on our side, so that nothing is
// said about the token and it may be good when it is sent again.
func (e *KeyError) Unavailable() bool { return e.Trouble != NotSigned }

// Error says what the trouble is. It quotes nothing of the token.
func (e *KeyError) Error() string { return fmt.Sprintf("backchannel: keys: %v", e.Err) }

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }
