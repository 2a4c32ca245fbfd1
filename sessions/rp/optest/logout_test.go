package optest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// logoutToken is the oldest that the application has been sent. A logout returns
// when its tokens have been delivered, so there is nothing to wait for.
func (r room) logoutToken(t *testing.T) string {
	t.Helper()
	select {
	case token := <-r.app.Logouts:
		return token
	default:
		t.Fatal("no logout token came")
		return ""
	}
}

func (r room) readLogout(t *testing.T) (header, claims map[string]any) {
	t.Helper()
	header, claims, err := r.at.ReadLogout(t.Context(), r.logoutToken(t))
	if err != nil {
		t.Fatal(err)
	}
	return header, claims
}

func TestLogoutSession(t *testing.T) {
	var reported []optest.Delivery
	room := newRoom(t, func(p *optest.Provider) {
		p.Delivered = func(d optest.Delivery) { reported = append(reported, d) }
	})
	room.app.Answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Curfew-Fence", "complete")
		if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
			t.Errorf("Content-Type is %q", got)
		}
	}
	login := room.signIn(t, ada)
	sid, _ := login.Claims["sid"].(string)
	told, err := room.provider.LogoutSession(t.Context(), sid)
	if err != nil {
		t.Fatal(err)
	}
	header, claims := room.readLogout(t)
	iat, _ := claims["iat"].(float64)
	for name, want := range map[string]any{
		"sub": login.ID.Subject, "sid": sid, "iss": room.provider.Issuer, "aud": clientID, "exp": iat + 120,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if header["typ"] != "logout+jwt" || claims["nonce"] != nil || claims["jti"] == "" {
		t.Errorf("token is %v %v", header, claims)
	}
	if len(told) != 1 || !slices.Equal(told, reported) {
		t.Fatalf("told %+v, reported %+v: want one delivery, the same", told, reported)
	}
	if got := told[0]; got.Client != clientID || got.Sid != sid || got.Sub != login.ID.Subject ||
		got.Status != 200 || got.Fence != "complete" || got.Err != nil {
		t.Errorf("delivery is %+v", got)
	}
	if _, err := room.provider.LogoutSession(t.Context(), sid); !errors.Is(err, optest.ErrUnknown) {
		t.Errorf("the same again: %v, want ErrUnknown", err)
	}
}

// Two browsers, one user: by sid one session ends, by sub both, and each client
// is told once.
func TestLogoutUser(t *testing.T) {
	room := newRoom(t, nil)
	room.signIn(t, ada)
	other := room
	other.browser = realop.NewBrowser(t)
	login := other.signIn(t, ada)
	third := room
	third.browser = realop.NewBrowser(t)
	third.signIn(t, grace)

	told, err := room.provider.LogoutUser(t.Context(), login.ID.Subject)
	if err != nil || len(told) != 1 {
		t.Fatalf("told %+v, %v; want one client", told, err)
	}
	if _, claims := room.readLogout(t); claims["sub"] != login.ID.Subject || claims["sid"] != nil {
		t.Errorf("claims are %v, want the sub alone", claims)
	}
	if left := room.provider.Sessions(); len(left) != 1 || left[0].Username != "grace" {
		t.Errorf("sessions are %+v, want grace's", left)
	}
	if told, err := room.provider.LogoutUser(t.Context(), login.ID.Subject); err != nil || len(told) != 0 {
		t.Errorf("again: told %+v, %v; want nobody", told, err)
	}
	if _, err := room.provider.LogoutUser(t.Context(), "nobody"); !errors.Is(err, optest.ErrUnknown) {
		t.Errorf("unknown user: %v, want ErrUnknown", err)
	}
}

func TestLogoutAlg(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) { p.Alg, p.LogoutAlg = "PS256", "ES256" })
	login := room.signIn(t, ada)
	if _, err := room.provider.LogoutUser(t.Context(), login.ID.Subject); err != nil {
		t.Fatal(err)
	}
	id, err := realop.Header(login.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if logout, _ := room.readLogout(t); id["alg"] != "PS256" || logout["alg"] != "ES256" {
		t.Errorf("algorithms are %v and %v", id["alg"], logout["alg"])
	}
}

// What a refresh token is worth after the session depends on whether it was
// meant to outlive it.
func TestRefreshAfterLogout(t *testing.T) {
	for scope, survives := range map[string]bool{"openid": false, "openid offline_access": true} {
		t.Run(scope, func(t *testing.T) {
			room := newRoom(t, nil)
			room.at.OAuth().Scopes = strings.Fields(scope)
			login := room.signIn(t, ada)
			if _, err := room.provider.LogoutUser(t.Context(), login.ID.Subject); err != nil {
				t.Fatal(err)
			}
			if _, err := room.at.Refresh(t.Context(), login.Tokens.RefreshToken); (err == nil) != survives {
				t.Errorf("refresh: %v, want it to work: %t", err, survives)
			}
		})
	}
}

// A code is part of the sign-in: one that is not redeemed yet dies with the
// session, whatever its scope.
func TestCodeAfterLogout(t *testing.T) {
	room := newRoom(t, nil)
	code := room.code(t)
	if _, err := room.provider.LogoutSession(t.Context(), room.provider.Sessions()[0].Sid); err != nil {
		t.Fatal(err)
	}
	if status, answer := room.token(t, room.redeem(code), basic(clientID, clientSecret)); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("answered %d %v", status, answer)
	}
}

func TestDeliveryFaults(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		status int
		body   string
	}{
		"refused":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "wrong", 400) }, 400, "wrong\n"},
		"no answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, ""},
		"much to say": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(strings.Repeat("x", 9000)))
		}, 200, strings.Repeat("x", 4096)},
	} {
		t.Run(name, func(t *testing.T) {
			room := newRoom(t, nil)
			room.app.Answer = c.answer
			login := room.signIn(t, ada)
			told, err := room.provider.LogoutUser(t.Context(), login.ID.Subject)
			if err != nil || len(told) != 1 {
				t.Fatalf("told %+v, %v", told, err)
			}
			if got := told[0]; got.Status != c.status || got.Body != c.body || (got.Err != nil) != (c.status == 0) {
				t.Errorf("delivery is %d %q %v, want %d %q", got.Status, got.Body, got.Err, c.status, c.body)
			}
			if left := room.provider.Sessions(); len(left) != 0 {
				t.Errorf("sessions are %+v, want none", left)
			}
		})
	}
}

func TestDeliveryIsNotForever(t *testing.T) {
	release := make(chan struct{})
	room := newRoom(t, nil)
	room.app.Answer = func(http.ResponseWriter, *http.Request) { <-release }
	t.Cleanup(func() { close(release) })
	login := room.signIn(t, ada)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	told, err := room.provider.LogoutUser(ctx, login.ID.Subject)
	if err != nil || len(told) != 1 || !errors.Is(told[0].Err, context.DeadlineExceeded) {
		t.Errorf("told %+v, %v; want one past its deadline", told, err)
	}
}

func TestMintLogoutToken(t *testing.T) {
	room := newRoom(t, nil)
	mint := func(m optest.Mint) (string, error) {
		m.Client = clientID
		return room.provider.MintLogoutToken(m)
	}
	for _, c := range []struct {
		name string
		mint optest.Mint
		good bool
	}{
		{"by sid", optest.Mint{Claims: map[string]any{"sid": "s"}}, true},
		{"by sub, without typ", optest.Mint{Claims: map[string]any{"sub": "s"}, Header: map[string]any{"typ": nil}}, true},
		{"audience as an array", optest.Mint{Claims: map[string]any{"sub": "s", "aud": []string{clientID}}}, true},
		{"nobody", optest.Mint{}, false},
		{"no exp", optest.Mint{Claims: map[string]any{"sub": "s", "exp": nil}}, false},
		{"nonce", optest.Mint{Claims: map[string]any{"sub": "s", "nonce": "n"}}, false},
		{"unsigned", optest.Mint{Claims: map[string]any{"sub": "s"}, Header: map[string]any{"alg": "none"}}, false},
		{"shared secret", optest.Mint{Claims: map[string]any{"sub": "s"}, Header: map[string]any{"alg": "HS256"}, Secret: []byte("x")}, false},
		{"unknown key", optest.Mint{Claims: map[string]any{"sub": "s"}, Header: map[string]any{"kid": "x"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := mint(c.mint)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := room.at.ReadLogout(t.Context(), token); (err == nil) != c.good {
				t.Errorf("read: %v, want it good: %t", err, c.good)
			}
		})
	}
	if _, err := room.provider.MintLogoutToken(optest.Mint{Client: "x"}); err == nil {
		t.Error("a token was made for an unknown client")
	}
	if _, err := new(optest.Provider).MintLogoutToken(optest.Mint{}); err == nil {
		t.Error("a provider without clients made a token")
	}
}

func TestDeliverMinted(t *testing.T) {
	room := newRoom(t, nil)
	if got := room.provider.Deliver(t.Context(), clientID, "any text"); got.Status != 200 || got.Err != nil {
		t.Errorf("delivery is %+v", got)
	}
	if got := room.logoutToken(t); got != "any text" {
		t.Errorf("the client got %q", got)
	}
	if got := room.provider.Deliver(t.Context(), "x", "any text"); !errors.Is(got.Err, optest.ErrUnknown) {
		t.Errorf("delivery is %+v, want ErrUnknown", got)
	}
}

func TestInitiatedLogout(t *testing.T) {
	room := newRoom(t, func(p *optest.Provider) {
		p.Clients = append(p.Clients, optest.Client{ID: "other", Secret: "its own"})
	})
	foreign := newRoom(t, nil)
	hint := room.signIn(t, ada).Raw
	foreignHint := foreign.signIn(t, ada).Raw
	back := room.app.PostLogoutURI()
	for _, c := range []struct {
		name  string
		query url.Values
		// at is where the browser ends up: "" on the provider's page of status.
		at     string
		status int
		ended  bool
	}{
		{"with everything", url.Values{"id_token_hint": {hint}, "client_id": {clientID}, "post_logout_redirect_uri": {back}, "state": {"a b"}}, back + "?state=a+b", 200, true},
		{"without state", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {back}}, back, 200, true},
		{"hint alone", url.Values{"id_token_hint": {hint}}, "", 200, true},
		{"nothing: it asks", url.Values{}, "", 200, false},
		{"no hint: it asks", url.Values{"client_id": {clientID}, "post_logout_redirect_uri": {back}}, "", 200, false},
		{"another address", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {back + "/"}}, "", 400, false},
		{"address of nobody", url.Values{"post_logout_redirect_uri": {back}}, "", 400, false},
		{"unknown client", url.Values{"client_id": {"x"}}, "", 400, false},
		{"hint of another client", url.Values{"id_token_hint": {hint}, "client_id": {"other"}}, "", 400, false},
		{"hint of another provider", url.Values{"id_token_hint": {foreignHint}}, "", 400, false},
		{"spoilt hint", url.Values{"id_token_hint": {hint[:len(hint)-8] + "AAAAAAAA"}}, "", 400, false},
		{"no token as hint", url.Values{"id_token_hint": {"x"}}, "", 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			room := room
			if c.ended {
				// Each needs a session of its own to end.
				room = newRoom(t, nil)
				fresh := room.signIn(t, ada).Raw
				c.query.Set("id_token_hint", fresh)
				if c.query.Has("post_logout_redirect_uri") {
					c.query.Set("post_logout_redirect_uri", room.app.PostLogoutURI())
					c.at = strings.Replace(c.at, back, room.app.PostLogoutURI(), 1)
				}
			}
			page := room.get(t, room.provider.Issuer+"/end-session?"+c.query.Encode())
			got := page.Request.URL.String()
			if c.at == "" && !strings.HasPrefix(got, room.provider.Issuer) || c.at != "" && got != c.at || page.StatusCode != c.status {
				t.Errorf("the browser is at %s with %d, want %q with %d", got, page.StatusCode, c.at, c.status)
			}
			if ended := len(room.provider.Sessions()) == 0; ended != c.ended {
				t.Errorf("the session ended: %t, want %t", ended, c.ended)
			}
			if c.ended {
				room.readLogout(t) // told before the browser went on
			}
		})
	}
}

func TestInitiatedLogoutAfterConsent(t *testing.T) {
	room := newRoom(t, nil)
	room.signIn(t, ada)
	query := url.Values{"client_id": {clientID}, "post_logout_redirect_uri": {room.app.PostLogoutURI()}, "state": {"s"}}
	page, err := room.browser.SignOut(t.Context(), room.provider.Issuer+"/end-session?"+query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := page.Request.URL.String(), room.app.PostLogoutURI()+"?state=s"; got != want {
		t.Errorf("the browser is at %s, want %s", got, want)
	}
	room.readLogout(t)
}

// The hint of a session that another has taken the place of in this browser
// does not end the newer one unasked.
func TestInitiatedLogoutOfAnEarlierSession(t *testing.T) {
	room := newRoom(t, nil)
	old := room.signIn(t, ada)
	if _, err := room.at.SignIn(t.Context(), room.browser, grace, oauth2.SetAuthURLParam("prompt", "login")); err != nil {
		t.Fatal(err)
	}
	room.get(t, room.provider.Issuer+"/end-session?"+url.Values{"id_token_hint": {old.Raw}}.Encode())
	if left := room.provider.Sessions(); len(left) != 1 || left[0].Username != "grace" {
		t.Errorf("sessions are %+v, want grace's", left)
	}
}

func TestSignOutAtTheProvider(t *testing.T) {
	quiet := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(quiet.Close)
	room := newRoom(t, func(p *optest.Provider) {
		p.Clients = append(p.Clients, optest.Client{ID: "quiet", Secret: "s", RedirectURIs: []string{quiet.URL}})
	})
	room.signIn(t, ada)
	page, err := room.browser.SignOut(t.Context(), room.provider.Issuer)
	if err != nil || page.StatusCode != http.StatusOK {
		t.Fatalf("page is %v, %v", page, err)
	}
	room.readLogout(t)
	if left := room.provider.Sessions(); len(left) != 0 {
		t.Errorf("sessions are %+v, want none", left)
	}
}

func TestSignOutEverywhere(t *testing.T) {
	room := newRoom(t, nil)
	room.signIn(t, ada)
	other := room
	other.browser = realop.NewBrowser(t)
	other.signIn(t, ada)
	if _, err := room.browser.Post(t.Context(), room.provider.Issuer+"/sign-out", url.Values{"everywhere": {"yes"}}); err != nil {
		t.Fatal(err)
	}
	if _, claims := room.readLogout(t); claims["sid"] != nil {
		t.Errorf("claims are %v, want the sub alone", claims)
	}
	if left := room.provider.Sessions(); len(left) != 0 {
		t.Errorf("sessions are %+v, want none", left)
	}
}
