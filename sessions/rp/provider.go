package rp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Provider is the OP as its discovery document describes it. Discover and Run
// may be called while others ask for the Metadata.
type Provider struct {
	// Issuer is what the discovery document must say of itself, byte for byte.
	Issuer string
	// HTTP speaks to the OP; nil means http.DefaultClient. Each request is
	// bounded in time whatever the client's own bound is.
	HTTP *http.Client
	Now  func() time.Time
	// Logger hears of documents that Run does not get.
	Logger *slog.Logger

	metadata atomic.Pointer[Metadata]
}

// Metadata is what curfew needs of an OpenID Connect Discovery 1.0 document
// (section 3) and of the specifications that add to it. It is shared: its
// slices must not be changed.
type Metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	IDTokenAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	UserinfoAlgorithms    []string `json:"userinfo_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	CodeChallengeMethods  []string `json:"code_challenge_methods_supported"`
	Scopes                []string `json:"scopes_supported"`

	// Backchannel and BackchannelSession announce logout tokens, and a sid in
	// them (Back-Channel Logout 1.0 section 2.1).
	Backchannel        bool `json:"backchannel_logout_supported"`
	BackchannelSession bool `json:"backchannel_logout_session_supported"`
	// IssParameter announces iss in the answer to an authorization request
	// (RFC 9207 section 3).
	IssParameter bool `json:"authorization_response_iss_parameter_supported"`

	// Skew is how far the OP's clock is ahead of ours, by the Date of its
	// answer, which counts whole seconds; zero if it has none.
	Skew time.Duration `json:"-"`
}

// SigningAlgorithms are those that the OP lists for ID tokens and that count
// without an operator naming them; RS256 where it lists none.
func (m Metadata) SigningAlgorithms() []string { return asymmetric(m.IDTokenAlgorithms) }

// asymmetric leaves out none, and the HMAC ones, with which whoever has the
// client secret can sign.
func asymmetric(listed []string) []string {
	var taken []string
	for _, algorithm := range listed {
		if !isNone(algorithm) && !strings.HasPrefix(strings.ToUpper(algorithm), "HS") {
			taken = append(taken, algorithm)
		}
	}
	if len(taken) == 0 {
		taken = []string{oidc.RS256} // what every OP must have, Core section 15.1
	}
	return taken
}

// IssuerError says that the discovery document is another issuer's.
type IssuerError struct {
	Configured string
	Announced  string
}

// Error shows both issuers, and points at a trailing slash where that is all
// they differ by.
func (e *IssuerError) Error() string {
	text := fmt.Sprintf("rp: discovery: the issuer is %q in the configuration and %q in the OP's document", e.Configured, e.Announced)
	switch {
	case e.Announced == e.Configured+"/":
		text += ": the trailing slash is missing"
	case e.Configured == e.Announced+"/":
		text += ": there is a trailing slash too many"
	}
	return text
}

const (
	// askTimeout bounds each request to the OP.
	askTimeout = 10 * time.Second
	// maxAnswer is the most that is read of an answer of the OP.
	maxAnswer = 1 << 20

	refreshEvery = time.Hour
	retryFirst   = time.Second
	retryMost    = time.Minute
)

// Metadata returns the newest discovery document, and false until there is one.
func (p *Provider) Metadata() (Metadata, bool) {
	if m := p.metadata.Load(); m != nil {
		return *m, true
	}
	return Metadata{}, false
}

// Discover asks the OP for its discovery document, once, and keeps it. The
// error is an *IssuerError if it is another issuer's; another error means that
// the OP does not answer, or not with a discovery document. Then what was known
// before stays.
func (p *Provider) Discover(ctx context.Context) error {
	at := strings.TrimSuffix(p.Issuer, "/") + "/.well-known/openid-configuration"
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return fmt.Errorf("rp: discovery: %w", err)
	}
	answer, err := p.client().Do(request)
	if err != nil {
		return fmt.Errorf("rp: discovery: %w", err)
	}
	defer answer.Body.Close()
	body, err := readAnswer(answer)
	if err != nil {
		return fmt.Errorf("rp: discovery: %s: %w", at, err)
	}
	var m Metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("rp: discovery: %s: %w", at, err)
	}
	if m.Issuer != p.Issuer {
		return &IssuerError{Configured: p.Issuer, Announced: m.Issuer}
	}
	if err := m.validate(); err != nil {
		return fmt.Errorf("rp: discovery: %s: %w", at, err)
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		m.Skew = date.Sub(p.Now().Truncate(time.Second))
	}
	p.metadata.Store(&m)
	return nil
}

// Run keeps asking until there is a document and then for a newer one every
// hour, until ctx ends, whose error it returns. Whoever wants a document at once
// calls Discover before.
func (p *Provider) Run(ctx context.Context) error {
	retry := retryFirst
	for {
		wait := refreshEvery
		if _, known := p.Metadata(); !known {
			wait, retry = retry, min(2*retry, retryMost)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.Discover(ctx); err != nil && ctx.Err() == nil {
			p.Logger.WarnContext(ctx, "no discovery document from the OP", "error", err)
		}
	}
}

func (p *Provider) client() *http.Client {
	if p.HTTP == nil {
		return http.DefaultClient
	}
	return p.HTTP
}

// strict is the client for requests that carry a secret or a token, which must
// not follow a redirect to elsewhere.
func (p *Provider) strict() *http.Client {
	client := *p.client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// statusError is an answer other than 200. It does not hold the body, which may
// hold anything.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the OP answers %d %s", int(e), http.StatusText(int(e)))
}

var errLargeAnswer = errors.New("the answer is larger than 1 MiB")

func readAnswer(answer *http.Response) ([]byte, error) {
	if answer.StatusCode != http.StatusOK {
		return nil, statusError(answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, errLargeAnswer
	}
	return body, nil
}

// validate refuses endpoints that are missing, and any that would take a secret
// out of TLS which the issuer itself is under.
func (m Metadata) validate() error {
	secure := strings.HasPrefix(m.Issuer, "https:")
	for _, endpoint := range []struct {
		name, url string
		optional  bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, false},
		{"token_endpoint", m.TokenEndpoint, false},
		{"jwks_uri", m.JWKSURI, false},
		{"userinfo_endpoint", m.UserinfoEndpoint, true},
		{"end_session_endpoint", m.EndSessionEndpoint, true},
		{"revocation_endpoint", m.RevocationEndpoint, true},
	} {
		if endpoint.url == "" && endpoint.optional {
			continue
		}
		u, err := url.Parse(endpoint.url)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			return fmt.Errorf("%s is %q, not an absolute URL", endpoint.name, endpoint.url)
		case secure && u.Scheme != "https":
			return fmt.Errorf("%s is %q, without the TLS that the issuer has", endpoint.name, endpoint.url)
		}
	}
	return nil
}
