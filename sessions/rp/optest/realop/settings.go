package realop

import (
	"maps"
	"time"

	"curfew/sessions/rp/optest"
)

// settings are the Options in the words that server.mjs reads.
func (o Options) settings() map[string]any {
	users := o.Users
	if users == nil {
		users = optest.DemoUsers()
	}
	life := o.AccessLife
	if life <= 0 {
		life = 5 * time.Minute
	}
	clients := make([]map[string]any, 0, len(o.Clients))
	for _, client := range o.Clients {
		clients = append(clients, client.metadata())
	}
	accounts := make([]map[string]any, 0, len(users))
	for _, user := range users {
		accounts = append(accounts, account(user))
	}
	return map[string]any{
		"port": o.Port, "path": o.Path, "clients": clients, "users": accounts,
		"userinfoOnly": o.UserinfoOnly, "accessLife": int(life.Seconds()), "rotate": !o.KeepRefreshTokens,
	}
}

// metadata is the client in the words of OpenID Connect Dynamic Client
// Registration 1.0.
func (c Client) metadata() map[string]any {
	metadata := map[string]any{
		"client_id":                           c.ID,
		"redirect_uris":                       c.RedirectURIs,
		"grant_types":                         []string{"authorization_code", "refresh_token"},
		"response_types":                      []string{"code"},
		"post_logout_redirect_uris":           append([]string{}, c.PostLogoutURIs...),
		"backchannel_logout_session_required": !c.SubOnly,
	}
	for name, value := range map[string]string{
		"client_secret":                c.Secret,
		"backchannel_logout_uri":       c.BackchannelURI,
		"id_token_signed_response_alg": c.Alg,
		"token_endpoint_auth_method":   c.AuthMethod,
	} {
		if value != "" {
			metadata[name] = value
		}
	}
	maps.Copy(metadata, c.Metadata)
	return metadata
}

func account(user optest.User) map[string]any {
	return map[string]any{
		"sub": user.Sub, "username": user.Username, "password": user.Password,
		"claims": map[string]any{
			"preferred_username": user.Username, "name": user.Name,
			"email": user.Email, "email_verified": true,
			"groups": append([]string{}, user.Groups...),
		},
	}
}
