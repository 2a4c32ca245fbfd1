package backchannel

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// provider is the place where an OP publishes its keys, as an
// http.RoundTripper. It can be in trouble.
type provider struct {
	mu      sync.Mutex
	keys    []json.RawMessage
	respond func(*http.Request) (*http.Response, error) // instead of the keys
	looks   int
}

func (p *provider) publish(keys ...json.RawMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.respond = keys, nil
}

func (p *provider) trouble(respond func(*http.Request) (*http.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.respond = respond
}

func (p *provider) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.looks++
	keys, respond := p.keys, p.respond
	p.mu.Unlock()
	if respond != nil {
		return respond(r)
	}
	body, err := json.Marshal(map[string]any{"keys": keys})
	return response(http.StatusOK, string(body)), err
}

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body))}
}

func answering(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return response(status, body), nil }
}

// hanging answers nothing until the request is given up.
func hanging(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// goodProvider publishes the test keys, and one that is for encryption.
func goodProvider(tb testing.TB) *provider {
	keys := testKeys(tb)
	p := &provider{}
	p.publish(
		published(tb, keys["rsa"], "rsa", "sig"), published(tb, keys["ec"], "ec", ""),
		published(tb, keys["ed"], "ed", "sig"), published(tb, keys["stranger"], "enc", "enc"),
	)
	return p
}

func keysOf(p *provider, now func() time.Time) *Keys {
	return &Keys{
		URL:  func() (string, bool) { return testIssuer + "/jwks", true },
		HTTP: &http.Client{Transport: p}, Secret: []byte(testSecret),
		Now: now, Logger: slog.New(slog.DiscardHandler),
	}
}

// asymmetric are the algorithms that need no shared secret.
var asymmetric = algorithms[:10]

func verifierOf(keys *Keys) *Verifier {
	return &Verifier{
		Issuer: testIssuer, ClientID: testClient, Keys: keys,
		Algorithms:      func() []string { return asymmetric },
		AllowMissingExp: true, Now: testTime,
	}
}
