package backchannel

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wantTrouble looks at a KeyError.
func wantTrouble(t *testing.T, err error, want KeyTrouble) {
	t.Helper()
	trouble, ok := errors.AsType[*KeyError](err)
	if !ok || trouble.Trouble != want || trouble.Unavailable() != (want != NotSigned) {
		t.Fatalf("got %v, want trouble %d", err, want)
	}
	if (trouble.RetryAfter > 0) != trouble.Unavailable() || trouble.RetryAfter > time.Minute {
		t.Errorf("got a wait of %v", trouble.RetryAfter)
	}
}

func verifies(t *testing.T, k *Keys, raw string) {
	t.Helper()
	if payload, err := k.VerifySignature(t.Context(), raw); err != nil || !json.Valid(payload) {
		t.Fatalf("got %q, %v", payload, err)
	}
}

func TestKeysAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMint(t), goodProvider(t)
		k := keysOf(p, time.Now)
		for range 3 {
			verifies(t, k, m.token("rsa", nil))
			verifies(t, k, tokenCase{Header: map[string]any{"alg": "EdDSA"}}.token(m))
		}
		if p.asked() != 1 {
			t.Errorf("got %d looks, want 1", p.asked())
		}
	})
}

// TestKeysRotate changes the OP's keys in every way and sends a token at once.
func TestKeysRotate(t *testing.T) {
	m := newMint(t)
	before, after := m.keys["rsa"], m.keys["stranger"]
	for _, tt := range []struct {
		name        string
		oldID, next string // key ids as published
		kid         string // of the token
	}{
		{"under another id", "1", "2", "2"},
		{"under the same id", "1", "1", "1"},
		{"without ids", "", "", ""},
		{"published without an id", "1", "", "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{}
				p.publish(published(t, before, tt.oldID, "sig"))
				k := keysOf(p, time.Now)
				verifies(t, k, signedBy(m, "rsa", tt.oldID))
				p.publish(published(t, after, tt.next, "sig"))
				verifies(t, k, signedBy(m, "stranger", tt.kid))
				_, err := k.VerifySignature(t.Context(), signedBy(m, "rsa", tt.oldID))
				wantTrouble(t, err, NotSigned)
			})
		})
	}
}

// signedBy is a token under a key id, none if that is empty.
func signedBy(m *mint, key, kid string) string {
	header := map[string]any{"alg": "RS256"}
	if kid != "" {
		header["kid"] = kid
	}
	return m.sign(m.json(header), m.json(plainClaims()), "RS256", key)
}

func TestKeysMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMint(t), goodProvider(t)
		k := keysOf(p, time.Now)
		url, known := "https://op.example.com/1", false
		k.URL = func() (string, bool) { return url, known }
		_, err := k.VerifySignature(t.Context(), m.token("rsa", nil))
		wantTrouble(t, err, NoKeys)
		known = true
		verifies(t, k, m.token("rsa", nil))
		known = false
		verifies(t, k, m.token("rsa", nil))
		// What was published elsewhere is not the OP's any more.
		url, known = "https://op.example.com/2", true
		p.trouble(answering(http.StatusBadGateway, ""))
		_, err = k.VerifySignature(t.Context(), m.token("rsa", nil))
		wantTrouble(t, err, NoKeys)
	})
}

// TestKeysOutage tells an outage from a forgery.
func TestKeysOutage(t *testing.T) {
	good, err := json.Marshal(map[string]any{"keys": []json.RawMessage{published(t, testKeys(t)["rsa"], "rsa", "")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, respond := range map[string]func(*http.Request) (*http.Response, error){
		"unreachable":  func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"hanging":      hanging,
		"500":          answering(http.StatusInternalServerError, string(good)),
		"404":          answering(http.StatusNotFound, string(good)),
		"redirect":     answering(http.StatusMultipleChoices, string(good)),
		"garbage":      answering(http.StatusOK, "<html>Down for maintenance</html>"),
		"empty":        answering(http.StatusOK, ""),
		"cut short":    answering(http.StatusOK, string(good[:len(good)/2])),
		"no keys":      answering(http.StatusOK, `{"keys":[]}`),
		"not a set":    answering(http.StatusOK, `{}`),
		"null":         answering(http.StatusOK, `null`),
		"too large":    answering(http.StatusOK, string(good)+strings.Repeat(" ", maxKeySet)),
		"weird alone":  answering(http.StatusOK, `{"keys":[{"kty":"weird"}]}`),
		"panic inside": func(*http.Request) (*http.Response, error) { panic("transport") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, p := newMint(t), goodProvider(t)
				k := keysOf(p, time.Now)
				genuine, forged := m.token("rsa", nil), m.token("stranger", nil)
				p.trouble(respond)
				_, err := look(t, k, genuine)
				wantTrouble(t, err, NoKeys)
				p.publish(goodProvider(t).keys...)
				verifies(t, k, genuine)
				p.trouble(respond)
				verifies(t, k, genuine)
				// It may be signed with a key made just now.
				_, err = look(t, k, forged)
				wantTrouble(t, err, NoKeys)
				p.publish(goodProvider(t).keys...)
				_, err = look(t, k, forged)
				wantTrouble(t, err, NotSigned)
			})
		})
	}
}

// look verifies a signature and takes a panic of the transport for the outage
// that it left behind.
func look(t *testing.T, k *Keys, raw string) (payload []byte, err error) {
	t.Helper()
	defer func() {
		if recover() != nil {
			err = noKeys(time.Second, k.failed)
		}
	}()
	return k.VerifySignature(t.Context(), raw)
}

// TestKeysRememberOutage uses the ration up while the OP is down: it must still
// be called an outage.
func TestKeysRememberOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMint(t), goodProvider(t)
		k := keysOf(p, time.Now)
		p.trouble(answering(http.StatusServiceUnavailable, ""))
		for range 2 * burst {
			_, err := k.VerifySignature(t.Context(), m.token("rsa", nil))
			wantTrouble(t, err, NoKeys)
		}
		if p.asked() != burst {
			t.Errorf("got %d looks, want %d", p.asked(), burst)
		}
		p.publish(goodProvider(t).keys...)
		_, err := k.VerifySignature(t.Context(), m.token("rsa", nil))
		trouble, ok := errors.AsType[*KeyError](err)
		if !ok || trouble.Trouble != NoKeys {
			t.Fatalf("got %v, want an outage", err)
		}
		<-time.After(trouble.RetryAfter)
		verifies(t, k, m.token("rsa", nil))
	})
}

// TestKeysGoStale lets the OP withdraw a key that keeps signing.
func TestKeysGoStale(t *testing.T) {
	m, p := newMint(t), goodProvider(t)
	now := testTime()
	k := keysOf(p, func() time.Time { return now })
	var log strings.Builder
	k.Logger = slog.New(slog.NewTextHandler(&log, nil))
	raw := m.token("rsa", nil)
	verifies(t, k, raw)
	withdrawn := published(t, m.keys["stranger"], "new", "sig")
	p.publish(withdrawn)
	now = now.Add(stale - time.Second)
	verifies(t, k, raw)
	if log.Len() != 0 {
		t.Errorf("got %s", &log)
	}
	now = now.Add(time.Second)
	p.trouble(answering(http.StatusBadGateway, ""))
	verifies(t, k, raw) // for want of better
	if !strings.Contains(log.String(), "trusting keys of the provider that are old") {
		t.Errorf("got %q", log.String())
	}
	p.publish(withdrawn)
	_, err := k.VerifySignature(t.Context(), raw)
	wantTrouble(t, err, NotSigned)
}

func TestZeroKeysVerifyNothing(t *testing.T) {
	m := newMint(t)
	var k Keys
	for _, tt := range []struct {
		raw  string
		want KeyTrouble
	}{
		{m.token("rsa", nil), NoKeys},
		{tokenCase{Header: map[string]any{"alg": "HS256"}}.token(m), NotSigned},
		{emptySecret(m), NotSigned},
		{"hello", NotSigned},
		{"", NotSigned},
		{encode([]byte(`{"alg":"none"}`)) + ".e30.", NotSigned},
	} {
		_, err := k.VerifySignature(t.Context(), tt.raw)
		wantTrouble(t, err, tt.want)
	}
}

// emptySecret is a token that anyone can sign.
func emptySecret(m *mint) string {
	input := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(m.json(plainClaims()))
	mac := hmac.New(sha256.New, nil)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}
