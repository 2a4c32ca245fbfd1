package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions/guard"
)

// TestKeycloak holds what docs/providers.md says of Keycloak against the real
// one.
func TestKeycloak(t *testing.T) {
	t.Parallel()
	k := startKeycloak(t)
	h := k.open(t, "curfew", []string{"one", "two", "three"})
	h.run("a user signs in", h.signsIn)
	var gone person // of whom something happens half a minute later
	h.run("a user signs out at curfew and comes no further", func(t *testing.T) { gone = h.signsOutNoFurther(t) })
	h.run("what curfew is told", h.isTold)
	h.run("a user signs out at curfew", h.signsOutHere)
	h.run("refresh tokens rotate", h.rotates)
	h.run("what the next refresh finds", h.findsOut)
	byUser := k.open(t, "curfew-by-user", []string{"one", "two"})
	byUser.run("a client that requires no session", byUser.isToldOfTheUser)
	byUser.run("a client with front channel logout", byUser.isToldNothing)
	offline := k.open(t, "curfew-offline", []string{"one", "two"}, "OIDC_SCOPES=openid email profile offline_access")
	offline.run("offline tokens", offline.keepsOfflineTokens)
	offline.run("offline tokens of somebody who was signed in before", func(t *testing.T) { offline.followsTheSession(t, h) })
	h.run("tokens are given back", func(t *testing.T) { h.givesBack(t, gone) })
	h.run("what the next refresh finds of all", func(t *testing.T) { h.findsOutAboutAll(t, offline) })
}

func (h *keycloakHouse) signsIn(t *testing.T) {
	ada := h.enter(t, "ada")
	for _, r := range h.replicas {
		resp := r.check(ada.cookie)
		for name, want := range map[string]string{
			"Remote-User": "ada", "X-Auth-Request-User": "ada", "X-Auth-Request-Preferred-Username": "ada",
			"Remote-Email": "ada@example.com", "Remote-Name": "Ada Example",
			"X-Auth-Request-Groups": "admins,staff", "Remote-Groups": "admins,staff", "X-Auth-Request-Sub": ada.sub,
		} {
			if got := resp.Header.Get(name); resp.StatusCode != http.StatusOK || got != want {
				t.Errorf("%s answers %d, %s is %q, want %q", r.name, resp.StatusCode, name, got, want)
			}
		}
	}
}

// isTold has sessions of Keycloak's end, of which it sends a logout token before
// it answers whoever ended them.
func (h *keycloakHouse) isTold(t *testing.T) {
	k := h.keycloak
	for _, test := range []struct {
		name string
		end  func(t *testing.T, p person)
		all  bool // the user's other session ends too
	}{
		{"the user signs out at Keycloak", k.leave, false},
		{"an operator ends one session", func(t *testing.T, p person) {
			k.call(t, http.MethodDelete, "/sessions/"+p.sid, nil, nil)
		}, false},
		{"an operator signs the user out", func(t *testing.T, p person) {
			k.call(t, http.MethodPost, "/users/"+p.sub+"/logout", nil, nil)
		}, true},
	} {
		one, other, grace := h.enter(t, "ada"), h.enter(t, "ada"), h.enter(t, "grace")
		before := len(h.postbox.naming("sub", one.sub))
		test.end(t, one)
		h.wantEnded(t, test.name, one, events.Backchannel)
		if test.all {
			h.wantEnded(t, test.name, other, events.Backchannel)
		} else {
			h.wantEverywhere(other.cookie, http.StatusOK, "")
		}
		h.wantEverywhere(grace.cookie, http.StatusOK, "")
		sids := map[string]bool{}
		for _, p := range h.postbox.naming("sub", one.sub)[before:] {
			wantShape(t, test.name, p, tokenShape{sid: true})
			sid, _ := payload(p.token)["sid"].(string)
			sids[sid] = true
		}
		if !sids[one.sid] || sids[other.sid] != test.all {
			t.Errorf("%s: the logout tokens name %v, want %s, and %s too: %v", test.name, sids, one.sid, other.sid, test.all)
		}
	}
}

// leave signs a browser out at Keycloak, which asks first.
func (k *keycloak) leave(t *testing.T, p person) {
	t.Helper()
	page, err := p.browser.Get(t.Context(), k.issuer()+"/protocol/openid-connect/logout")
	if err != nil {
		t.Fatal(err)
	}
	page = submit(t, p.browser, page, "", url.Values{"confirmLogout": {"Logout"}})
	if content := pageText(t, page); page.StatusCode != http.StatusOK || !strings.Contains(content, "logged out") {
		t.Fatalf("Keycloak says at %s, %d:\n%s", page.Request.URL, page.StatusCode, content)
	}
}

// signsOutHere signs a user out at curfew, which has Keycloak sign them out too,
// without a question, and send them back. The ID token that says who it is has
// run out by then, as it mostly has.
func (h *keycloakHouse) signsOutHere(t *testing.T) {
	ada := h.enter(t, "ada")
	expires, _ := payload(h.keycloak.wire.newest(ada.sid).ID)["exp"].(float64)
	eventually(t, "the ID token has run out", func() bool { return time.Now().Unix() > int64(expires) })
	page, err := ada.browser.Post(t.Context(), h.front.URL+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	if at := page.Request.URL; page.StatusCode != http.StatusOK || at.Path != "/auth/signed-out" || at.Query().Get("state") == "" {
		t.Errorf("the sign-out came to %s, %d:\n%s", at, page.StatusCode, pageText(t, page))
	}
	h.wantEnded(t, "ada", ada, events.SignedOut)
	page, err = ada.browser.Get(t.Context(), h.front.URL+"/auth/login?rd=/after")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pageText(t, page), "kc-form-login") {
		t.Errorf("Keycloak does not ask who it is, but comes to %s", page.Request.URL)
	}
	for _, token := range h.keycloak.wire.tokens(ada.sid) {
		if got := h.spend(t, token); got != http.StatusBadRequest {
			t.Errorf("Keycloak answers a refresh token of a session that is over with %d", got)
		}
	}
}

// signsOutNoFurther signs a user out at curfew, whose browser then does not go to
// Keycloak, so that the session there is still alive.
func (h *keycloakHouse) signsOutNoFurther(t *testing.T) person {
	ada := h.enter(t, "ada")
	client := *ada.browser.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Post(h.front.URL+"/auth/logout", "application/x-www-form-urlencoded", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if at := resp.Header.Get("Location"); !strings.HasPrefix(at, h.keycloak.issuer()) {
		t.Errorf("the sign-out goes on to %q, %d", at, resp.StatusCode)
	}
	h.wantEnded(t, "ada", ada, events.SignedOut)
	if !h.keycloak.has(t, ada) {
		t.Error("Keycloak has ended the session")
	}
	return ada
}

// givesBack wants that session over at Keycloak a while later, because curfew has
// given its tokens back.
func (h *keycloakHouse) givesBack(t *testing.T, p person) {
	eventually(t, "the session is over at Keycloak", func() bool { return !h.keycloak.has(t, p) })
	if got := h.spend(t, h.keycloak.wire.newest(p.sid).Refresh); got != http.StatusBadRequest {
		t.Errorf("Keycloak answers its refresh token with %d", got)
	}
}

// has reports whether Keycloak has a session of its own for somebody.
func (k *keycloak) has(t *testing.T, p person) bool {
	t.Helper()
	var all []struct{ ID string }
	k.call(t, http.MethodGet, "/users/"+p.sub+"/sessions", nil, &all)
	return slices.ContainsFunc(all, func(s struct{ ID string }) bool { return s.ID == p.sid })
}

// rotates has each replica refresh a session, which none of the others may take
// for the theft of a token.
func (h *keycloakHouse) rotates(t *testing.T) {
	ada := h.enter(t, "ada")
	tokens := func() []string { return h.keycloak.wire.tokens(ada.sid) }
	for _, r := range h.replicas {
		before := len(tokens())
		eventually(t, r.name+" refreshes the session", func() bool {
			if resp := r.check(ada.cookie); resp.StatusCode != http.StatusOK {
				t.Fatalf("%s answers %d", r.name, resp.StatusCode)
			}
			return len(tokens()) > before
		})
	}
	h.wantEverywhere(ada.cookie, http.StatusOK, "")
	all := tokens()
	slices.Sort(all)
	if distinct := len(slices.Compact(slices.Clone(all))); distinct != len(all) {
		t.Errorf("%d of %d refresh tokens are different", distinct, len(all))
	}
}

// findsOut has things happen that Keycloak sends no logout token for. Each
// session ends at its next refresh.
func (h *keycloakHouse) findsOut(t *testing.T) {
	k := h.keycloak
	var thief person
	h.wantFound(t, []silent{
		{"an operator disables the user", "edsger", func(t *testing.T, p person) {
			k.change(t, "/users/"+p.sub, map[string]any{"enabled": false}, nil)
		}},
		{"an operator deletes the user", "barbara", func(t *testing.T, p person) {
			k.call(t, http.MethodDelete, "/users/"+p.sub, nil, nil)
		}},
		{"curfew does not answer", "grace", func(t *testing.T, p person) {
			h.sendLogoutsTo(t, "http://"+freeAddress(t))
			k.call(t, http.MethodDelete, "/sessions/"+p.sid, nil, nil)
			h.sendLogoutsTo(t, h.postbox.url)
		}},
		{"a thief comes with the newest token before curfew does", "ken", func(t *testing.T, p person) {
			thief = p
			if got := h.spend(t, k.wire.newest(p.sid).Refresh); got != http.StatusOK {
				t.Errorf("Keycloak answers the thief with %d", got)
			}
		}},
		{"a thief comes with a token that curfew has spent", "linus", func(t *testing.T, p person) {
			eventually(t, "a refresh", func() bool {
				return h.everywhere(p.cookie, http.StatusOK, guard.HeaderReason, "") && len(k.wire.tokens(p.sid)) > 1
			})
			if got := h.spend(t, k.wire.tokens(p.sid)[0]); got != http.StatusBadRequest {
				t.Errorf("Keycloak answers the thief with %d", got)
			}
		}},
	})
	if got := h.spend(t, k.wire.newest(thief.sid).Refresh); got != http.StatusBadRequest {
		t.Errorf("Keycloak answers the thief's next token with %d", got)
	}
	// The user is signed in at Keycloak all the same, and here again unasked.
	page, err := thief.browser.Get(t.Context(), h.front.URL+"/auth/login?rd=/after")
	if err != nil || page.Request.URL.Path != "/after" {
		t.Errorf("the robbed user comes to %s: %v", page.Request.URL, err)
	}
}

// isToldOfTheUser has a client that does not require the session in logout
// tokens: with one session of a user's all of them end.
func (h *keycloakHouse) isToldOfTheUser(t *testing.T) {
	one, other, grace := h.enter(t, "ada"), h.enter(t, "ada"), h.enter(t, "grace")
	h.keycloak.call(t, http.MethodDelete, "/sessions/"+one.sid, nil, nil)
	h.wantEnded(t, "ada", one, events.Backchannel)
	h.wantEnded(t, "ada", other, events.Backchannel)
	h.wantEverywhere(grace.cookie, http.StatusOK, "")
	posts := h.postbox.naming("sub", one.sub)
	if len(posts) != 1 {
		t.Fatalf("%d logout tokens, want one", len(posts))
	}
	wantShape(t, "one session of two", posts[0], tokenShape{})
}

// isToldNothing has the switch on that a new client of Keycloak's comes with.
func (h *keycloakHouse) isToldNothing(t *testing.T) {
	ada := h.enter(t, "ada")
	before := len(h.postbox.naming("sub", ada.sub))
	h.keycloak.change(t, h.path, map[string]any{"frontchannelLogout": true}, nil)
	h.keycloak.call(t, http.MethodDelete, "/sessions/"+ada.sid, nil, nil)
	if posts := h.postbox.naming("sub", ada.sub); len(posts) != before {
		t.Errorf("Keycloak sends a logout token after all: %v", payload(posts[before].token))
	}
	h.wantEverywhere(ada.cookie, http.StatusOK, "")
}
