package backchannel

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"curfew/events"
)

// tokenCase is one of testdata/tokens, whose README says what it means.
type tokenCase struct {
	Name      string
	Header    map[string]any
	Claims    map[string]any
	Without   []string
	RawHeader string
	RawClaims string
	Key       string
	SignAlg   string
	Token     string
	Taken     []string
	WantExp   bool
	Fact      map[string]any
}

// tokenCases reads every file of testdata/tokens.
func tokenCases(tb testing.TB) map[string][]tokenCase {
	tb.Helper()
	files, err := filepath.Glob("testdata/tokens/*.json")
	if err != nil || len(files) == 0 {
		tb.Fatalf("testdata/tokens: %d files, %v", len(files), err)
	}
	all := make(map[string][]tokenCase)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var cases []tokenCase
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		decoder.UseNumber()
		if err := decoder.Decode(&cases); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = cases
	}
	return all
}

// usualKeys are what the algorithms are signed with.
var usualKeys = map[string]string{"ES256": "ec", "EdDSA": "ed", "HS256": "secret", "HS512": "secret"}

// token makes a case's token.
func (c tokenCase) token(m *mint) string {
	header := map[string]any{"alg": "RS256", "typ": "logout+jwt"}
	maps.Copy(header, c.Header)
	alg, _ := header["alg"].(string)
	alg = cmp.Or(c.SignAlg, alg)
	key := cmp.Or(c.Key, usualKeys[alg], "rsa")
	if _, named := header["kid"]; !named {
		header["kid"] = strings.Replace(key, "stranger", "rsa", 1)
	}
	claims := plainClaims()
	for name, value := range c.Claims {
		claims[name] = timed(value)
	}
	for _, name := range c.Without {
		if member, of := strings.CutPrefix(name, "header."); of {
			delete(header, member)
		} else {
			delete(claims, name)
		}
	}
	rawHeader, rawClaims := m.json(header), m.json(claims)
	if c.RawHeader != "" {
		rawHeader = []byte(c.RawHeader)
	}
	if c.RawClaims != "" {
		rawClaims = []byte(c.RawClaims)
	}
	if coded, is := strings.CutPrefix(c.RawClaims, "base64 "); is {
		rawClaims, _ = base64.StdEncoding.DecodeString(coded)
	}
	whole := m.sign(rawHeader, rawClaims, alg, key)
	if c.Token == "" {
		return whole
	}
	return c.spliced(strings.Split(whole, "."))
}

// spliced puts the parts of the plain token in the place of H, P and S.
func (c tokenCase) spliced(parts []string) string {
	var b strings.Builder
	for i, r := range c.Token {
		alone := (i == 0 || !letter(c.Token[i-1])) && (i+1 == len(c.Token) || !letter(c.Token[i+1]))
		if n := strings.IndexRune("HPS", r); n >= 0 && alone {
			b.WriteString(parts[n])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' }

// timed turns now-301 into seconds.
func timed(value any) any {
	text, _ := value.(string)
	offset, is := strings.CutPrefix(text, "now")
	if !is {
		return value
	}
	seconds, err := strconv.Atoi(cmp.Or(offset, "0"))
	if err != nil {
		return value
	}
	return testNow + seconds
}

func (c tokenCase) verifier(keys *Keys) *Verifier {
	v := verifierOf(keys)
	v.AllowMissingExp = !c.WantExp
	if c.Taken != nil {
		v.Algorithms = func() []string { return c.Taken }
	}
	return v
}

func TestTokens(t *testing.T) {
	m := newMint(t)
	for want, cases := range tokenCases(t) {
		for _, c := range cases {
			t.Run(want+"/"+c.Name, func(t *testing.T) {
				v := c.verifier(keysOf(goodProvider(t), testTime))
				fact, err := v.Verify(t.Context(), c.token(m))
				if want != "accepted" {
					wantFlaw(t, err, Flaw(want))
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				c.wantFact(t, fact)
			})
		}
	}
}

// TestEveryFlawIsTried counts the files of testdata/tokens.
func TestEveryFlawIsTried(t *testing.T) {
	cases := tokenCases(t)
	flaws := []Flaw{
		Malformed, BadSignature, BadAlg, WrongTyp, WrongIssuer, WrongAudience, NoIAT,
		TooOld, TooNew, Expired, NoJTI, NoEvent, HasNonce, NamesNobody, "accepted",
	}
	for _, flaw := range flaws {
		if len(cases[string(flaw)]) == 0 {
			t.Errorf("no token for %s", flaw)
		}
	}
	if len(cases) != len(flaws) {
		t.Errorf("got %d files, want %d", len(cases), len(flaws))
	}
}

func wantFlaw(t *testing.T, err error, want Flaw) {
	t.Helper()
	flaw, ok := errors.AsType[*FlawError](err)
	if !ok {
		t.Fatalf("got %v, want %s", err, want)
	}
	if flaw.Flaw != want || flaw.Detail == "" || !strings.Contains(err.Error(), string(want)+": ") {
		t.Errorf("got %v, want %s", err, want)
	}
}

func (c tokenCase) wantFact(t *testing.T, got events.LogoutReceived) {
	t.Helper()
	want := map[string]any{
		"sub": got.Sub, "sid": got.Sid, "jti": got.JTI,
		"iat":   json.Number(strconv.FormatInt(got.IssuedAt.Unix()-testNow, 10)),
		"until": json.Number(strconv.FormatInt(got.Until.Unix()-testNow, 10)),
	}
	for name, value := range c.Fact {
		if value != want[name] {
			t.Errorf("%s: got %v, want %v", name, want[name], value)
		}
	}
	if got.Issuer != testIssuer || got.Reason != events.Backchannel || got.All || got.Replica != "" {
		t.Errorf("got %+v", got)
	}
	if _, err := events.Encode(events.NewEvent(got, "r-1", testTime())); err != nil {
		t.Error(err)
	}
}

func TestVerifyBetweenSeconds(t *testing.T) {
	m := newMint(t)
	// The token's times count whole seconds, so ours do too: at the very end of
	// its last second a token is still good.
	for _, claims := range []map[string]any{
		{"iat": testNow - 180, "exp": testNow - 60},
		{"iat": testNow - 3660, "exp": testNow},
		{"iat": testNow + 60, "exp": testNow + 120},
	} {
		v := verifierOf(keysOf(goodProvider(t), testTime))
		v.Now = func() time.Time { return testTime().Add(999 * time.Millisecond) }
		fact, err := v.Verify(t.Context(), m.token("rsa", claims))
		if want := time.Unix(int64(claims["iat"].(int)), 0); err != nil || !fact.Until.Equal(want) {
			t.Errorf("%v: got %v, %v, want %v", claims, fact.Until, err, want)
		}
	}
}

func TestVerifyMaxAge(t *testing.T) {
	m := newMint(t)
	for _, tt := range []struct {
		age, max time.Duration
		want     Flaw
	}{
		{time.Hour + time.Minute, 0, ""},
		{time.Hour + time.Minute + time.Second, 0, TooOld},
		{13*time.Hour + time.Minute, 13 * time.Hour, ""},
		{13*time.Hour + 61*time.Second, 13 * time.Hour, TooOld},
	} {
		v := verifierOf(keysOf(goodProvider(t), testTime))
		v.MaxAge = tt.max
		_, err := v.Verify(t.Context(), m.token("rsa", map[string]any{"iat": testNow - int(tt.age/time.Second)}))
		if tt.want != "" {
			wantFlaw(t, err, tt.want)
		} else if err != nil {
			t.Errorf("%v of %v: got %v", tt.age, tt.max, err)
		}
	}
}

// TestVerifyAsksNoKeysForFlawed shows that a token which no signature could
// make good costs no look at the OP's keys.
func TestVerifyAsksNoKeysForFlawed(t *testing.T) {
	m := newMint(t)
	for want, cases := range tokenCases(t) {
		if want == "accepted" || want == "bad_signature" {
			continue
		}
		for _, c := range cases {
			p := goodProvider(t)
			_, err := c.verifier(keysOf(p, testTime)).Verify(t.Context(), c.token(m))
			if err == nil || p.asked() != 0 {
				t.Errorf("%s/%s: got %d looks, %v", want, c.Name, p.asked(), err)
			}
		}
	}
}

func TestZeroVerifierRefuses(t *testing.T) {
	m := newMint(t)
	for _, claims := range []map[string]any{{}, {"iss": ""}} {
		_, err := new(Verifier).Verify(t.Context(), m.token("rsa", claims))
		wantFlaw(t, err, WrongIssuer)
	}
	v := verifierOf(keysOf(goodProvider(t), testTime))
	v.ClientID = ""
	_, err := v.Verify(t.Context(), m.token("rsa", map[string]any{"aud": ""}))
	wantFlaw(t, err, Malformed)
}

func TestVerifyWhileMetadataIsUnknown(t *testing.T) {
	v := verifierOf(keysOf(goodProvider(t), testTime))
	v.Algorithms = func() []string { return nil }
	_, err := v.Verify(t.Context(), newMint(t).token("rsa", nil))
	if trouble, ok := errors.AsType[*KeyError](err); !ok || trouble.Trouble != NoKeys || trouble.RetryAfter <= 0 {
		t.Errorf("got %v, want trouble of ours", err)
	}
}

// keySetFunc is a KeySet of another hand.
type keySetFunc func(ctx context.Context, jwt string) ([]byte, error)

func (f keySetFunc) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	return f(ctx, jwt)
}

var _ oidc.KeySet = keySetFunc(nil)

// TestVerifyTellsTrouble looks at what becomes of each error of the keys.
func TestVerifyTellsTrouble(t *testing.T) {
	raw := newMint(t).token("rsa", nil)
	elsewhere := errors.New("elsewhere")
	for _, tt := range []struct {
		name string
		err  error
		ours bool
	}{
		{"not signed", &KeyError{Trouble: NotSigned, Err: elsewhere}, false},
		{"no keys", &KeyError{Trouble: NoKeys, Err: elsewhere}, true},
		{"rationed", &KeyError{Trouble: Rationed, Err: elsewhere}, true},
		{"wrapped", fmt.Errorf("keys: %w", &KeyError{Trouble: NoKeys, Err: elsewhere}), true},
		{"given up", context.Canceled, true},
		{"too slow", fmt.Errorf("keys: %w", context.DeadlineExceeded), true},
		{"of another hand", elsewhere, false},
		{"other claims than were read", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := verifierOf(nil)
			v.Keys = keySetFunc(func(context.Context, string) ([]byte, error) { return []byte(`{"sub":"mallory"}`), tt.err })
			fact, err := v.Verify(t.Context(), raw)
			if !reflect.DeepEqual(fact, events.LogoutReceived{}) {
				t.Errorf("got a fact: %+v", fact)
			}
			if !tt.ours {
				wantFlaw(t, err, BadSignature)
			} else if !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

// TestErrorsQuoteNoToken looks for the token, and for what names people, in
// every error.
func TestErrorsQuoteNoToken(t *testing.T) {
	m := newMint(t)
	for _, cases := range tokenCases(t) {
		for _, c := range cases {
			raw := c.token(m)
			_, err := c.verifier(keysOf(goodProvider(t), testTime)).Verify(t.Context(), raw)
			if err == nil {
				continue
			}
			for secret := range strings.SplitSeq(raw+".alice.s-1", ".") {
				if len(secret) > 2 && strings.Contains(err.Error(), secret) {
					t.Errorf("%s: %v quotes %q", c.Name, err, secret)
				}
			}
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	m := newMint(b)
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			v := verifierOf(keysOf(goodProvider(b), testTime))
			raw := tokenCase{Header: map[string]any{"alg": alg}}.token(m)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
