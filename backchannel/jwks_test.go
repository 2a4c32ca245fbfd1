package backchannel

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
)

// altered puts members over those of a published key; nil leaves one out.
func altered(t *testing.T, key json.RawMessage, patch map[string]any) json.RawMessage {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(key, &object); err != nil {
		t.Fatal(err)
	}
	for name, value := range patch {
		if object[name] = value; value == nil {
			delete(object, name)
		}
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestKeySetMembers puts a key beside a good one: it must be read or left out,
// and never spoil the other.
func TestKeySetMembers(t *testing.T) {
	keys := testKeys(t)
	rsa, ec, ed := published(t, keys["rsa"], "rsa", "sig"), published(t, keys["ec"], "ec", ""), published(t, keys["ed"], "ed", "")
	good := published(t, keys["stranger"], "good", "sig")
	for _, tt := range []struct {
		name string
		key  json.RawMessage
		read bool
	}{
		{"RSA", rsa, true},
		{"elliptic", ec, true},
		{"Ed25519", ed, true},
		{"no use, no alg", altered(t, rsa, map[string]any{"use": nil, "alg": nil}), true},
		{"an alg that nobody knows", altered(t, rsa, map[string]any{"alg": "XX1"}), true},
		{"a certificate that does not parse", altered(t, rsa, map[string]any{"x5c": []string{"AAAA"}, "x5t": "AAAA"}), true},
		{"a certificate that is no list", altered(t, rsa, map[string]any{"x5c": 7}), true},
		{"padding", altered(t, ec, map[string]any{"x": member(t, ec, "x") + "="}), true},
		{"for encryption", altered(t, rsa, map[string]any{"use": "enc"}), false},
		{"for something else", altered(t, rsa, map[string]any{"use": "tls"}), false},
		{"private", private(t, keys["rsa"]), false},
		{"private, elliptic", private(t, keys["ec"]), false},
		{"private, Ed25519", private(t, keys["ed"]), false},
		{"symmetric", json.RawMessage(`{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`), false},
		{"of a kind that nobody knows", json.RawMessage(`{"kty":"XX","x":"AAAA"}`), false},
		{"of no kind", altered(t, rsa, map[string]any{"kty": nil}), false},
		{"secp256k1", altered(t, ec, map[string]any{"crv": "secp256k1"}), false},
		{"Ed448", altered(t, ed, map[string]any{"crv": "Ed448"}), false},
		{"not on its curve", altered(t, ec, map[string]any{"x": member(t, ec, "y")}), false},
		{"no modulus", altered(t, rsa, map[string]any{"n": nil}), false},
		{"exponent zero", altered(t, rsa, map[string]any{"e": "AA"}), false},
		{"giant modulus", altered(t, rsa, map[string]any{"n": strings.Repeat("A_", 10_000)}), false},
		{"kid a number", altered(t, rsa, map[string]any{"kid": 7}), false},
		{"a text", json.RawMessage(`"key"`), false},
		{"null", json.RawMessage(`null`), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readKeys([]byte(fmt.Sprintf(`{"keys":[%s,%s]}`, tt.key, good)), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if read := len(got) == 2; read != tt.read || got[len(got)-1].KeyID != "good" {
				t.Errorf("got %d keys, want the first read: %v", len(got), tt.read)
			}
			for _, key := range got {
				if !key.IsPublic() {
					t.Errorf("got a key that is not public: %T", key.Key)
				}
			}
		})
	}
}

func private(t *testing.T, key any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "private"})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func member(t *testing.T, key json.RawMessage, name string) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(key, &object); err != nil {
		t.Fatal(err)
	}
	return object[name].(string)
}

// TestFits has no key try an algorithm of another kind.
func TestFits(t *testing.T) {
	keys := testKeys(t)
	want := map[string]string{
		"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
		"ES256": "ec", "EdDSA": "ed",
	}
	for _, alg := range algorithms {
		for _, id := range []string{"rsa", "ec", "ed"} {
			set, err := readKeys([]byte(`{"keys":[`+string(published(t, keys[id], id, ""))+`]}`), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if got := fits(set[0].Key, alg); got != (want[alg] == id) {
				t.Errorf("%s with %s: got %v", alg, id, got)
			}
		}
		if fits([]byte("secret"), alg) {
			t.Errorf("%s fits a symmetric key", alg)
		}
	}
}
