package rp_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

func halfHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

type alterToken = func(header, claims map[string]any)

// set returns what sets claims; nil takes one away.
func set(over map[string]any) alterToken {
	return func(_, claims map[string]any) { overlay(claims, over) }
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func TestIDToken(t *testing.T) {
	logout := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	tests := []struct {
		name  string
		alter func() alterToken
		code  string // empty: it is taken
	}{
		{"as it should be", func() alterToken { return set(nil) }, ""},
		{"wrong nonce", func() alterToken { return set(map[string]any{"nonce": "x"}) }, "token_invalid"},
		{"empty nonce", func() alterToken { return set(map[string]any{"nonce": ""}) }, "token_invalid"},
		{"no nonce", func() alterToken { return set(map[string]any{"nonce": nil}) }, "token_invalid"},
		{"another issuer", func() alterToken { return set(map[string]any{"iss": "https://op.example.com/"}) }, "token_invalid"},
		{"another audience", func() alterToken { return set(map[string]any{"aud": "other"}) }, "token_invalid"},
		{"audience as a list", func() alterToken { return set(map[string]any{"aud": []string{"client"}}) }, ""},
		{"further audience", func() alterToken { return set(map[string]any{"aud": []string{"client", "other"}}) }, "token_invalid"},
		{"further audience, ours the azp", func() alterToken {
			return set(map[string]any{"aud": []string{"client", "other"}, "azp": "client"})
		}, ""},
		{"another azp", func() alterToken { return set(map[string]any{"azp": "other"}) }, "token_invalid"},
		{"azp is no text", func() alterToken { return set(map[string]any{"azp": 1}) }, "token_invalid"},
		{"no sub", func() alterToken { return set(map[string]any{"sub": nil}) }, "token_invalid"},
		{"expired", func() alterToken { return set(map[string]any{"exp": in(-time.Second)}) }, "token_invalid"},
		{"no exp", func() alterToken { return set(map[string]any{"exp": nil}) }, "token_invalid"},
		{"no iat", func() alterToken { return set(map[string]any{"iat": nil}) }, "token_invalid"},
		{"iat a little ahead", func() alterToken { return set(map[string]any{"iat": in(time.Minute)}) }, ""},
		{"iat far ahead", func() alterToken { return set(map[string]any{"iat": in(10 * time.Minute)}) }, "token_invalid"},
		{"iat before the login", func() alterToken { return set(map[string]any{"iat": in(-10 * time.Minute)}) }, "token_invalid"},
		{"iat with a fraction", func() alterToken { return set(map[string]any{"iat": float64(in(0)) + 0.5}) }, ""},
		{"right at_hash", func() alterToken { return set(map[string]any{"at_hash": halfHash("access-token")}) }, ""},
		{"wrong at_hash", func() alterToken { return set(map[string]any{"at_hash": halfHash("other")}) }, "token_invalid"},
		{"sid is no text", func() alterToken { return set(map[string]any{"sid": 7}) }, "token_invalid"},
		{"sid is null", func() alterToken { return func(_, claims map[string]any) { claims["sid"] = (*int)(nil) } }, ""},
		{"a logout token", func() alterToken { return set(map[string]any{"events": logout}) }, "token_invalid"},
		{"a logout token without nonce", func() alterToken { return set(map[string]any{"events": logout, "nonce": nil}) }, "token_invalid"},
		{"HMAC, which is not configured", func() alterToken { return func(header, _ map[string]any) { header["alg"] = "HS256" } }, "token_invalid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.op.idToken = test.alter()
				b := newBrowser()
				a := w.signIn(b, w.a)
				if test.code == "" {
					a.want(t, http.StatusFound, "https://app.example.com/docs")
					return
				}
				a.want(t, http.StatusBadGateway, "problem "+test.code)
				w.checkRefused(b, a)
			})
		})
	}
}

// TestUnsigned takes a token's signature away, in the ways that have worked
// somewhere.
func TestUnsigned(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString
	for _, token := range []string{"", "x", "a.b.c", "..", "{}", part([]byte(`{"alg":"none"}`)), part([]byte(`{"alg":"None"}`)), part([]byte(`{"alg":""}`))} {
		inWorld(t, func(t *testing.T, w *world) {
			b := newBrowser()
			callback := w.begin(b, w.a, "")
			if len(token) > 5 {
				claims := fmt.Sprintf(`{"iss":%q,"aud":"client","sub":"x","iat":%d,"exp":%d}`, w.op.issuer, in(0), in(time.Hour))
				token += "." + part([]byte(claims)) + "."
			}
			w.op.answer = map[string]any{"id_token": token}
			b.get(w.a.Callback, callback).want(t, http.StatusBadGateway, "problem token_invalid")
		})
	}
}

// TestHMACWhereConfigured has an operator list HS256, and an at_hash with it.
func TestHMACWhereConfigured(t *testing.T) {
	for hash, want := range map[string]int{halfHash("access-token"): http.StatusFound, halfHash("other"): http.StatusBadGateway} {
		inWorld(t, func(t *testing.T, w *world) {
			w.a.Algorithms = []string{"HS256"}
			w.op.idToken = func(header, claims map[string]any) { header["alg"], claims["at_hash"] = "HS256", hash }
			if a := w.signIn(newBrowser(), w.a); a.StatusCode != want {
				t.Errorf("at_hash %s is answered %d %q, want %d", hash, a.StatusCode, a.body, want)
			}
		})
	}
}

func TestMaxAge(t *testing.T) {
	for ago, want := range map[time.Duration]int{time.Minute: http.StatusFound, time.Hour: http.StatusBadGateway} {
		inWorld(t, func(t *testing.T, w *world) {
			w.a.AuthParams = url.Values{"max_age": {"600"}}
			w.op.idToken = set(map[string]any{"auth_time": in(-ago)})
			if a := w.signIn(newBrowser(), w.a); a.StatusCode != want {
				t.Errorf("a user who signed in %s ago is answered %d, want %d", ago, a.StatusCode, want)
			}
		})
	}
}

func TestSlowKeys(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.a.Keys = keysFunc(func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("keys: %w", ctx.Err())
		})
		w.signIn(newBrowser(), w.a).want(t, http.StatusBadGateway, "problem provider_unreachable")
	})
}

type keysFunc func(context.Context) error

func (f keysFunc) VerifySignature(ctx context.Context, _ string) ([]byte, error) { return nil, f(ctx) }
