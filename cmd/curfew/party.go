package main

import (
	"slices"

	"golang.org/x/time/rate"

	"curfew/backchannel"
	"curfew/sessions/rp"
)

// newClients makes this service's client at each OP. What takes the keys of one
// has no other's.
func (a *App) newClients() []*rp.Client {
	clients := make([]*rp.Client, len(a.config.providers))
	for i, c := range a.config.providers {
		op := &rp.Provider{Issuer: c.issuer, HTTP: a.client, Now: timeOfDay, Logger: a.logger}
		clients[i] = &rp.Client{
			Name:                  c.name,
			Title:                 c.title,
			Provider:              op,
			ID:                    c.clientID,
			Secret:                c.clientSecret,
			Auth:                  c.clientAuth,
			Keys:                  a.newKeys(op, c),
			Algorithms:            c.signingAlgs,
			RedirectURI:           c.redirectURI.String(),
			Scopes:                c.scopes,
			AuthParams:            c.authParams,
			ClaimSource:           c.claimSource,
			UsernameClaims:        c.usernameClaims,
			GroupsClaim:           c.groupsClaim,
			PostLogoutRedirectURI: c.postLogoutURI.String(),
			// Even months of them would not fill a log.
			Strangers: rate.NewLimiter(1, 50),
		}
		clients[i].Revoker = rp.NewRevoker(clients[i])
	}
	return clients
}

func (a *App) newKeys(op *rp.Provider, c providerConfig) *backchannel.Keys {
	keys := &backchannel.Keys{
		URL: func() (string, bool) {
			metadata, known := op.Metadata()
			return metadata.JWKSURI, known
		},
		HTTP: a.client, Now: timeOfDay, Logger: a.logger,
	}
	// The client's secret makes signatures where the operator has listed an
	// algorithm that signs with it, so that no token can choose one.
	if slices.ContainsFunc(c.signingAlgs, symmetric) {
		keys.Secret = []byte(c.clientSecret)
	}
	return keys
}

// newVerifiers makes what judges each OP's logout tokens. Each token may have any
// algorithm of those configured, or those that discovery lists: some providers
// sign logout tokens with RS256 whatever the ID tokens have.
func (a *App) newVerifiers() []*backchannel.Verifier {
	verifiers := make([]*backchannel.Verifier, len(a.clients))
	for i, c := range a.clients {
		verifiers[i] = &backchannel.Verifier{
			Issuer: c.Provider.Issuer, ClientID: c.ID, Keys: c.Keys,
			Algorithms: func() []string {
				if len(c.Algorithms) > 0 {
					return c.Algorithms
				}
				metadata, _ := c.Provider.Metadata()
				return metadata.SigningAlgorithms()
			},
			AllowMissingExp: a.config.allowMissingExp, Now: timeOfDay,
		}
	}
	return verifiers
}

func (a *App) newParty() *rp.Party {
	c := a.config
	return &rp.Party{
		Clients:      a.clients,
		PublicURL:    c.public,
		Prefix:       c.prefix,
		Lifetime:     c.lifetime,
		Targets:      c.targets,
		CookieName:   c.cookieName(),
		CookieDomain: c.cookieDomain,
		Secure:       c.secure(),
		Proxies:      c.trustedProxies,
		Log:          a.log,
		Registry:     a.registry,
		Ring:         a.ring,
		Logouts:      a.logouts,
		Rows:         a.rows,
		Replica:      a.replica,
		Now:          timeOfDay,
		Logger:       a.logger,
		Pages:        a.pages,
		Lists:        a.pages,
		Lease:        a.lease,
	}
}
