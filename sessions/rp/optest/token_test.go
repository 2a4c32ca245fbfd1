package optest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

const verifier = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"

// code signs ada in and returns a code for the application.
func (r room) code(t *testing.T) string {
	t.Helper()
	query, err := r.at.Authorize(t.Context(), r.browser, ada, oauth2.S256ChallengeOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return query.Get("code")
}

// redeem is a good token request for code.
func (r room) redeem(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {r.app.RedirectURI()}, "code_verifier": {verifier},
	}
}

// token posts a token request, and returns the status and the answer.
func (r room) token(t *testing.T, form url.Values, authenticate func(*http.Request)) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		r.provider.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authenticate != nil {
		authenticate(request)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

func TestTokenRefusals(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) {
		p.Clients = append(p.Clients, optest.Client{ID: "other", Secret: "its own"})
	})
	good := basic(clientID, clientSecret)
	for _, c := range []struct {
		name         string
		change       func(url.Values)
		authenticate func(*http.Request)
		want         string
	}{
		{"no grant type", func(f url.Values) { f.Del("grant_type") }, good, "unsupported_grant_type"},
		{"password grant", func(f url.Values) { f.Set("grant_type", "password") }, good, "unsupported_grant_type"},
		{"unknown code", func(f url.Values) { f.Set("code", "x") }, good, "invalid_grant"},
		{"no code", func(f url.Values) { f.Del("code") }, good, "invalid_grant"},
		{"another redirect URI", func(f url.Values) { f.Set("redirect_uri", "x") }, good, "invalid_grant"},
		{"wrong verifier", func(f url.Values) { f.Set("code_verifier", verifier+"x") }, good, "invalid_grant"},
		{"no verifier", func(f url.Values) { f.Del("code_verifier") }, good, "invalid_grant"},
		{"unknown refresh token", func(f url.Values) { f.Set("grant_type", "refresh_token") }, good, "invalid_grant"},
		{"a parameter twice", func(f url.Values) { f.Add("code", "x") }, good, "invalid_request"},
		{"another client", nil, basic("other", "its own"), "invalid_grant"},
		{"wrong secret", nil, basic(clientID, "x"), "invalid_client"},
		{"unknown client", nil, basic("x", clientSecret), "invalid_client"},
		{"spoilt header", nil, func(r *http.Request) { r.SetBasicAuth("%", "%") }, "invalid_client"},
		{"nobody", nil, nil, "invalid_client"},
		{"public", func(f url.Values) { f.Set("client_id", clientID) }, nil, "invalid_client"},
		{"secret in the body", func(f url.Values) {
			f.Set("client_id", clientID)
			f.Set("client_secret", clientSecret)
		}, nil, "invalid_client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := room.redeem(room.code(t))
			if c.change != nil {
				c.change(form)
			}
			status, answer := room.token(t, form, c.authenticate)
			want := http.StatusBadRequest
			if c.want == "invalid_client" {
				want = http.StatusUnauthorized
			}
			if status != want || answer["error"] != c.want {
				t.Errorf("answered %d %v, want %d %s", status, answer, want, c.want)
			}
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	for _, c := range []struct {
		method, secret string
		change         func(url.Values)
		authenticate   func(*http.Request)
	}{
		{"client_secret_basic", "a:b c%", nil, basic(clientID, "a:b c%")},
		{"client_secret_post", "a:b c%", func(f url.Values) {
			f.Set("client_id", clientID)
			f.Set("client_secret", "a:b c%")
		}, nil},
		{"none", "", func(f url.Values) { f.Set("client_id", clientID) }, nil},
	} {
		t.Run(c.method, func(t *testing.T) {
			room := newRoom(t, func(p *optest.Provider) {
				p.Clients[0].AuthMethod, p.Clients[0].Secret = c.method, c.secret
			})
			form := room.redeem(room.code(t))
			if c.change != nil {
				c.change(form)
			}
			if status, answer := room.token(t, form, c.authenticate); status != http.StatusOK {
				t.Errorf("answered %d %v", status, answer)
			}
		})
	}
}

func TestCodeLastsAMinute(t *testing.T) {
	for later, want := range map[time.Duration]int{time.Minute: 200, time.Minute + 1: 400} {
		var passed time.Duration
		room := newRoom(t, func(p *optest.Provider) {
			p.Now = func() time.Time { return time.Unix(1_800_000_000, 0).Add(passed) }
		})
		form := room.redeem(room.code(t))
		passed = later
		if status, answer := room.token(t, form, basic(clientID, clientSecret)); status != want {
			t.Errorf("after %v answered %d %v, want %d", later, status, answer, want)
		}
	}
}

func TestCodeUsedTwiceTakesItsTokensAlong(t *testing.T) {
	room := newRoom(t, nil)
	form := room.redeem(room.code(t))
	_, answer := room.token(t, form, basic(clientID, clientSecret))
	access, _ := answer["access_token"].(string)
	if got := room.userinfo(t, "Bearer "+access); got != http.StatusOK {
		t.Fatalf("userinfo answered %d", got)
	}
	if status, answer := room.token(t, form, basic(clientID, clientSecret)); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("second use answered %d %v", status, answer)
	}
	if got := room.userinfo(t, "Bearer "+access); got != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d afterwards, want 401", got)
	}
}

func TestRefreshTokenRotates(t *testing.T) {
	room := newRoom(t, nil)
	login := room.signIn(t, ada)
	second, err := room.at.Refresh(t.Context(), login.Tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if second.ID.Nonce != "" || second.Claims["sid"] != login.Claims["sid"] || second.Claims["auth_time"] != login.Claims["auth_time"] {
		t.Errorf("refreshed claims are %v, want no nonce and the sid and auth_time of %v", second.Claims, login.Claims)
	}
	third, err := room.at.Refresh(t.Context(), second.Tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	// The first token again: a thief has it, or the owner was robbed of the
	// answer. All that came of it is over.
	for _, token := range []string{login.Tokens.RefreshToken, third.Tokens.RefreshToken} {
		if _, err := room.at.Refresh(t.Context(), token); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("refreshed after reuse: %v", err)
		}
	}
	if got := room.userinfo(t, "Bearer "+third.Tokens.AccessToken); got != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d after reuse, want 401", got)
	}
}

func TestRefreshTokenOfAnotherClient(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) {
		p.Clients = append(p.Clients, optest.Client{ID: "other", Secret: "its own"})
	})
	token := room.signIn(t, ada).Tokens.RefreshToken
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if status, answer := room.token(t, form, basic("other", "its own")); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("answered %d %v", status, answer)
	}
	if _, err := room.at.Refresh(t.Context(), token); err != nil {
		t.Errorf("the owner's refresh: %v", err)
	}
}

func TestNoRefreshTokens(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) { p.Clients[0].NoRefresh = true })
	if token := room.signIn(t, ada).Tokens.RefreshToken; token != "" {
		t.Errorf("there is a refresh token")
	}
}

// idToken is ada's, unverified.
func (r room) idToken(t *testing.T) string {
	t.Helper()
	_, answer := r.token(t, r.redeem(r.code(t)), basic(clientID, clientSecret))
	raw, _ := answer["id_token"].(string)
	return raw
}

// go-oidc takes no shared secrets, so the HMAC algorithms are checked with
// go-jose.
func TestSharedSecret(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.HS256, jose.HS512} {
		t.Run(string(alg), func(t *testing.T) {
			setup := func(p *optest.Provider) { p.Alg = string(alg) }
			room, twin := newRoom(t, setup), newRoom(t, setup)
			raw := room.idToken(t)
			token, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{alg})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := token.Verify([]byte(clientSecret)); err != nil {
				t.Error(err)
			}
			hint := url.Values{"id_token_hint": {raw}, "post_logout_redirect_uri": {room.app.PostLogoutURI()}}
			if got := room.get(t, room.provider.Issuer+"/end-session?"+hint.Encode()).Request.URL.String(); got != room.app.PostLogoutURI() {
				t.Errorf("with the token as hint the browser is at %s", got)
			}
			// The twin shares the secret, and is another issuer all the same.
			hint.Set("id_token_hint", twin.idToken(t))
			if got := room.get(t, room.provider.Issuer+"/end-session?"+hint.Encode()).StatusCode; got != http.StatusBadRequest {
				t.Errorf("with the twin's token as hint answered %d, want 400", got)
			}
		})
	}
}

func TestRotateKeys(t *testing.T) {
	room := newRoom(t, nil)
	old := room.signIn(t, ada)
	before, err := realop.Header(old.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := room.provider.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	login := room.signIn(t, ada) // verified with keys fetched anew
	after, err := realop.Header(login.Raw)
	if err != nil || before["kid"] == after["kid"] {
		t.Errorf("key is %v, then %v (%v): want another", before["kid"], after["kid"], err)
	}
	if got := room.published(t); len(got) != 2 {
		t.Errorf("%d keys are published, want the new and the old", len(got))
	}
	if err := room.provider.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	for _, key := range room.published(t) {
		if key.KeyID == before["kid"] {
			t.Error("a key is still published two rotations later")
		}
	}
	hint := url.Values{"id_token_hint": {old.Raw}, "post_logout_redirect_uri": {room.app.PostLogoutURI()}}
	if got := room.get(t, room.provider.Issuer+"/end-session?"+hint.Encode()).Request.URL.String(); got != room.app.PostLogoutURI() {
		t.Errorf("with an old token as hint the browser is at %s", got)
	}
}

func (r room) published(t *testing.T) []jose.JSONWebKey {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(r.get(t, r.provider.Issuer+"/jwks").Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		if !key.IsPublic() {
			t.Fatal("a private key is published")
		}
	}
	return set.Keys
}

func TestAlterChangesWhatIsSaid(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) {
		p.Alter = func(part optest.Part, members map[string]any) {
			switch part {
			case optest.Discovery:
				delete(members, "backchannel_logout_supported")
			case optest.IDHeader:
				members["typ"] = nil
			case optest.IDToken:
				members["auth_time"] = 0
			case optest.TokenAnswer:
				delete(members, "refresh_token")
			case optest.Userinfo:
				members["groups"] = "staff"
			case optest.LogoutToken:
				members["sid"] = nil
			}
		}
	})
	login := room.signIn(t, ada)
	if login.Claims["auth_time"] != 0.0 || login.Tokens.RefreshToken != "" {
		t.Errorf("auth_time is %v, refresh token %q", login.Claims["auth_time"], login.Tokens.RefreshToken)
	}
	if header, err := realop.Header(login.Raw); err != nil || header["typ"] != nil || header["kid"] == nil {
		t.Errorf("the ID token's header is %v, %v", header, err)
	}
	var metadata map[string]any
	if err := room.at.Provider().Claims(&metadata); err != nil || metadata["backchannel_logout_supported"] != nil {
		t.Errorf("metadata is %v, %v", metadata, err)
	}
	if _, err := room.provider.LogoutSession(t.Context(), room.provider.Sessions()[0].Sid); err != nil {
		t.Fatal(err)
	}
	payload := strings.Split(room.logoutToken(t), ".")[1]
	if text, err := base64.RawURLEncoding.DecodeString(payload); err != nil || !strings.Contains(string(text), `"sid":null`) {
		t.Errorf("logout token is %s, %v", text, err)
	}
}

func TestOversizedForm(t *testing.T) {
	room := newRoom(t, nil)
	form := room.redeem(strings.Repeat("x", 64<<10))
	if status, answer := room.token(t, form, basic(clientID, clientSecret)); status != 400 || answer["error"] != "invalid_request" {
		t.Errorf("answered %d %v, want 400 invalid_request", status, answer)
	}
}
