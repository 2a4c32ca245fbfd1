package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fernet/fernet-go"

	"curfew/events"
)

// vector is one case of the Fernet specification's acceptance tests.
type vector struct {
	Desc   string
	Token  events.Sealed
	Now    time.Time
	TTL    int `json:"ttl_sec"`
	Src    string
	Secret string
}

func vectors(t *testing.T, name string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "fernet", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestFernetVectors(t *testing.T) {
	for _, name := range []string{"generate", "verify"} {
		for _, v := range vectors(t, name) {
			plain, err := newRing(t, v.Secret).OpenFresh(v.Token, time.Minute, v.Now)
			if err != nil || string(plain) != v.Src {
				t.Errorf("%s: got %q, %v, want %q", name, plain, err, v.Src)
			}
		}
	}
	for _, v := range vectors(t, "invalid") {
		if plain, err := newRing(t, v.Secret).OpenFresh(v.Token, time.Duration(v.TTL)*time.Second, v.Now); err == nil {
			t.Errorf("%s: opened as %q", v.Desc, plain)
		}
	}
}

func TestSealAndOpen(t *testing.T) {
	old, both, other := newRing(t, keyA), newRing(t, specKey, keyA), newRing(t, keyB)
	for _, plain := range []string{"", "x", strings.Repeat("sixteen bytes ..", 100)} {
		sealed, err := old.Seal([]byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := both.Open(sealed); err != nil || string(got) != plain {
			t.Errorf("opened by the second key: %q, %v, want %q", got, err, plain)
		}
		if got, err := other.Open(sealed); !errors.Is(err, errOtherKey) || got != nil {
			t.Errorf("opened without its key: %q, %v", got, err)
		}
		again, err := both.Seal([]byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := old.Open(again); !errors.Is(err, errOtherKey) {
			t.Errorf("sealed by another key than the first: %v", err)
		}
	}
	if _, err := new(Keyring).Seal(nil); !errors.Is(err, errNoKeys) {
		t.Errorf("sealed without a key: %v", err)
	}
}

func TestSealedBy(t *testing.T) {
	sealed, err := newRing(t, keyA).Seal([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		ring  *Keyring
		token events.Sealed
		want  int
		found bool
	}{
		{newRing(t, keyA, keyB), sealed, 0, true},
		{newRing(t, keyB, specKey, keyA), sealed, 2, true},
		{newRing(t, keyB, specKey), sealed, 0, false},
		{newRing(t, keyA), sealed + "=", 0, false},
		{new(Keyring), sealed, 0, false},
	}
	for i, test := range tests {
		if got, found := test.ring.SealedBy(test.token); got != test.want || found != test.found {
			t.Errorf("%d: got %d, %v, want %d, %v", i, got, found, test.want, test.found)
		}
	}
}

// TestOpenIsStrict tries what fernet-go itself would open.
func TestOpenIsStrict(t *testing.T) {
	ring := newRing(t, specKey)
	good := string(vectors(t, "generate")[0].Token)
	if _, err := ring.Open(events.Sealed(good)); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.URLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"nothing":         "",
		"trailing junk":   good + "!!!!",
		"two tokens":      good + good,
		"no padding":      strings.TrimRight(good, "="),
		"more padding":    good + "=",
		"line break":      good[:10] + "\n" + good[10:],
		"return":          good + "\r",
		"space":           " " + good,
		"other alphabet":  strings.NewReplacer("-", "+", "_", "/").Replace(good),
		"stray bits":      good[:len(good)-3] + "B==",
		"another version": base64.URLEncoding.EncodeToString(append([]byte{0x81}, raw[1:]...)),
		"no version":      base64.URLEncoding.EncodeToString(raw[1:]),
		"no block":        base64.URLEncoding.EncodeToString(raw[:sealOverhead]),
		"a byte less":     base64.URLEncoding.EncodeToString(raw[:len(raw)-1]),
		"a byte more":     base64.URLEncoding.EncodeToString(append(raw, 0)),
	}
	for name, token := range tests {
		if plain, err := ring.Open(events.Sealed(token)); !errors.Is(err, errNotSeal) {
			t.Errorf("%s: got %q, %v, want %v", name, plain, err, errNotSeal)
		}
	}
	for i := range raw {
		spoilt := append([]byte(nil), raw...)
		spoilt[i] ^= 1
		if plain, err := ring.Open(events.Sealed(base64.URLEncoding.EncodeToString(spoilt))); err == nil {
			t.Errorf("byte %d changed: opened as %q", i, plain)
		}
	}
}

func TestOpenFresh(t *testing.T) {
	ring := newRing(t, specKey)
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	token, err := fernet.EncryptAndSignAtTime([]byte("x"), ring.keys[0], at)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		after  time.Duration
		maxAge time.Duration
		want   error
	}{
		{0, time.Minute, nil},
		{time.Minute, time.Minute, nil},
		{time.Minute + time.Nanosecond, time.Minute, errTooOld},
		{1000 * time.Hour, time.Minute, errTooOld},
		{-time.Minute, time.Minute, nil},
		{-time.Minute - time.Nanosecond, time.Minute, errTooNew},
		{-1000 * time.Hour, time.Minute, errTooNew},
		{time.Nanosecond, 0, errTooOld},
	}
	for _, test := range tests {
		_, err := ring.OpenFresh(events.Sealed(token), test.maxAge, at.Add(test.after))
		if !errors.Is(err, test.want) {
			t.Errorf("%v after, %v allowed: got %v, want %v", test.after, test.maxAge, err, test.want)
		}
		if _, err := ring.Open(events.Sealed(token)); err != nil {
			t.Errorf("open looks at the clock: %v", err)
		}
	}
}

// TestOpenFreshAtTheEndOfTime tries times that overflow.
func TestOpenFreshAtTheEndOfTime(t *testing.T) {
	ring := newRing(t, specKey)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, seconds := range []int64{-1, 1 << 62, -1 << 63, 1<<63 - 1} {
		token, err := fernet.EncryptAndSignAtTime([]byte("x"), ring.keys[0], time.Unix(seconds, 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.OpenFresh(events.Sealed(token), time.Hour, now); err == nil {
			t.Errorf("sealed at %d: opened as fresh", seconds)
		}
	}
}

func FuzzOpen(f *testing.F) {
	ring := newRing(f, specKey, keyA)
	sealed, err := ring.Seal([]byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "=", string(sealed), string(sealed) + "\n", string(sealed)[:100]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := ring.Open(events.Sealed(text))
		index, found := ring.SealedBy(events.Sealed(text))
		if found != (err == nil) {
			t.Errorf("opened: %v, sealed by %d, %v", err, index, found)
		}
		if err == nil && text != string(sealed) && string(plain) != "hello" {
			t.Errorf("opened a token that nobody sealed: %q", text)
		}
	})
}
