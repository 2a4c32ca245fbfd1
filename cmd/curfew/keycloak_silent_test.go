package main

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions/guard"
	"curfew/sessions/rp/optest/realop"
)

// silent is something that ends a user's session at Keycloak and of which it
// tells nobody.
type silent struct {
	name, user string
	happen     func(t *testing.T, p person)
}

// wantFound has such things happen, each to a session of its own, and wants all
// of these to end at their next refresh.
func (h *keycloakHouse) wantFound(t *testing.T, things []silent) {
	t.Helper()
	var people []person
	for _, thing := range things {
		p := h.enter(t, thing.user)
		thing.happen(t, p)
		people = append(people, p)
	}
	for i, p := range people {
		h.wantRefused(t, things[i].name, p)
	}
}

// wantRefused wants a session to end because a refresh is refused, and nothing
// else to have been heard of it.
func (h *keycloakHouse) wantRefused(t *testing.T, what string, p person) {
	t.Helper()
	eventually(t, what+": the session is over everywhere", func() bool {
		return h.everywhere(p.cookie, http.StatusUnauthorized, guard.HeaderReason, "ended")
	})
	h.wantEnded(t, what, p, events.RefreshRefused)
	if posts := h.postbox.naming("sid", p.sid); len(posts) > 0 {
		t.Errorf("%s: Keycloak sends a logout token after all: %v", what, payload(posts[0].token))
	}
}

// spend uses a refresh token as one would who has stolen it, and the client's
// secret too.
func (h *keycloakHouse) spend(t *testing.T, token string) (status int) {
	t.Helper()
	resp, err := http.PostForm(h.keycloak.issuer()+"/protocol/openid-connect/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {h.client}, "client_secret": {testClientSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// findsOutAboutAll has all sessions of the realm end, offline ones too, in the two
// ways that the admin console has: "Sign out all active sessions", and "Set to
// now" and "Push".
func (h *keycloakHouse) findsOutAboutAll(t *testing.T, offline *keycloakHouse) {
	k := h.keycloak
	for _, test := range []silent{
		{"all users are signed out", "margaret", func(t *testing.T, _ person) {
			k.call(t, http.MethodPost, "/logout-all", nil, nil)
		}},
		{"all tokens are revoked", "margaret", func(t *testing.T, p person) {
			k.nextSecond(t, p)
			k.change(t, "", map[string]any{"notBefore": time.Now().Unix()}, nil)
			k.call(t, http.MethodPost, "/push-revocation", nil, nil)
		}},
	} {
		p := offline.enter(t, "ada")
		h.wantFound(t, []silent{test})
		offline.wantRefused(t, test.name+", who has an offline token", p)
	}
}

// nextSecond waits for the second after the one in which the tokens of a session
// were issued: where Keycloak revokes by time, that second's stand.
func (k *keycloak) nextSecond(t *testing.T, p person) {
	t.Helper()
	issued, _ := payload(k.wire.newest(p.sid).ID)["iat"].(float64)
	eventually(t, "the next second", func() bool { return time.Now().Unix() > int64(issued) })
}

// keepsOfflineTokens has sessions whose login asked for offline_access. Keycloak
// keeps an offline session for each and no other.
func (h *keycloakHouse) keepsOfflineTokens(t *testing.T) {
	k := h.keycloak

	// The session that the user signs out of is not there.
	ada := h.enter(t, "ada")
	k.leave(t, ada)
	eventually(t, "a refresh after the user has signed out at Keycloak", func() bool {
		return h.everywhere(ada.cookie, http.StatusOK, guard.HeaderReason, "") && len(k.wire.tokens(ada.sid)) > 1
	})
	h.wantEverywhere(ada.cookie, http.StatusOK, "")
	if posts := h.postbox.naming("sid", ada.sid); len(posts) > 0 {
		t.Errorf("Keycloak sends a logout token after all: %v", payload(posts[0].token))
	}

	ken := h.enter(t, "ken")
	k.call(t, http.MethodDelete, "/sessions/"+ken.sid+"?isOffline=true", nil, nil)
	h.wantEnded(t, "ken", ken, events.Backchannel)
	for _, p := range h.postbox.naming("sid", ken.sid) {
		wantShape(t, "an operator ends an offline session", p, tokenShape{sid: true, offline: true})
	}

	h.wantFound(t, []silent{
		{"an operator signs the user out", "grace", func(t *testing.T, p person) {
			k.nextSecond(t, p)
			k.call(t, http.MethodPost, "/users/"+p.sub+"/logout", nil, nil)
		}},
		{"the consent is taken back", "linus", func(t *testing.T, p person) {
			k.call(t, http.MethodDelete, "/users/"+p.sub+"/consents/"+h.client, nil, nil)
		}},
	})

	// Nor does a logout at curfew end what it should outlive.
	page, err := ada.browser.Post(t.Context(), h.front.URL+"/auth/logout", nil)
	if err != nil || page.Request.URL.Path != "/auth/signed-out" {
		t.Fatalf("the sign-out came to %s: %v", page.Request.URL, err)
	}
	h.wantEnded(t, "ada", ada, events.SignedOut)
	if got := h.spend(t, k.wire.newest(ada.sid).Refresh); got != http.StatusOK {
		t.Errorf("Keycloak answers the offline token with %d", got)
	}
}

// followsTheSession has somebody sign in who is signed in at Keycloak already,
// for another client: that session ends for this one too, offline token or not.
func (h *keycloakHouse) followsTheSession(t *testing.T, other *keycloakHouse) {
	first := other.enter(t, "margaret")
	second := h.arrive(t, "margaret", first.browser)
	if second.sid != first.sid {
		t.Fatalf("the sids are %s and %s, want one", first.sid, second.sid)
	}
	h.keycloak.leave(t, second)
	other.wantEnded(t, "the first", first, events.Backchannel)
	h.wantEnded(t, "the second", second, events.Backchannel)
	for _, p := range h.postbox.naming("sid", second.sid) {
		wantShape(t, "a client that has offline sessions revoked", p, tokenShape{sid: true, offline: true})
	}
}

// tokenShape is what there may be in a logout token.
type tokenShape struct{ sid, offline bool }

// wantShape compares a logout token, and curfew's answer to it, with what
// docs/providers.md says of them.
func wantShape(t *testing.T, what string, p logoutPost, want tokenShape) {
	t.Helper()
	header, err := realop.Header(p.token)
	if err != nil {
		t.Fatal(err)
	}
	claims := payload(p.token)
	issued, _ := claims["iat"].(float64)
	expires, _ := claims["exp"].(float64)
	_, sid := claims["sid"].(string)
	_, single := claims["aud"].(string)
	happened, _ := claims["events"].(map[string]any)
	revoke, offline := happened["revoke_offline_access"].(bool)
	if header["typ"] != "logout+jwt" || expires-issued != 120 || !single || (tokenShape{sid, offline}) != want || revoke != offline {
		t.Errorf("%s: header %v, claims %v", what, header, claims)
	}
	if p.status != http.StatusOK || p.fence != "complete" {
		t.Errorf("%s: answered %d, fence %q: %s", what, p.status, p.fence, p.body)
	}
}
