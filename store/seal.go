package store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fernet/fernet-go"

	"curfew/events"
)

// The parts of a Fernet token, per its specification: a version byte, eight
// bytes of seconds since 1970, an initialisation vector of 16, at least one
// cipher block of 16, and a code of 32.
const (
	sealVersion  = 0x80
	sealOverhead = 1 + 8 + 16 + 32
	sealBlock    = 16
)

var sealText = base64.URLEncoding.Strict()

var (
	errNoKeys   = errors.New("store: seal: the keyring is empty")
	errNotSeal  = errors.New("store: open: not a Fernet token")
	errOtherKey = errors.New("store: open: no key of the ring fits")
	errTooOld   = errors.New("store: open: sealed too long ago")
	errTooNew   = errors.New("store: open: sealed in the future")
)

// Seal implements sessions.Sealer: it returns a Fernet token of plain under the
// newest key. When it was sealed stands in the token in clear.
func (k *Keyring) Seal(plain []byte) (events.Sealed, error) {
	if len(k.keys) == 0 {
		return "", errNoKeys
	}
	token, err := fernet.EncryptAndSign(plain, k.keys[0])
	if err != nil {
		return "", fmt.Errorf("store: seal: %w", err)
	}
	return events.Sealed(token), nil
}

// Open implements sessions.Sealer: it returns what was sealed under any key of
// the ring, however long ago, and even in the future: see OpenFresh.
func (k *Keyring) Open(sealed events.Sealed) ([]byte, error) {
	plain, _, err := k.open(sealed)
	return plain, err
}

// skew is what the clocks of two replicas may differ by.
const skew = time.Minute

// OpenFresh opens what was sealed no longer than maxAge before now, by this
// replica or by one whose clock is at most a minute ahead. It is for what goes
// by way of a browser, which could keep it for ever. The token counts seconds,
// so one may live up to a second less than maxAge.
func (k *Keyring) OpenFresh(sealed events.Sealed, maxAge time.Duration, now time.Time) ([]byte, error) {
	plain, at, err := k.open(sealed)
	switch {
	case err != nil:
		return nil, err
	case now.Sub(at) > maxAge:
		return nil, errTooOld
	case at.Sub(now) > skew:
		return nil, errTooNew
	}
	return plain, nil
}

// SealedBy returns which key of the ring something was sealed under, 0 for the
// newest, and false if it was none of them.
func (k *Keyring) SealedBy(sealed events.Sealed) (int, bool) {
	if _, err := sealedAt(sealed); err != nil {
		return 0, false
	}
	for i, key := range k.keys {
		if fernet.VerifyAndDecrypt([]byte(sealed), 0, []*fernet.Key{key}) != nil {
			return i, true
		}
	}
	return 0, false
}

func (k *Keyring) open(sealed events.Sealed) (plain []byte, at time.Time, err error) {
	if at, err = sealedAt(sealed); err != nil {
		return nil, time.Time{}, err
	}
	// Without a time to live fernet-go does not look at the clock.
	if plain = fernet.VerifyAndDecrypt([]byte(sealed), 0, k.keys); plain == nil {
		return nil, time.Time{}, errOtherKey
	}
	return plain, at, nil
}

// sealedAt takes a token apart as far as can be done without a key, and returns
// when it says it was sealed. Nothing but what a sealer writes passes: fernet-go
// would take a token with anything behind it, broken into lines, or too short
// for its own arithmetic.
func sealedAt(sealed events.Sealed) (time.Time, error) {
	raw, err := sealText.DecodeString(string(sealed))
	if err != nil || sealText.EncodedLen(len(raw)) != len(sealed) {
		return time.Time{}, errNotSeal
	}
	blocks := len(raw) - sealOverhead
	if blocks < sealBlock || blocks%sealBlock != 0 || raw[0] != sealVersion {
		return time.Time{}, errNotSeal
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[1:])), 0), nil
}
