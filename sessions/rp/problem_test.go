package rp_test

import (
	"net/http"
	"strings"
	"testing"
)

// Whoever runs the service finds in the log, under the reference that the person
// has, what is to be changed.
func TestRemedies(t *testing.T) {
	for name, tt := range map[string]struct {
		alter func(*world)
		query string // over the OP's answer
		seen  string
		says  string
	}{
		"client refused": {func(w *world) {
			w.op.refuse = func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusUnauthorized)
				w.op.sendJSON(rw, map[string]string{"error": "invalid_client"})
			}
		}, "", "problem provider_error", "OIDC_CLIENT_SECRET"},
		"scope refused":      {func(*world) {}, "&error=invalid_scope", "problem provider_error", "OIDC_SCOPES"},
		"asked for nothing":  {func(*world) {}, "&error=login_required", "problem provider_error", "prompt=none"},
		"an error of no use": {func(*world) {}, "&error=server_error", "problem provider_error", ""},
		"another audience":   {func(w *world) { w.op.idToken = func(_, claims map[string]any) { claims["aud"] = "other" } }, "", "problem token_invalid", "OIDC_CLIENT_ID"},
		"OP away":            {func(w *world) { w.op.down = true }, "", "problem provider_unreachable", "certificate"},
		"log away":           {func(w *world) { w.log.Stop() }, "", "problem log_unavailable", "/readyz"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := newBrowser()
				back := w.begin(b, w.a, "")
				tt.alter(w)
				a := b.get(w.a.Callback, back+tt.query)
				if a.body != tt.seen {
					t.Fatalf("the answer is %d %q", a.StatusCode, a.body)
				}
				var line string
				for l := range strings.Lines(w.logs.String()) {
					if strings.Contains(l, "reference="+a.Header.Get("X-Reference")) {
						line = l
					}
				}
				_, remedy, found := strings.Cut(line, "remedy=")
				if found != (tt.says != "") || !strings.Contains(remedy, tt.says) {
					t.Errorf("the log says %q, want a remedy with %q", line, tt.says)
				}
			})
		})
	}
}
