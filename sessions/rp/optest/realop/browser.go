package realop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The steps of a provider's forms, from their data-step attributes.
const (
	stepSignIn  = "sign-in"
	stepConsent = "consent"
	stepConfirm = "confirm"
	stepSignOut = "sign-out"
)

const (
	// maxSteps is more forms than any sign-in has.
	maxSteps = 6
	// maxPage bounds what is kept of a page.
	maxPage = 1 << 20
)

// User is whom a browser signs in as.
type User struct{ Username, Password string }

// Browser is what a browser is to a server: it keeps cookies, follows redirects
// and sends forms. It runs no script.
type Browser struct {
	// Client may be used directly, for anything else than signing in and out.
	Client *http.Client
}

// NewBrowser opens a browser nobody is signed in with.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatalf("realop: cookie jar: %v", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &Browser{Client: &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second}}
}

// Get opens a page, following redirects. The body has been read and can be read
// again; there is no need to close it.
func (b *Browser) Get(ctx context.Context, target string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("realop: get: %w", err)
	}
	return b.do(request)
}

// Post sends a form.
func (b *Browser) Post(ctx context.Context, target string, values url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(values.Encode()))
	if err != nil {
		return nil, fmt.Errorf("realop: post: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(request)
}

func (b *Browser) do(request *http.Request) (*http.Response, error) {
	request.Header.Set("Accept", "text/html,application/xhtml+xml")
	response, err := b.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("realop: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("realop: read page: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// SignIn opens a page that leads to a provider's sign-in form, and goes through
// the provider's forms until a page comes that is none of them, which it
// returns: of an application, or an error of the provider's. A browser that is
// signed in at the provider already passes without a form. Being asked for the
// password twice is an error.
func (b *Browser) SignIn(ctx context.Context, startURL string, user User) (*http.Response, error) {
	response, err := b.Get(ctx, startURL)
	if err != nil {
		return nil, err
	}
	return b.walk(ctx, response, map[string]url.Values{
		stepSignIn:  {"username": {user.Username}, "password": {user.Password}},
		stepConsent: {},
		stepAuto:    {},
	})
}

// SignOut opens a page that leads to a provider's question whether to sign out,
// such as curfew's own logout does, and says yes. It returns the page that
// comes then. A provider that does not ask is fine too.
func (b *Browser) SignOut(ctx context.Context, pageURL string) (*http.Response, error) {
	response, err := b.Get(ctx, pageURL)
	if err != nil {
		return nil, err
	}
	return b.walk(ctx, response, map[string]url.Values{stepSignOut: {}, stepConfirm: {}, stepAuto: {}})
}

// walk sends the forms it has an answer for, each kind once.
func (b *Browser) walk(ctx context.Context, response *http.Response, answers map[string]url.Values) (*http.Response, error) {
	done := make(map[string]bool)
	for range maxSteps {
		if !isPage(response) {
			return response, nil
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, fmt.Errorf("realop: read page: %w", err)
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		form, err := findForm(response.Request.URL, body)
		if err != nil || form == nil {
			return response, err
		}
		fill, known := answers[form.step]
		if !known {
			return response, nil
		}
		if done[form.step] {
			return nil, fmt.Errorf("realop: the provider asks for %q again", form.step)
		}
		done[form.step] = true
		maps.Copy(form.values, fill)
		if response, err = b.Post(ctx, form.action.String(), form.values); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("realop: more than %d forms", maxSteps)
}
