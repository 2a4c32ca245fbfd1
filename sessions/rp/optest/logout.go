package optest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ErrUnknown is wrapped where a session, user or client is asked for that the
// provider does not have.
var ErrUnknown = errors.New("not known here")

const (
	// deliveryLimit is how long a client may take to answer: users wait.
	deliveryLimit = 10 * time.Second
	// maxAnswer is as much of an answer as is kept.
	maxAnswer = 4 << 10
)

// Delivery is what became of one logout token.
type Delivery struct {
	// Client is the id of the client it went to.
	Client string
	// Sid and Sub are whom it named; Sid is empty if it named the whole user.
	Sid, Sub string
	// Status is what the client answered; zero if it did not.
	Status int
	// Fence is the answer's Curfew-Fence header.
	Fence string
	// Body is the beginning of the answer's body.
	Body string
	// Sent is when it was sent, and Took how long the client took.
	Sent time.Time
	Took time.Duration
	// Err says why there is no answer.
	Err error
}

// LogoutSession ends one session of the provider and tells each of its clients,
// by sid and sub, one after the other. The error wraps ErrUnknown if there is
// no such session. What the clients answer is in the deliveries, not the error.
func (p *Provider) LogoutSession(ctx context.Context, sid string) ([]Delivery, error) {
	if !slices.ContainsFunc(p.Sessions(), func(s Session) bool { return s.Sid == sid }) {
		return nil, fmt.Errorf("optest: log session out: %q: %w", sid, ErrUnknown)
	}
	return p.endSessions(ctx, func(s *session) bool { return s.sid == sid }), nil
}

// LogoutUser ends every session of a user and tells each client that any of
// them was signed in to, once, by sub alone. A user without sessions is told of
// to nobody. The error wraps ErrUnknown if there is no such user.
func (p *Provider) LogoutUser(ctx context.Context, sub string) ([]Delivery, error) {
	if p.user(sub) == nil {
		return nil, fmt.Errorf("optest: log user out: %q: %w", sub, ErrUnknown)
	}
	return p.endUser(ctx, sub), nil
}

func (p *Provider) endSessions(ctx context.Context, which func(*session) bool) []Delivery {
	var told []Delivery
	for _, ended := range p.state.end(which) {
		for _, client := range ended.clients {
			told = p.tell(ctx, told, Delivery{Client: client, Sub: ended.sub, Sid: ended.sid})
		}
	}
	return told
}

func (p *Provider) endUser(ctx context.Context, sub string) []Delivery {
	var clients []string
	for _, ended := range p.state.end(func(s *session) bool { return s.sub == sub }) {
		for _, client := range ended.clients {
			if !slices.Contains(clients, client) {
				clients = append(clients, client)
			}
		}
	}
	var told []Delivery
	for _, client := range clients {
		told = p.tell(ctx, told, Delivery{Client: client, Sub: sub})
	}
	return told
}

// tell sends a client a logout token, if it takes any.
func (p *Provider) tell(ctx context.Context, told []Delivery, what Delivery) []Delivery {
	client := p.client(what.Client)
	if client.BackchannelURI == "" {
		return told
	}
	claims := p.logoutClaims(client.ID)
	claims["sub"] = what.Sub
	if what.Sid != "" {
		claims["sid"] = what.Sid
	}
	token, err := p.issue(headerOf(p.logoutAlg(), "logout+jwt"), client, p.alter(LogoutToken, claims))
	if err != nil {
		what.Err = fmt.Errorf("optest: logout token: %w", err)
		return append(told, p.report(what))
	}
	return append(told, p.report(p.deliver(ctx, what, client.BackchannelURI, token)))
}

// Deliver posts a logout token, such as MintLogoutToken makes, to a client. It
// changes nothing at the provider and tells Delivered nothing.
func (p *Provider) Deliver(ctx context.Context, client, token string) Delivery {
	what := Delivery{Client: client}
	known := p.client(client)
	if known == nil {
		what.Err = fmt.Errorf("optest: deliver to %q: %w", client, ErrUnknown)
		return what
	}
	return p.deliver(ctx, what, known.BackchannelURI, token)
}

func (p *Provider) deliver(ctx context.Context, what Delivery, target, token string) Delivery {
	ctx, cancel := context.WithTimeout(ctx, deliveryLimit)
	defer cancel()
	what.Sent = p.Now()
	what.Status, what.Fence, what.Body, what.Err = p.post(ctx, target, token)
	what.Took = p.Now().Sub(what.Sent)
	return what
}

func (p *Provider) post(ctx context.Context, target, token string) (status int, fence, body string, err error) {
	form := url.Values{"logout_token": {token}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form))
	if err != nil {
		return 0, "", "", fmt.Errorf("optest: deliver: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := p.HTTP.Do(request)
	if err != nil {
		return 0, "", "", fmt.Errorf("optest: deliver: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, "", "", fmt.Errorf("optest: deliver: read the answer: %w", err)
	}
	return response.StatusCode, response.Header.Get("Curfew-Fence"), string(answer), nil
}

func (p *Provider) report(what Delivery) Delivery {
	p.Logger.Info("logout sent", "client", what.Client, "status", what.Status, "fence", what.Fence, "took", what.Took, "error", what.Err)
	if p.Delivered != nil {
		p.Delivered(what)
	}
	return what
}
