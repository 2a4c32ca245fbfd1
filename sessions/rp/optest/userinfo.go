package optest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"strings"
)

func (p *Provider) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		p.answerJSON(w, http.StatusUnauthorized, map[string]any{})
		return
	}
	g, good := p.grantOf(token)
	if !good {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		p.answerJSON(w, http.StatusUnauthorized, &oauthError{"invalid_token", "the access token is no longer good"})
		return
	}
	p.answerJSON(w, http.StatusOK, p.alter(Userinfo, userClaims(p.user(g.sub), g.scope)))
}

// grantOf finds what an access token stands for.
func (p *Provider) grantOf(token string) (grant, bool) {
	now := p.Now()
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	have, known := p.state.access[token]
	if !known || have.grant.revoked || now.After(have.until) {
		return grant{}, false
	}
	return *have.grant, true
}

// accessHash is at_hash: the left half of the hash that goes with the signature
// algorithm (OpenID Connect Core section 3.1.3.6). Ed25519 hashes with SHA-512.
func accessHash(alg, token string) string {
	if alg == "EdDSA" || alg == "HS512" {
		sum := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
