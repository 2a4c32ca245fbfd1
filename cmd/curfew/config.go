package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"curfew/sessions"
	"curfew/store"
)

// config is the configuration of one replica, checked.
type config struct {
	// provider is what the OIDC_* settings say: the one there is, or what those
	// in the file's list have in common.
	providerConfig
	// providers are all there are.
	providers []providerConfig
	ring      *store.Keyring // nil: a key is made and kept in the data folder

	public         *url.URL
	prefix         string
	listen         string
	adminListen    string
	adminToken     string
	data           string
	replica        string // empty: made and kept in the data folder
	pagesDir       string // empty: the pages as they are
	returnTo       []string
	targets        sessions.Targets
	cookieDomain   string
	cookie         string // the session cookie's name; empty: by the public URL
	trustedProxies []netip.Prefix
	logFormat      string
	logLevel       slog.Level

	natsURL      string // empty: embedded
	natsCreds    string
	natsCA       string
	natsCert     string
	natsKey      string
	natsStream   string
	natsReplicas int

	lifetime        time.Duration
	idle            time.Duration // zero: no bound
	untilAccess     bool
	maxStaleness    time.Duration
	logoutWait      time.Duration
	allowMissingExp bool
}

// providerConfig is one OP and this service's client there.
type providerConfig struct {
	name           string // empty where there is no list of them
	title          string
	issuer         string
	clientID       string
	clientSecret   string
	clientAuth     string
	signingAlgs    []string // empty: what discovery lists
	redirectURI    *url.URL
	scopes         []string
	authParams     url.Values
	claimSource    string
	postLogoutURI  *url.URL
	usernameClaims []string
	groupsClaim    string
}

// configError is every fault of a configuration at once. It is the operator's
// to mend, so nothing is started.
type configError struct {
	faults []string
	// unread says that the file is among them: what it holds is not known.
	unread bool
}

// Error lists the faults, one a line, each with its variable.
func (e *configError) Error() string {
	return "the configuration is wrong:\n  " + strings.Join(e.faults, "\n  ")
}

// add takes each of joined errors for a fault of its own.
func (e *configError) add(name string, err error) {
	for line := range strings.Lines(err.Error()) {
		e.faults = append(e.faults, name+": "+strings.TrimSpace(line))
	}
}

// has reports whether there is a fault of a setting already, or of a file that it
// is, or may be, to come from: what is there and wrong is not missing too.
func (e *configError) has(name string) bool {
	return e.unread || slices.ContainsFunc(e.faults, func(fault string) bool {
		return strings.HasPrefix(fault, name+": ") || strings.HasPrefix(fault, name+"_FILE: ")
	})
}

// loadConfig puts the sources over each other and the defaults, and checks what
// comes out. The error is a *configError.
func loadConfig(from sources) (config, error) {
	var c config
	faults := new(configError)
	doc := from.readFile(faults)
	list := settings()
	if doc.providers != nil {
		list = withoutOwn(list)
	}
	from.apply(list, doc.settings, &c, faults)
	from.applyProviders(doc, &c, faults)
	c.check(faults)
	if len(faults.faults) > 0 {
		return config{}, faults
	}
	return c, nil
}

// check looks at settings beside each other and fills in what follows from
// others.
func (c *config) check(faults *configError) {
	for i := range c.providers {
		c.providers[i].check(faults)
	}
	c.checkAdmin(faults)
	if c.idle > 0 && c.idle < time.Minute {
		faults.add("CURFEW_SESSION_IDLE", fmt.Errorf("%s is less than a minute", c.idle))
	}
	c.checkNATS(faults)
	c.checkTargets(faults)
	if c.public != nil {
		c.checkPublic(faults)
	}
}

func (p *providerConfig) check(faults *configError) {
	secret := p.in("OIDC_CLIENT_SECRET")
	if p.clientSecret == "" && p.clientAuth != "none" && !faults.has(secret) {
		faults.add(secret, errors.New("is required (a client without one: OIDC_CLIENT_AUTH=none)"))
	}
	if slices.ContainsFunc(p.signingAlgs, symmetric) && p.clientSecret == "" && !faults.has(secret) {
		faults.add(p.in("OIDC_SIGNING_ALGS"), errors.New("HS algorithms need OIDC_CLIENT_SECRET"))
	}
}

// in is a setting's name in messages: that of one in a list says in which.
func (p *providerConfig) in(setting string) string {
	if p.name == "" {
		return setting
	}
	return "providers: " + p.name + ": " + setting
}

func (c *config) checkNATS(faults *configError) {
	if c.natsURL != "" && c.ring == nil && !faults.has("OIDC_TOKEN_ENCRYPTION_KEY") {
		faults.add("OIDC_TOKEN_ENCRYPTION_KEY", errors.New("is required with CURFEW_NATS_URL: make one with `curfew keys new`, the same for every replica"))
	}
	if c.natsURL == "" && c.natsReplicas > 1 && !faults.has("CURFEW_NATS_URL") {
		faults.add("CURFEW_NATS_REPLICAS", errors.New("goes with CURFEW_NATS_URL: an embedded log has one"))
	}
	if faults.has("CURFEW_NATS_CERT") || faults.has("CURFEW_NATS_KEY") || c.natsCert == "" && c.natsKey == "" {
		return
	}
	if c.natsCert == "" || c.natsKey == "" {
		faults.add("CURFEW_NATS_CERT", errors.New("goes with CURFEW_NATS_KEY: set both or neither"))
		return
	}
	if _, err := tls.LoadX509KeyPair(c.natsCert, c.natsKey); err != nil {
		faults.add("CURFEW_NATS_CERT", fmt.Errorf("does not go with CURFEW_NATS_KEY: %w", err))
	}
}

// checkTargets looks at the origins to return to even where the public URL, to
// which they are added, is wrong itself.
func (c *config) checkTargets(faults *configError) {
	public := c.public
	if public == nil {
		public = &url.URL{Scheme: "https", Host: "localhost"}
	}
	targets, err := sessions.NewTargets(public, c.returnTo)
	if err != nil {
		faults.add("CURFEW_RETURN_TO", err)
	}
	c.targets = targets
}

func (c *config) checkAdmin(faults *configError) {
	if c.adminToken == "" && c.adminListen != "" && !isLocalListener(c.adminListen) && !faults.has("CURFEW_ADMIN_TOKEN") {
		faults.add("CURFEW_ADMIN_TOKEN", fmt.Errorf("is required when the admin listener is on %s, not on loopback or a Unix socket", c.adminListen))
	}
	if c.adminListen != "" && c.adminListen == c.listen && !strings.HasSuffix(c.listen, ":0") {
		faults.add("CURFEW_ADMIN_LISTEN", fmt.Errorf("%q is CURFEW_LISTEN's too: each needs an address of its own", c.adminListen))
	}
}

func symmetric(alg string) bool { return strings.HasPrefix(alg, "HS") }

func (c *config) checkPublic(faults *configError) {
	host := strings.ToLower(c.public.Hostname())
	if c.cookieDomain != "" && host != c.cookieDomain && !strings.HasSuffix(host, "."+c.cookieDomain) {
		faults.add("CURFEW_COOKIE_DOMAIN", fmt.Errorf("%q is not a domain that %s is in", c.cookieDomain, host))
	}
	for i := range c.providers {
		p := &c.providers[i]
		// Each of several has a callback of its own, by which their answers are
		// told apart (RFC 9700 section 4.4.2).
		if p.redirectURI == nil {
			p.redirectURI = c.endpoint("/callback").JoinPath(p.name)
		}
		p.checkCallback(c.endpoint("/callback").String(), faults)
		if p.postLogoutURI == nil {
			p.postLogoutURI = c.endpoint("/signed-out")
		}
	}
}

// issuers are those of all providers, in the operator's order.
func (c *config) issuers() []string {
	issuers := make([]string, len(c.providers))
	for i, p := range c.providers {
		issuers[i] = p.issuer
	}
	return issuers
}

// endpoint is the public address of one of our endpoints.
func (c *config) endpoint(path string) *url.URL { return c.public.JoinPath(c.prefix, path) }

// secure says that cookies are for https alone.
func (c *config) secure() bool { return c.public.Scheme == "https" }

// cookieName carries the strongest prefix that the browser will enforce (RFC
// 6265bis section 4.1.3).
func (c *config) cookieName() string {
	switch {
	case c.cookie != "":
		return c.cookie
	case !c.secure():
		return "curfew"
	case c.cookieDomain != "":
		return "__Secure-curfew"
	default:
		return "__Host-curfew"
	}
}

func isLocalListener(listen string) bool {
	if strings.HasPrefix(listen, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(listen)
	return err == nil && isLoopback(host)
}
