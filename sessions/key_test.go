package sessions

import (
	"testing"
	"time"
)

func TestKeys(t *testing.T) {
	h := testHasher()
	expect(t, "no sid", h.Sid(issuer, ""), Key{})
	expect(t, "no sub", h.Sub(issuer, ""), Key{})
	expect(t, "the same again", h.Sid(issuer, "s1"), NewHasher([32]byte{7}).Sid(issuer, "s1"))
	expect(t, "the zero key", Key{}.IsZero(), true)
	distinct := map[string]Key{
		"issuer":                   h.Issuer(issuer),
		"issuer, slash":            h.Issuer(issuer + "/"),
		"no issuer":                h.Issuer(""),
		"sid":                      h.Sid(issuer, "x"),
		"sub of the same name":     h.Sub(issuer, "x"),
		"sid, other issuer":        h.Sid(issuer+"/", "x"),
		"sid, running together":    h.Sid(issuer+"x", "y"),
		"sid, running together 2":  h.Sid(issuer, "xy"),
		"sid, by case":             h.Sid(issuer, "X"),
		"sid, trailing zero":       h.Sid(issuer, "x\x00"),
		"sid, with other secret":   NewHasher([32]byte{8}).Sid(issuer, "x"),
		"sid, of a zero hasher":    Hasher{}.Sid(issuer, "x"),
		"sid that is an issuer":    h.Sid(issuer, issuer),
		"sid of spaces and dots":   h.Sid(issuer, ". *>"),
		"sid of spaces and dots 2": h.Sid(issuer, ". * >"),
	}
	owner := make(map[Key]string)
	for name, key := range distinct {
		expect(t, name+" is zero", key.IsZero(), false)
		if other, taken := owner[key]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		owner[key] = name
	}
}

func TestInstant(t *testing.T) {
	expect(t, "the zero time", InstantOf(time.Time{}), 0)
	expect(t, "the zero instant", Instant(0).Time(), time.Time{})
	now := time.Date(2026, 3, 1, 6, 0, 0, 123456789, time.FixedZone("", 3600))
	expect(t, "there and back", InstantOf(now).Time(), now.UTC().Truncate(time.Millisecond))
	expect(t, "before 1970", InstantOf(time.Unix(-1, 0)).Time(), time.Unix(-1, 0).UTC())
}
