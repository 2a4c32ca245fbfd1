package realop

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"curfew/sessions/rp/optest"
)

// Serve runs the small provider on a port of its own until the test ends, and
// fills in what it lacks: the issuer, the HTTP client, the logger and three
// users. The clock is the test's to choose. The issuer's path may be set beforehand, as in "/realm/"; the
// rest of it is then put in front.
//
// wrap, if there is one, stands before the provider, to make it fail.
func Serve(t testing.TB, provider *optest.Provider, wrap func(http.Handler) http.Handler) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	provider.Issuer = "http://" + server.Listener.Addr().String() + provider.Issuer
	if provider.HTTP == nil {
		provider.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	if provider.Logger == nil {
		provider.Logger = slog.New(slog.DiscardHandler)
	}
	if provider.Users == nil {
		provider.Users = optest.DemoUsers()
	}
	handler, err := provider.Handler()
	if err != nil {
		server.Listener.Close()
		t.Fatalf("realop: serve: %v", err)
	}
	if wrap != nil {
		handler = wrap(handler)
	}
	server.Config.Handler = handler
	server.Start()
	t.Cleanup(server.Close)
}
