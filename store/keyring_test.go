package store

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"curfew/sessions"
)

var (
	_ sessions.Sealer = (*Keyring)(nil)
	_ sessions.Signer = (*Keyring)(nil)
)

// Keys for tests. specKey is the one of the Fernet specification's vectors.
const (
	specKey = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	keyA    = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	keyB    = "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA="
)

func newRing(t testing.TB, keys ...string) *Keyring {
	t.Helper()
	ring, err := ParseKeyring(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestParseKeyring(t *testing.T) {
	std := strings.NewReplacer("-", "+", "_", "/")
	tests := []struct {
		name, text string
		keys       int
		wrong      string // in the error, where keys is zero
	}{
		{name: "one", text: specKey, keys: 1},
		{name: "three, with space", text: specKey + " ,\n" + keyA + ",\t" + keyB + "\n", keys: 3},
		{name: "the other alphabet", text: std.Replace(keyB), keys: 1},
		{name: "nothing", text: "", wrong: "key 1 of 1: it is empty"},
		{name: "a comma at the end", text: specKey + ",", wrong: "key 2 of 2: it is empty"},
		{name: "a comma at the start", text: "," + specKey, wrong: "key 1 of 2: it is empty"},
		{name: "cut short", text: keyA + "," + specKey[:43], wrong: "key 2 of 2: it has 43 characters"},
		{name: "in quotes", text: `"` + specKey + `"`, wrong: "key 1 of 1: it has 46 characters"},
		{name: "not base64", text: "!" + specKey[1:], wrong: "key 1 of 1: it is not base64"},
		{name: "33 bytes", text: strings.Repeat("A", 44), wrong: "key 1 of 1: it is not base64, or not"},
		{name: "31 bytes", text: strings.Repeat("A", 42) + "==", wrong: "key 1 of 1: it is not base64, or not"},
		{name: "a line break inside", text: specKey[:20] + "\n" + specKey[21:], wrong: "key 1 of 1: it is not base64"},
		{name: "stray bits", text: specKey[:42] + "5=", wrong: "key 1 of 1: it is not base64"},
		{name: "hexadecimal", text: strings.Repeat("0f", 32), wrong: "key 1 of 1: it has 64 characters"},
		{name: "twice", text: keyB + "," + keyA + "," + std.Replace(keyB), wrong: "key 3 of 3: it stands in the list already"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ring, err := ParseKeyring(test.text)
			if test.keys > 0 {
				if err != nil || ring.Len() != test.keys {
					t.Fatalf("got %v, %v, want %d keys", ring, err, test.keys)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), "44 characters") {
				t.Fatalf("got %v, want ...%s...", err, test.wrong)
			}
			for _, key := range []string{specKey, keyA, keyB} {
				if strings.Contains(err.Error(), key[:8]) || strings.Contains(err.Error(), key[20:28]) {
					t.Errorf("the error repeats a key: %v", err)
				}
			}
		})
	}
}

func TestGenerateKey(t *testing.T) {
	a, b := GenerateKey(), GenerateKey()
	if ring, err := ParseKeyring(a + "," + b); err != nil || ring.Len() != 2 {
		t.Errorf("two generated keys: %v, %v", ring, err)
	}
}

func TestKeyringHidesItself(t *testing.T) {
	ring := newRing(t, specKey)
	if got := fmt.Sprintf("%v %s %+v", ring, ring, ring); got != "[keyring] [keyring] [keyring]" {
		t.Errorf("got %q", got)
	}
}

func TestMAC(t *testing.T) {
	message := []byte("a message")
	old, both := newRing(t, keyA), newRing(t, specKey, keyA)
	code, newest := old.MAC(message), both.MAC(message)
	// By another implementation of HKDF and HMAC.
	const want = "de64c63e1e40c79637798499bf92d9e42ab279ede6ff72f6ea564a279c02a3b6"
	if got := hex.EncodeToString(newest[:]); got != want {
		t.Errorf("code under the specification's key: got %s, want %s", got, want)
	}
	if bytes.Equal(code[:], newest[:]) {
		t.Error("two keys, one code")
	}
	spoilt := bytes.Clone(code[:])
	spoilt[15]++
	tests := []struct {
		name    string
		ring    *Keyring
		message string
		mac     []byte
		want    bool
	}{
		{"whole", old, "a message", code[:], true},
		{"under an older key", both, "a message", code[:], true},
		{"under the newest key", both, "a message", newest[:], true},
		{"prefix", both, "a message", code[:16], true},
		{"too short a prefix", both, "a message", code[:15], false},
		{"nothing", both, "a message", nil, false},
		{"too long", both, "a message", append(code[:], 0), false},
		{"other message", both, "a massage", code[:], false},
		{"key not in the ring", old, "a message", newest[:], false},
		{"one byte wrong", both, "a message", spoilt, false},
		{"one byte wrong in a prefix", both, "a message", spoilt[:16], false},
		{"no keys", new(Keyring), "a message", code[:], false},
	}
	for _, test := range tests {
		if got := test.ring.CheckMAC([]byte(test.message), test.mac); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func FuzzParseKeyring(f *testing.F) {
	for _, seed := range []string{"", ",", specKey, specKey + "," + keyA, specKey[:43], keyA + "," + keyA} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := ParseKeyring(text)
		if err != nil {
			for entry := range strings.SplitSeq(text, ",") {
				if len(entry) > 20 && strings.Contains(err.Error(), entry) {
					t.Errorf("the error repeats entry %q", entry)
				}
			}
			return
		}
		if ring.Len() != strings.Count(text, ",")+1 {
			t.Errorf("%d keys of %q", ring.Len(), text)
		}
		sealed, err := ring.Seal([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := ring.Open(sealed); err != nil || string(plain) != "x" {
			t.Errorf("opened: %q, %v", plain, err)
		}
	})
}
