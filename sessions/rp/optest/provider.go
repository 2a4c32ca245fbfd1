package optest

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// defaultAccessLife is how long an access token lasts unless said otherwise.
const defaultAccessLife = 5 * time.Minute

// Provider is an OpenID Provider. Its exported fields are set before Handler is
// called and not changed afterwards. The zero value refuses to serve.
type Provider struct {
	// Issuer is the provider's name and where it is found, with or without a
	// path or a trailing slash: it is repeated to clients byte for byte.
	// A server that listens on a port of the system's choice sets it once it
	// knows the port.
	Issuer string
	// Title heads the pages; empty is "Example Identity".
	Title   string
	Clients []Client
	Users   []User
	// Alg signs ID tokens: RS256, PS256, ES256, EdDSA, HS256 or HS512; empty is RS256.
	Alg string
	// LogoutAlg signs logout tokens; empty is Alg. Some providers sign the two
	// differently.
	LogoutAlg string
	// AccessLife is how long an access token lasts; zero is five minutes.
	AccessLife time.Duration
	// ShowAccounts puts every user and password on the sign-in page. It is for
	// a demo, where nothing is to be guarded.
	ShowAccounts bool

	Now func() time.Time
	// HTTP delivers logout tokens.
	HTTP   *http.Client
	Logger *slog.Logger
	// Delivered is told of each logout token sent; nil tells nobody.
	Delivered func(Delivery)
	// Alter may change what the provider is about to say, to make it err as
	// some real provider does; nil changes nothing. It must not call back into
	// the provider.
	Alter func(part Part, members map[string]any)

	base  string // the issuer's path without a trailing slash
	keys  keyring
	state state
}

// Part names what Alter is given.
type Part string

// The parts that can be altered: JSON documents, and the claims of tokens
// before they are signed; of an ID token, the header too.
const (
	Discovery   Part = "discovery"
	IDHeader    Part = "id_token_header"
	IDToken     Part = "id_token"
	LogoutToken Part = "logout_token"
	Userinfo    Part = "userinfo"
	TokenAnswer Part = "token_answer"
)

// Client is an application that users sign in to.
type Client struct {
	ID     string
	Secret string
	// Name is shown to users; empty is ID.
	Name string
	// AuthMethod is how the client proves itself at the token endpoint:
	// client_secret_basic (the default), client_secret_post or none.
	AuthMethod string
	// RedirectURIs and PostLogoutURIs are matched byte for byte.
	RedirectURIs   []string
	PostLogoutURIs []string
	// BackchannelURI takes logout tokens; empty is told nothing.
	BackchannelURI string
	// NoRefresh withholds refresh tokens, whatever the scope.
	NoRefresh bool
}

// User is a person who can sign in.
type User struct {
	Sub      string
	Username string
	Password string
	Name     string
	Email    string
	Groups   []string
}

// DemoUsers returns three people, with the password "demo": one in two groups,
// one in one, one in none.
func DemoUsers() []User {
	return []User{
		{Sub: "7f3a91c2", Username: "ada", Password: "demo", Name: "Ada Lindqvist", Email: "ada@example.com", Groups: []string{"admins", "staff"}},
		{Sub: "2be80d54", Username: "grace", Password: "demo", Name: "Grace Okafor", Email: "grace@example.com", Groups: []string{"staff"}},
		{Sub: "c19d6e07", Username: "noor", Password: "demo", Name: "Noor Haddad", Email: "noor@example.com"},
	}
}

// Handler checks the fields and returns the provider's routes, which expect
// requests for the whole path of the issuer. It makes the signing keys, and so
// is called once.
func (p *Provider) Handler() (http.Handler, error) {
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("optest: provider: %w", err)
	}
	if err := p.keys.rotate(p.algs()); err != nil {
		return nil, fmt.Errorf("optest: provider: %w", err)
	}
	return p.routes(), nil
}

func (p *Provider) validate() error {
	issuer, err := url.Parse(p.Issuer)
	switch {
	case err != nil:
		return fmt.Errorf("issuer: %w", err)
	case issuer.Scheme == "" || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "":
		return fmt.Errorf("issuer %q: want a URL without query or fragment", p.Issuer)
	case p.Now == nil || p.HTTP == nil || p.Logger == nil:
		return errors.New("the clock (Now), the HTTP client or the logger is missing")
	case len(p.Users) == 0:
		return errors.New("there are no users")
	}
	for _, alg := range p.algs() {
		if kindOf(alg) == "" {
			return fmt.Errorf("algorithm %q is not known", alg)
		}
	}
	for _, client := range p.Clients {
		if err := client.validate(); err != nil {
			return fmt.Errorf("client %q: %w", client.ID, err)
		}
	}
	p.base = strings.TrimSuffix(issuer.Path, "/")
	return nil
}

func (c Client) validate() error {
	switch method := c.authMethod(); {
	case c.ID == "":
		return errors.New("the id is missing")
	case method != authBasic && method != authPost && method != authNone:
		return fmt.Errorf("authentication method %q is not known", method)
	case method != authNone && c.Secret == "":
		return errors.New("the secret is missing")
	}
	return nil
}

// algs are the algorithms in use, the ID token's first.
func (p *Provider) algs() []string {
	id := orDefault(p.Alg, "RS256")
	if logout := orDefault(p.LogoutAlg, id); logout != id {
		return []string{id, logout}
	}
	return []string{id}
}

func (p *Provider) idAlg() string     { return p.algs()[0] }
func (p *Provider) logoutAlg() string { return orDefault(p.LogoutAlg, p.idAlg()) }

func (p *Provider) alter(part Part, members map[string]any) map[string]any {
	if p.Alter != nil {
		p.Alter(part, members)
	}
	return members
}

// client finds a client by its id; nil if there is none.
func (p *Provider) client(id string) *Client {
	for i := range p.Clients {
		if p.Clients[i].ID == id {
			return &p.Clients[i]
		}
	}
	return nil
}

// user finds a user by sub; nil if there is none.
func (p *Provider) user(sub string) *User {
	for i := range p.Users {
		if p.Users[i].Sub == sub {
			return &p.Users[i]
		}
	}
	return nil
}

func (c Client) authMethod() string { return orDefault(c.AuthMethod, authBasic) }

// DisplayName is Name, or else ID.
func (c Client) DisplayName() string { return orDefault(c.Name, c.ID) }

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
