package backchannel

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFlawsAreInOurWords: who runs the OP reads them, and knows nothing of the
// libraries used here.
func TestFlawsAreInOurWords(t *testing.T) {
	m := newMint(t)
	for name, header := range map[string]map[string]any{
		"kid":  {"kid": 7},
		"x5c":  {"x5c": []string{"AAAA"}},
		"x5c ": {"x5c": "AAAA"},
		"jwk":  {"jwk": map[string]any{"kty": "RSA"}},
		"jwk ": {"jwk": 7},
	} {
		raw := tokenCase{Header: header}.token(m)
		_, err := verifierOf(keysOf(goodProvider(t), testTime)).Verify(t.Context(), raw)
		flaw, ok := errors.AsType[*FlawError](err)
		if !ok || flaw.Flaw != Malformed || !strings.HasPrefix(flaw.Detail, "header: ") || !strings.Contains(flaw.Detail, strings.TrimSpace(name)) {
			t.Errorf("%v: got %v, want it to name %s", header, err, name)
			continue
		}
		for _, foreign := range []string{"oidc", "jose", "json", "jwt", "Go "} {
			if strings.Contains(flaw.Detail, foreign) {
				t.Errorf("%v: %q is a library's text", header, flaw.Detail)
			}
		}
	}
}

func TestMissingTypeIsNamed(t *testing.T) {
	for kind, want := range map[string]string{
		"":                 "malformed: Content-Type is missing, want application/x-www-form-urlencoded",
		"/":                "malformed: Content-Type is /, want application/x-www-form-urlencoded",
		"text/plain; x=\"": "malformed: Content-Type is text/plain, want application/x-www-form-urlencoded",
		"application/json": "malformed: Content-Type is application/json, want application/x-www-form-urlencoded",
	} {
		d := newDesk(t)
		r := httptest.NewRequest(http.MethodPost, "/auth/backchannel-logout", strings.NewReader("logout_token=x"))
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		w := d.serve(r)
		if !strings.Contains(w.Body.String(), `"`+want+`"`) {
			t.Errorf("%q: the answer is %d %s, want %q", kind, w.Code, w.Body, want)
		}
	}
}
