package store

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/fernet/fernet-go"
)

// Keyring holds the Fernet keys that replicas share: the first seals, all open.
// It implements sessions.Sealer and sessions.Signer, and is safe for use by many
// goroutines. The zero value seals and opens nothing.
type Keyring struct {
	keys []*fernet.Key
	// macs are the keys for codes, one derived from each Fernet key, so that no
	// code can be taken for part of a token.
	macs [][]byte
}

// macInfo is what the keys for codes are derived under (RFC 5869, section 3.2).
const macInfo = "curfew message authentication code v1"

// keyText is the text form of a key. Python's cryptography, where most keys
// come from, writes this form.
var keyText = base64.URLEncoding.Strict()

// keyTextLen is the length of a key's text: 32 bytes make 44 characters.
const keyTextLen = 44

const keyLooks = `a Fernet key is 44 characters of URL-safe base64, the last one "=": curfew keys new makes one`

var (
	errNoKey        = errors.New("it is empty")
	errKeyCharacter = errors.New("it is not base64, or not the base64 of 32 bytes")
	errKeyTwice     = errors.New("it stands in the list already")
)

// ParseKeyring reads a comma-separated list of keys, newest first. Space around
// a key is dropped, and base64's other alphabet, with + and /, is taken too. A
// fault is named by the number of the entry it is in, 1 for the first; no error
// repeats any part of a key.
func ParseKeyring(text string) (*Keyring, error) {
	entries := strings.Split(text, ",")
	ring := new(Keyring)
	for i, entry := range entries {
		key, err := parseKey(strings.TrimSpace(entry))
		if err == nil && ring.has(key) {
			err = errKeyTwice
		}
		if err != nil {
			return nil, fmt.Errorf("store: encryption key %d of %d: %w; %s", i+1, len(entries), err, keyLooks)
		}
		mac, err := hkdf.Key(sha256.New, key[:], nil, macInfo, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("store: encryption key %d of %d: %w", i+1, len(entries), err)
		}
		ring.keys, ring.macs = append(ring.keys, key), append(ring.macs, mac)
	}
	return ring, nil
}

// parseKey is stricter than fernet-go, which takes line breaks, stray bits and
// hexadecimal too, so that one key has one text but for the alphabet.
func parseKey(text string) (*fernet.Key, error) {
	switch {
	case text == "":
		return nil, errNoKey
	case len(text) != keyTextLen:
		return nil, fmt.Errorf("it has %d characters", len(text))
	}
	raw, err := keyText.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(text))
	key := new(fernet.Key)
	if err != nil || len(raw) != len(key) {
		return nil, errKeyCharacter
	}
	copy(key[:], raw)
	return key, nil
}

func (k *Keyring) has(key *fernet.Key) bool {
	for _, known := range k.keys {
		if *known == *key {
			return true
		}
	}
	return false
}

// GenerateKey makes a key, in the text form that ParseKeyring reads.
func GenerateKey() string {
	var key fernet.Key
	rand.Read(key[:])
	return keyText.EncodeToString(key[:])
}

// Len is the number of keys.
func (k *Keyring) Len() int { return len(k.keys) }

// String hides the keys from logs.
func (*Keyring) String() string { return "[keyring]" }

// MAC implements sessions.Signer. It panics on a keyring without keys, which
// ParseKeyring does not return.
func (k *Keyring) MAC(message []byte) [32]byte { return macUnder(k.macs[0], message) }

// minMAC is the shortest prefix of a code that is taken for it.
const minMAC = 16

// CheckMAC implements sessions.Signer, in a time that does not depend on which
// key fits.
func (k *Keyring) CheckMAC(message, mac []byte) bool {
	if len(mac) < minMAC || len(mac) > sha256.Size {
		return false
	}
	fits := false
	for _, key := range k.macs {
		want := macUnder(key, message)
		if hmac.Equal(want[:len(mac)], mac) {
			fits = true
		}
	}
	return fits
}

func macUnder(key, message []byte) [32]byte {
	code := hmac.New(sha256.New, key)
	code.Write(message)
	return [32]byte(code.Sum(nil))
}
