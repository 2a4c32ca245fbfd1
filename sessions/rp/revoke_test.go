package rp_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/sessions/rp"
)

// revoking has the OP take tokens back; what it was asked is in the requests.
type revoking struct {
	*op
	status int
	mu     sync.Mutex
	asked  []*http.Request
	forms  []url.Values
}

// RoundTrip answers for the one endpoint that op does not have.
func (o *revoking) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/revoke" {
		return o.op.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked, o.forms = append(o.asked, r), append(o.forms, form)
	return &http.Response{StatusCode: o.status, Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}, Request: r}, nil
}

func TestTokensAreRevoked(t *testing.T) {
	for name, tt := range map[string]struct {
		auth    string
		scopes  []string
		answer  map[string]any // over the token endpoint's
		without bool           // the OP takes none back
		want    string         // the form; empty if nothing is asked
	}{
		"refresh token":        {"client_secret_basic", []string{"openid"}, nil, false, "token=refresh-token&token_type_hint=refresh_token"},
		"access token alone":   {"client_secret_basic", []string{"openid"}, map[string]any{"refresh_token": nil}, false, "token=access-token&token_type_hint=access_token"},
		"secret in the form":   {"client_secret_post", []string{"openid"}, nil, false, "client_id=client&client_secret=secret&token=refresh-token&token_type_hint=refresh_token"},
		"no secret":            {"none", []string{"openid"}, nil, false, "client_id=client&token=refresh-token&token_type_hint=refresh_token"},
		"offline as asked":     {"client_secret_basic", []string{"openid", "offline_access"}, nil, false, ""},
		"offline as granted":   {"client_secret_basic", []string{"openid"}, map[string]any{"scope": "openid offline_access"}, false, ""},
		"offline not granted":  {"client_secret_basic", []string{"openid", "offline_access"}, map[string]any{"scope": "openid"}, false, "token=refresh-token&token_type_hint=refresh_token"},
		"nowhere to give them": {"client_secret_basic", []string{"openid"}, nil, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				o := &revoking{op: w.op, status: http.StatusOK}
				w.op.discovery, w.op.answer = map[string]any{"revocation_endpoint": w.op.issuer + "/revoke"}, tt.answer
				if tt.without {
					w.op.discovery = nil
				}
				w.a.Provider.HTTP = &http.Client{Transport: o}
				w.a.Auth, w.a.Scopes, w.a.Revoker = tt.auth, tt.scopes, rp.NewRevoker(w.a.Client)
				w.discover()
				b := newBrowser()
				w.signIn(b, w.a)
				b.post(w.a.Logout, "/auth/logout")

				ctx, cancel := context.WithTimeout(t.Context(), 31*time.Second)
				defer cancel()
				soon := time.AfterFunc(29*time.Second, func() {
					o.mu.Lock()
					defer o.mu.Unlock()
					if len(o.asked) != 0 {
						t.Errorf("asked after less than half a minute: %v", o.forms)
					}
				})
				defer soon.Stop()
				_ = w.a.Revoker.Run(ctx)
				switch {
				case tt.want == "" && len(o.asked) != 0:
					t.Errorf("asked %v", o.forms)
				case tt.want != "" && len(o.asked) != 1:
					t.Errorf("asked %d times, want once: %v", len(o.asked), o.forms)
				case tt.want != "":
					id, secret, basic := o.asked[0].BasicAuth()
					if got := o.forms[0].Encode(); got != tt.want || basic != (tt.auth == "client_secret_basic") || basic && id+secret != "clientsecret" {
						t.Errorf("asked %s with %q %q, want %s", got, id, secret, tt.want)
					}
				}
			})
		})
	}
}

// What the OP does not take back is told to the operator, without the token.
func TestRevocationFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		o := &revoking{op: w.op, status: http.StatusServiceUnavailable}
		w.op.discovery = map[string]any{"revocation_endpoint": w.op.issuer + "/revoke"}
		w.a.Provider.HTTP = &http.Client{Transport: o}
		w.a.Revoker = rp.NewRevoker(w.a.Client)
		w.discover()
		b := newBrowser()
		w.signIn(b, w.a)
		b.post(w.a.Logout, "/auth/logout")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.a.Revoker.Run(ctx); ctx.Err() == nil {
			t.Errorf("it stopped: %v", err)
		}
		if text := w.logs.String(); !strings.Contains(text, "tokens not revoked") || !strings.Contains(text, "503") || strings.Contains(text, "refresh-token") {
			t.Errorf("the log says:\n%s", text)
		}
	})
}
