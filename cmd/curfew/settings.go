package main

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// setting is one thing an operator can set: by flag, by environment variable,
// by a key of the configuration file, or not at all.
type setting struct {
	name     string // the environment variable
	value    string // the default
	help     string
	required bool
	secret   bool   // may come from the file that name_FILE names, and is no flag
	plain    bool   // a number or a truth value, which YAML may read as such
	between  string // what parts a list that YAML gives; empty: no list
	set      func(c *config, text string) error
}

// flag is the setting's name on the command line.
func (s setting) flag() string {
	name := strings.TrimPrefix(s.name, "CURFEW_")
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

// names are the variables the setting is read from.
func (s setting) names() []string {
	if s.secret {
		return []string{s.name, s.name + "_FILE"}
	}
	return []string{s.name}
}

// settings is all there is to set, in the order that help and faults are shown.
func settings() []setting {
	return slices.Concat(providerSettings(), serviceSettings(), logSettings(), sessionSettings())
}

func providerSettings() []setting {
	return []setting{
		{name: "OIDC_ENDPOINT", required: true, set: issuer,
			help: "the issuer, byte for byte as the provider's discovery document has it"},
		{name: "OIDC_CLIENT_ID", required: true, set: text(func(c *config) *string { return &c.clientID }),
			help: "what the provider calls this client"},
		{name: "OIDC_CLIENT_SECRET", secret: true, set: text(func(c *config) *string { return &c.clientSecret }),
			help: "the client's secret; required unless OIDC_CLIENT_AUTH is none"},
		{name: "OIDC_CLIENT_AUTH", value: "auto", help: "auto, client_secret_basic, client_secret_post or none",
			set: oneOf(func(c *config) *string { return &c.clientAuth }, "auto", "client_secret_basic", "client_secret_post", "none")},
		{name: "OIDC_SIGNING_ALGS", between: ",", help: "signature algorithms taken, comma-separated (default: what discovery lists)",
			set: signingAlgs},
		{name: "OIDC_REDIRECT_URI", help: "where the provider returns people to (default: the public URL's callback)",
			set: webURL(func(c *config) **url.URL { return &c.redirectURI })},
		{name: "OIDC_SCOPES", between: " ", value: "openid email profile offline_access", help: "scopes to ask for", set: scopes},
		{name: "OIDC_AUTH_PARAMS", help: "more parameters for the authorization endpoint, as a query string", set: authParams},
		{name: "OIDC_CLAIM_SOURCE", value: "id_token", help: "id_token or userinfo",
			set: oneOf(func(c *config) *string { return &c.claimSource }, "id_token", "userinfo")},
		{name: "OIDC_POST_LOGOUT_REDIRECT_URI", help: "where the provider returns people to after a logout (default: the signed-out page)",
			set: webURL(func(c *config) **url.URL { return &c.postLogoutURI })},
		{name: "OIDC_TOKEN_ENCRYPTION_KEY", between: ",", secret: true, set: encryptionKeys,
			help: "one or more Fernet keys, comma-separated: the first seals, all open (embedded log: made in the data folder)"},
		{name: "OIDC_USERNAME_CLAIM", between: ",", value: "preferred_username,email,sub", set: list(func(c *config) *[]string { return &c.usernameClaims }),
			help: "the claim with the username; of several, the first that has one"},
		{name: "OIDC_CLAIM_GROUPS", value: "groups", set: text(func(c *config) *string { return &c.groupsClaim }),
			help: "the claim with the groups, a string or a list"},
	}
}

func serviceSettings() []setting {
	return []setting{
		{name: "CURFEW_PUBLIC_URL", required: true, set: publicURL,
			help: "where browsers see this service, such as https://app.example.com"},
		{name: "CURFEW_PREFIX", value: "/auth", help: "the path all endpoints are under", set: prefix},
		{name: "CURFEW_LISTEN", value: "127.0.0.1:4180", help: "public listener: HOST:PORT or unix:PATH",
			set: listener(func(c *config) *string { return &c.listen })},
		{name: "CURFEW_ADMIN_LISTEN", value: "127.0.0.1:4181", help: "listener for health, metrics and administration",
			set: listener(func(c *config) *string { return &c.adminListen })},
		{name: "CURFEW_ADMIN_TOKEN", secret: true, set: adminToken,
			help: "required when the admin listener is not on loopback or a Unix socket"},
		{name: "CURFEW_DATA", value: "./curfew-data", help: "folder for the store, the embedded log and the replica's name",
			set: dataFolder},
		{name: "CURFEW_REPLICA", help: "this replica's name (default: kept in the data folder)", set: replicaName},
		{name: "CURFEW_PAGES", help: "folder with own templates, texts, style and logo for the pages", set: pagesFolder},
		{name: "CURFEW_RETURN_TO", between: ",", help: "further origins a login may return to, comma-separated",
			set: list(func(c *config) *[]string { return &c.returnTo })},
		{name: "CURFEW_COOKIE_DOMAIN", help: "domain of the session cookie, for one login over several subdomains", set: cookieDomain},
		{name: "CURFEW_TRUSTED_PROXIES", between: ",", value: "127.0.0.0/8,::1/128", set: trustedProxies,
			help: "addresses that may set X-Forwarded-* and X-Original-*, comma-separated"},
		{name: "CURFEW_LOG_FORMAT", help: "text or json (default: text on a terminal, else json)",
			set: oneOf(func(c *config) *string { return &c.logFormat }, "text", "json")},
		{name: "CURFEW_LOG_LEVEL", value: "info", help: "debug, info, warn or error",
			set: logLevel},
	}
}

// adminSettings are what it takes to reach a replica's admin listener.
func adminSettings() []setting {
	return slices.DeleteFunc(serviceSettings(), func(s setting) bool {
		return s.name != "CURFEW_ADMIN_LISTEN" && s.name != "CURFEW_ADMIN_TOKEN"
	})
}

func logSettings() []setting {
	return []setting{
		{name: "CURFEW_NATS_URL", between: ",", help: "NATS servers, comma-separated (default: a log embedded in this process)", set: natsURL},
		{name: "CURFEW_NATS_CREDS", help: "NATS credentials file", set: readable(func(c *config) *string { return &c.natsCreds })},
		{name: "CURFEW_NATS_CA", help: "certificate authority of the NATS servers", set: certificates},
		{name: "CURFEW_NATS_CERT", help: "client certificate for NATS", set: readable(func(c *config) *string { return &c.natsCert })},
		{name: "CURFEW_NATS_KEY", help: "key of the client certificate", set: readable(func(c *config) *string { return &c.natsKey })},
		{name: "CURFEW_NATS_STREAM", value: "CURFEW", help: "the stream's name", set: streamName},
		{name: "CURFEW_NATS_REPLICAS", plain: true, value: "1", help: "the stream's replicas when curfew creates it: 1, 3 or 5", set: streamReplicas},
	}
}

func sessionSettings() []setting {
	return []setting{
		{name: "CURFEW_SESSION_LIFETIME", plain: true, value: "12h", help: "how long a session can live",
			set: duration(func(c *config) *time.Duration { return &c.lifetime }, time.Minute, 365*24*time.Hour)},
		{name: "CURFEW_SESSION_IDLE", plain: true, value: "0", help: "how long a session can go unused; 0 for no such bound",
			set: duration(func(c *config) *time.Duration { return &c.idle }, 0, 365*24*time.Hour)},
		{name: "CURFEW_SESSION_UNTIL", value: "lifetime", set: sessionUntil,
			help: "lifetime, or access_token: over when the access token has ended and cannot be refreshed"},
		{name: "CURFEW_MAX_STALENESS", plain: true, value: "15s", help: "how long without proof that no logout was missed before the guard answers 503",
			set: duration(func(c *config) *time.Duration { return &c.maxStaleness }, time.Second, 10*time.Minute)},
		{name: "CURFEW_LOGOUT_WAIT", plain: true, value: "2s", help: "how long a logout waits for every replica before it answers",
			set: duration(func(c *config) *time.Duration { return &c.logoutWait }, 0, time.Minute)},
		{name: "CURFEW_ALLOW_MISSING_EXP", plain: true, value: "true", help: "accept a logout token without exp when its iat is recent",
			set: truth(func(c *config) *bool { return &c.allowMissingExp })},
	}
}
