package optest_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

const (
	clientID = "app"
	// clientSecret is as long as HS512 asks for.
	clientSecret = "a secret of more than sixty-four characters, the least for HS512 there"
)

var (
	ada   = realop.User{Username: "ada", Password: "demo"}
	grace = realop.User{Username: "grace", Password: "demo"}
)

// room is a provider, an application registered there, and a browser.
type room struct {
	provider *optest.Provider
	app      *realop.App
	at       *realop.Registered
	browser  *realop.Browser
}

// newRoom lets setup change the provider before it starts.
func newRoom(t *testing.T, setup func(*optest.Provider)) room {
	t.Helper()
	app := realop.NewApp(t)
	provider := &optest.Provider{
		Now: time.Now,
		Alg: "ES256", // its keys are made in no time
		Clients: []optest.Client{{
			ID: clientID, Secret: clientSecret, Name: "The Application",
			RedirectURIs:   []string{app.RedirectURI()},
			PostLogoutURIs: []string{app.PostLogoutURI()},
			BackchannelURI: app.BackchannelURI(),
		}},
	}
	if setup != nil {
		setup(provider)
	}
	realop.Serve(t, provider, nil)
	at, err := app.At(t.Context(), provider.Issuer, clientID, provider.Clients[0].Secret)
	if err != nil {
		t.Fatal(err)
	}
	return room{provider: provider, app: app, at: at, browser: realop.NewBrowser(t)}
}

func (r room) signIn(t *testing.T, user realop.User) *realop.Login {
	t.Helper()
	login, err := r.at.SignIn(t.Context(), r.browser, user)
	if err != nil {
		t.Fatal(err)
	}
	return login
}

func (r room) get(t *testing.T, target string) *http.Response {
	t.Helper()
	response, err := r.browser.Get(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestLoginAtEveryIssuer(t *testing.T) {
	for _, path := range []string{"", "/", "/realms/one", "/realms/one/"} {
		t.Run("path "+path, func(t *testing.T) {
			room := newRoom(t, func(p *optest.Provider) { p.Issuer = path })
			login := room.signIn(t, ada)
			if login.ID.Issuer != room.provider.Issuer {
				t.Errorf("issuer is %q, want %q", login.ID.Issuer, room.provider.Issuer)
			}
		})
	}
}

func TestLoginWithEveryAlgorithm(t *testing.T) {
	for set, want := range map[string]string{
		"": "RS256", "RS256": "RS256", "PS256": "PS256", "ES256": "ES256", "EdDSA": "EdDSA",
	} {
		t.Run(set, func(t *testing.T) {
			room := newRoom(t, func(p *optest.Provider) { p.Alg = set })
			login := room.signIn(t, ada)
			if header, err := realop.Header(login.Raw); err != nil || header["alg"] != want {
				t.Errorf("header is %v, %v; want alg %s", header, err, want)
			}
			if login.ID.AccessTokenHash == "" {
				t.Error("at_hash is missing")
			}
		})
	}
}

func TestIDTokenClaims(t *testing.T) {
	room := newRoom(t, nil)
	before := time.Now().Truncate(time.Second)
	login := room.signIn(t, ada)
	user := room.provider.Users[0]
	for name, want := range map[string]any{
		"sub": user.Sub, "aud": clientID, "preferred_username": "ada", "name": user.Name,
		"email": user.Email, "email_verified": true, "sid": room.provider.Sessions()[0].Sid,
	} {
		if got := login.Claims[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	groups, _ := login.Claims["groups"].([]any)
	if !slices.Equal(groups, []any{"admins", "staff"}) {
		t.Errorf("groups are %v", groups)
	}
	authTime, _ := login.Claims["auth_time"].(float64)
	if at := time.Unix(int64(authTime), 0); at.Before(before) || at.After(time.Now()) {
		t.Errorf("auth_time is %v, want about %v", at, before)
	}
	if got := login.ID.Expiry.Sub(login.ID.IssuedAt); got != 5*time.Minute {
		t.Errorf("the token lasts %v, want 5m", got)
	}
}

func TestSecondLoginInOneSession(t *testing.T) {
	room := newRoom(t, nil)
	first := room.signIn(t, ada)
	// The password is wrong now, and is not asked for.
	second := room.signIn(t, realop.User{Username: "ada", Password: "wrong"})
	if first.Claims["sid"] != second.Claims["sid"] {
		t.Errorf("sid is %v, then %v: want the same", first.Claims["sid"], second.Claims["sid"])
	}
	if got := room.provider.Sessions(); len(got) != 1 || !slices.Equal(got[0].Clients, []string{clientID}) {
		t.Errorf("sessions are %+v, want one with one client", got)
	}
}

func TestWrongPassword(t *testing.T) {
	room := newRoom(t, nil)
	for _, user := range []realop.User{{Username: "ada", Password: "wrong"}, {Username: "nobody", Password: "demo"}, {}} {
		if _, err := room.at.SignIn(t.Context(), room.browser, user); err == nil {
			t.Errorf("%q signed in with %q", user.Username, user.Password)
		}
	}
	if got := room.provider.Sessions(); len(got) != 0 {
		t.Errorf("sessions are %+v, want none", got)
	}
}
