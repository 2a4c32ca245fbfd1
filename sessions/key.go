package sessions

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Key stands for an issuer, or for a sid or sub of an issuer, in places where
// the name itself must not be read. Zero stands for none.
type Key [16]byte

// IsZero reports whether k stands for nothing.
func (k Key) IsZero() bool { return k == Key{} }

// Hasher makes keys out of names, with HMAC-SHA256. Keys of two Hashers with
// different secrets cannot be compared.
type Hasher struct{ secret [32]byte }

// NewHasher returns the Hasher with a secret, which the caller keeps for as
// long as it keeps the keys.
func NewHasher(secret [32]byte) Hasher { return Hasher{secret} }

// Issuer is the key of an issuer.
func (h Hasher) Issuer(issuer string) Key { return h.key("iss", issuer, "") }

// Sid is the key of an OP's session id; zero for an empty one.
func (h Hasher) Sid(issuer, sid string) Key {
	if sid == "" {
		return Key{}
	}
	return h.key("sid", issuer, sid)
}

// Sub is the key of an OP's user; zero for an empty one.
func (h Hasher) Sub(issuer, sub string) Key {
	if sub == "" {
		return Key{}
	}
	return h.key("sub", issuer, sub)
}

// key hashes its parts with their lengths, so that no two triples run together.
func (h Hasher) key(parts ...string) Key {
	mac := hmac.New(sha256.New, h.secret[:])
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return Key(mac.Sum(nil)[:len(Key{})])
}
