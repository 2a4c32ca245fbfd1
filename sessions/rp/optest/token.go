package optest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"
)

// Grant types and client authentication methods, by their registered names.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"

	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authNone  = "none"
)

func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request) {
	answer, refused := p.token(r)
	if refused != nil {
		status := http.StatusBadRequest
		if refused.Code == "invalid_client" {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		}
		p.Logger.Info("token refused", "error", refused.Code, "description", refused.Description)
		p.answerJSON(w, status, refused)
		return
	}
	p.answerJSON(w, http.StatusOK, answer)
}

func (p *Provider) token(r *http.Request) (map[string]any, *oauthError) {
	if err := r.ParseForm(); err != nil {
		return nil, &oauthError{"invalid_request", "the body is not readable"}
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, &oauthError{"invalid_request", "a parameter is there more than once"}
		}
	}
	client := p.authenticateClient(r)
	if client == nil {
		return nil, &oauthError{"invalid_client", "client authentication failed"}
	}
	var g *grant
	var refused *oauthError
	switch kind := r.PostForm.Get("grant_type"); kind {
	case grantCode:
		g, refused = p.state.redeem(client, r.PostForm, p.Now())
	case grantRefresh:
		g, refused = p.state.rotate(client, r.PostForm.Get("refresh_token"))
	default:
		refused = &oauthError{"unsupported_grant_type", "grant_type is neither a code nor a refresh token"}
	}
	if refused != nil {
		return nil, refused
	}
	return p.tokens(client, g, r.PostForm.Get("grant_type") == grantCode)
}

// authenticateClient finds the client and takes the one method it is registered
// with (RFC 6749 section 2.3).
func (p *Provider) authenticateClient(r *http.Request) *Client {
	id, secret, basic := r.BasicAuth()
	method := authBasic
	switch {
	case basic:
		// Both parts are form-encoded inside the header (section 2.3.1).
		var errID, errSecret error
		id, errID = url.QueryUnescape(id)
		secret, errSecret = url.QueryUnescape(secret)
		if errID != nil || errSecret != nil {
			return nil
		}
	case r.PostForm.Has("client_secret"):
		id, secret, method = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), authPost
	default:
		id, method = r.PostForm.Get("client_id"), authNone
	}
	client := p.client(id)
	if client == nil || client.authMethod() != method {
		return nil
	}
	if method != authNone && subtle.ConstantTimeCompare([]byte(client.Secret), []byte(secret)) != 1 {
		return nil
	}
	return client
}

func refuseGrant(description string) (*grant, *oauthError) {
	return nil, &oauthError{"invalid_grant", description}
}

// redeem takes a code, once. A second use takes back all that came of the first
// (RFC 6749 section 4.1.2).
func (s *state) redeem(client *Client, form url.Values, now time.Time) (*grant, *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.codes[form.Get("code")]
	verifier := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case g == nil || g.client != client.ID:
		return refuseGrant("the code is not known")
	case g.codeUsed:
		g.revoked = true
		return refuseGrant("the code has been used before")
	case g.revoked || now.After(g.codeUntil):
		return refuseGrant("the code is no longer good")
	case form.Get("redirect_uri") != g.redirectURI:
		return refuseGrant("redirect_uri is not the one the code was asked for with")
	case base64.RawURLEncoding.EncodeToString(verifier[:]) != g.challenge:
		return refuseGrant("code_verifier does not match")
	}
	g.codeUsed = true
	if !client.NoRefresh {
		s.addRefresh(g)
	}
	return g, nil
}

// rotate takes a refresh token, once, and puts the next in its place. A second
// use ends the whole grant (RFC 9700 section 4.14.2).
func (s *state) rotate(client *Client, token string) (*grant, *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.refresh[token]
	switch {
	case g == nil || g.client != client.ID:
		return refuseGrant("the refresh token is not known")
	case g.revoked:
		return refuseGrant("the refresh token has been revoked")
	case g.refresh != token:
		g.revoked = true
		return refuseGrant("the refresh token has been used before")
	}
	s.addRefresh(g)
	return g, nil
}

func (s *state) addRefresh(g *grant) {
	g.refresh = newToken()
	s.refresh[g.refresh] = g
}

// addAccess makes an access token for g, and returns the refresh token that
// goes with it.
func (s *state) addAccess(g *grant, until time.Time) (token, refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token = newToken()
	s.access[token] = access{grant: g, until: until}
	return token, g.refresh
}

// tokens writes the answer to a client.
func (p *Provider) tokens(client *Client, g *grant, first bool) (map[string]any, *oauthError) {
	life := p.AccessLife
	if life <= 0 {
		life = defaultAccessLife
	}
	token, refresh := p.state.addAccess(g, p.Now().Add(life))
	idToken, err := p.issue(p.alter(IDHeader, headerOf(p.idAlg(), "JWT")), client, p.alter(IDToken, p.idClaims(g, token, first)))
	if err != nil {
		p.Logger.Error("ID token not signed", "error", err)
		return nil, &oauthError{"server_error", "the ID token was not signed"}
	}
	answer := map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(life.Seconds()),
		"scope": g.scope, "id_token": idToken,
	}
	if refresh != "" {
		answer["refresh_token"] = refresh
	}
	return p.alter(TokenAnswer, answer), nil
}

// userClaims are what the scope lets a client know.
func userClaims(user *User, scope string) map[string]any {
	claims := map[string]any{"sub": user.Sub}
	if hasScope(scope, "profile") {
		claims["name"] = user.Name
		claims["preferred_username"] = user.Username
	}
	if hasScope(scope, "email") && user.Email != "" {
		claims["email"] = user.Email
		claims["email_verified"] = true
	}
	if hasScope(scope, "profile") || hasScope(scope, "groups") {
		claims["groups"] = append([]string{}, user.Groups...)
	}
	return claims
}

// idTokenLife is short: the token is read once, when it arrives.
const idTokenLife = 5 * time.Minute

// idClaims are an ID token's. One that comes with a refresh tells of the same
// sign-in and has no nonce (OpenID Connect Core section 12.2).
func (p *Provider) idClaims(g *grant, accessToken string, first bool) map[string]any {
	now := p.Now()
	claims := userClaims(p.user(g.sub), g.scope)
	claims["iss"], claims["aud"] = p.Issuer, g.client
	claims["iat"], claims["exp"] = now.Unix(), now.Add(idTokenLife).Unix()
	claims["auth_time"], claims["sid"] = g.authTime.Unix(), g.sid
	claims["at_hash"] = accessHash(p.idAlg(), accessToken)
	if first && g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	return claims
}
