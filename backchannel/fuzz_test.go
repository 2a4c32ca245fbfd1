package backchannel

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"curfew/events"
)

// FuzzVerify looks for a text that panics, or passes without having been signed
// here. Signatures themselves differ from one process to the next.
func FuzzVerify(f *testing.F) {
	m := newMint(f)
	signed := make(map[string]bool)
	for _, cases := range tokenCases(f) {
		for _, c := range cases {
			raw := c.token(m)
			f.Add(raw)
			signed[withoutSignature(raw)] = true
		}
	}
	v := verifierOf(keysOf(goodProvider(f), testTime))
	v.Algorithms = func() []string { return algorithms }
	f.Fuzz(func(t *testing.T, raw string) {
		fact, err := v.Verify(t.Context(), raw)
		if err == nil {
			if !signed[withoutSignature(raw)] {
				t.Errorf("%q passes, and nobody signed it", raw)
			}
			return
		}
		if !reflect.DeepEqual(fact, events.LogoutReceived{}) {
			t.Errorf("got a fact beside %v", err)
		}
		flaw, flawed := errors.AsType[*FlawError](err)
		if _, trouble := errors.AsType[*KeyError](err); flawed == trouble {
			t.Errorf("got %T: %v", err, err)
		}
		if flawed && !utf8.ValidString(flaw.Detail) {
			t.Errorf("got %q", flaw.Detail)
		}
	})
}

func withoutSignature(raw string) string { return raw[:max(strings.LastIndexByte(raw, '.'), 0)] }

// FuzzClaims signs whatever claims there are: what passes must make an event
// that the log can hold.
func FuzzClaims(f *testing.F) {
	m := newMint(f)
	for _, cases := range tokenCases(f) {
		for _, c := range cases {
			if t, _ := readToken(c.token(m)); t.payload != nil {
				f.Add(t.payload)
			}
		}
	}
	v := verifierOf(keysOf(goodProvider(f), testTime))
	v.Algorithms = func() []string { return algorithms }
	header := []byte(`{"alg":"HS256"}`)
	f.Fuzz(func(t *testing.T, claims []byte) {
		fact, err := v.Verify(t.Context(), (&mint{tb: t, keys: m.keys}).sign(header, claims, "HS256", "secret"))
		if err != nil {
			if flaw, ok := errors.AsType[*FlawError](err); !ok || flaw.Flaw == BadSignature {
				t.Errorf("got %v", err)
			}
			return
		}
		if fact.Issuer != testIssuer || fact.Until.After(testTime().Add(time.Minute)) || fact.Reason != events.Backchannel {
			t.Errorf("got %+v", fact)
		}
		message, err := events.Encode(events.NewEvent(fact, "r-1", testTime()))
		if err != nil {
			t.Fatal(err)
		}
		if event, err := events.Decode(message); err != nil || event.Fact != fact {
			t.Errorf("got %+v, %v, want %+v", event.Fact, err, fact)
		}
	})
}

// FuzzHandler posts whatever body there is.
func FuzzHandler(f *testing.F) {
	raw := newMint(f).token("rsa", nil)
	for _, body := range []string{
		"", "&", "=", "logout_token", "logout_token=", "logout_token=x", "logout_token=" + raw,
		"logout_token=" + raw + "&logout_token=" + raw, "a=%zz&logout_token=" + raw, "logout%5Ftoken=" + raw,
		"logout_token=%00", "logout_token=a.b.c", "logout_token=..", "logout_token=....", ";logout_token=" + raw,
	} {
		f.Add(body)
	}
	d := newDesk(f)
	f.Fuzz(func(t *testing.T, body string) {
		d.written.Reset()
		switch w := d.serve(post(body)); w.Code {
		case http.StatusOK:
			if token, err := formToken(body); err != nil || token != raw {
				t.Errorf("%q passes: %q, %v", body, token, err)
			}
		case http.StatusBadRequest:
			wantRefused(t, w, http.StatusBadRequest, "invalid_request", "")
		case http.StatusServiceUnavailable:
			wantRefused(t, w, http.StatusServiceUnavailable, "temporarily_unavailable", "the provider's keys ")
		default:
			t.Errorf("got %d", w.Code)
		}
	})
}
