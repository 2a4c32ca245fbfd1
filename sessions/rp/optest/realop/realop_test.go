package realop_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"curfew/sessions/rp/optest/realop"
)

const clientSecret = "a secret of thirty-two characters"

var (
	ada        = realop.User{Username: "ada", Password: "demo"}
	askConsent = oauth2.SetAuthURLParam("prompt", "consent")
)

// room is a real provider, an application registered there, and a browser.
type room struct {
	op      *realop.OP
	app     *realop.App
	at      *realop.Registered
	browser *realop.Browser
}

// newRooms starts one provider with several clients, each an application of its
// own: a provider takes a while to start.
func newRooms(t *testing.T, options realop.Options, clients ...realop.Client) []room {
	t.Helper()
	rooms := make([]room, len(clients))
	for i := range clients {
		app := realop.NewApp(t)
		clients[i].ID, clients[i].Secret = fmt.Sprintf("app-%d", i), clientSecret
		clients[i].RedirectURIs = []string{app.RedirectURI()}
		clients[i].PostLogoutURIs = []string{app.PostLogoutURI()}
		clients[i].BackchannelURI = app.BackchannelURI()
		rooms[i] = room{app: app, browser: realop.NewBrowser(t)}
	}
	options.Clients = clients
	op := realop.Start(t, options)
	for i := range rooms {
		at, err := rooms[i].app.At(t.Context(), op.Issuer, clients[i].ID, clientSecret)
		if err != nil {
			t.Fatal(err)
		}
		rooms[i].op, rooms[i].at = op, at
	}
	return rooms
}

func (r room) signIn(t *testing.T, options ...oauth2.AuthCodeOption) *realop.Login {
	t.Helper()
	login, err := r.at.SignIn(t.Context(), r.browser, ada, options...)
	if err != nil {
		t.Fatal(err)
	}
	return login
}

// logout waits for a logout token and reads it.
func (r room) logout(t *testing.T) (header, claims map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case token := <-r.app.Logouts:
		header, claims, err := r.at.ReadLogout(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return header, claims
	case <-ctx.Done():
		t.Fatal("no logout token came")
		return nil, nil
	}
}

func TestRealLogin(t *testing.T) {
	algs := []string{"RS256", "ES256", "EdDSA"}
	for _, path := range []string{"", "/", "/realm/"} {
		t.Run("path "+path, func(t *testing.T) {
			var clients []realop.Client
			for _, alg := range algs {
				clients = append(clients, realop.Client{Alg: alg})
			}
			for i, room := range newRooms(t, realop.Options{Path: path}, clients...) {
				t.Run(algs[i], func(t *testing.T) { checkLogin(t, room, algs[i]) })
			}
		})
	}
}

func checkLogin(t *testing.T, room room, alg string) {
	login := room.signIn(t, askConsent)
	if header, err := realop.Header(login.Raw); err != nil || header["alg"] != alg {
		t.Errorf("header is %v, %v; want alg %v", header, err, alg)
	}
	groups, _ := login.Claims["groups"].([]any)
	if login.Claims["preferred_username"] != "ada" || !slices.Equal(groups, []any{"admins", "staff"}) {
		t.Errorf("claims are %v, want ada's", login.Claims)
	}
	if login.Tokens.RefreshToken == "" {
		t.Fatal("there is no refresh token")
	}
	renewed, err := room.at.Refresh(t.Context(), login.Tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Tokens.RefreshToken == login.Tokens.RefreshToken {
		t.Error("the refresh token is the same again")
	}
	if _, err := room.at.Refresh(t.Context(), login.Tokens.RefreshToken); err == nil {
		t.Error("a refresh token was good twice")
	}
}

func TestRealLogoutToken(t *testing.T) {
	rooms := newRooms(t, realop.Options{}, realop.Client{}, realop.Client{SubOnly: true})
	for _, c := range []struct {
		name string
		end  func(room, *realop.Login) error
	}{
		{"by its operator", func(r room, _ *realop.Login) error {
			sessions, err := r.op.Sessions(context.Background())
			if err != nil {
				return err
			}
			_, err = r.op.EndSession(context.Background(), sessions[0].Sids[r.at.OAuth().ClientID])
			return err
		}},
		{"of the user by its operator", func(r room, login *realop.Login) error {
			_, err := r.op.EndUser(context.Background(), login.ID.Subject)
			return err
		}},
		{"in the browser", func(r room, _ *realop.Login) error {
			_, err := r.browser.SignOut(context.Background(), r.op.SignOutURL())
			return err
		}},
	} {
		for i, name := range []string{c.name, c.name + ", sub only"} {
			t.Run(name, func(t *testing.T) {
				room := rooms[i]
				login := room.signIn(t)
				if err := c.end(room, login); err != nil {
					t.Fatal(err)
				}
				header, claims := room.logout(t)
				checkLogoutToken(t, header, claims, login, i == 1)
				sessions, err := room.op.Sessions(t.Context())
				if err != nil || len(sessions) != 0 {
					t.Errorf("sessions are %v, %v; want none", sessions, err)
				}
			})
		}
	}
}

// checkLogoutToken holds a token against what is known of this provider: both
// names, two minutes to live, its own type, one audience as text.
func checkLogoutToken(t *testing.T, header, claims map[string]any, login *realop.Login, subOnly bool) {
	t.Helper()
	_, hasSid := claims["sid"]
	if subOnly == hasSid || claims["sid"] != login.Claims["sid"] {
		t.Errorf("sid is %v, the login's %v; sub only: %t", claims["sid"], login.Claims["sid"], subOnly)
	}
	iat, _ := claims["iat"].(float64)
	for name, want := range map[string]any{
		"sub": login.ID.Subject, "iss": login.ID.Issuer, "aud": login.Claims["aud"], "exp": iat + 120,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if header["typ"] != "logout+jwt" {
		t.Errorf("typ is %v, want logout+jwt", header["typ"])
	}
}

func TestRealProvider(t *testing.T) {
	rooms := newRooms(t, realop.Options{},
		realop.Client{AuthMethod: "client_secret_basic"}, realop.Client{AuthMethod: "client_secret_post"})
	rooms[0].at.OAuth().Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	rooms[1].at.OAuth().Endpoint.AuthStyle = oauth2.AuthStyleInParams
	for i, method := range []string{"basic", "post"} {
		for _, c := range []struct {
			name string
			test func(*testing.T, room)
		}{
			{"metadata", metadata},
			{"second login", secondLogin},
			{"initiated logout", initiatedLogout},
			{"refusals", refusals},
			{"refused logout token", refusedToken},
		} {
			t.Run(method+", "+c.name, func(t *testing.T) {
				room := rooms[i]
				room.browser = realop.NewBrowser(t)
				c.test(t, room)
			})
		}
	}
}

func secondLogin(t *testing.T, room room) {
	first, second := room.signIn(t), room.signIn(t)
	if first.Claims["sid"] != second.Claims["sid"] {
		t.Errorf("sid is %v, then %v: want the same", first.Claims["sid"], second.Claims["sid"])
	}
}

func initiatedLogout(t *testing.T, room room) {
	login := room.signIn(t)
	target, err := room.at.EndSessionURL(url.Values{
		"id_token_hint": {login.Raw}, "post_logout_redirect_uri": {room.app.PostLogoutURI()}, "state": {"s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, signedIn := range []bool{true, false} {
		page, err := room.browser.SignOut(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := page.Request.URL.String(), room.app.PostLogoutURI()+"?state=s"; got != want {
			t.Errorf("signed in: %t: the browser is at %s, want %s", signedIn, got, want)
		}
	}
	room.logout(t)
}

func refusals(t *testing.T, room room) {
	if _, err := room.at.SignIn(t.Context(), room.browser, realop.User{Username: "ada", Password: "wrong"}); err == nil {
		t.Error("ada signed in with a wrong password")
	}
	if told, err := room.op.EndSession(t.Context(), "unknown"); err != nil || len(told) != 0 {
		t.Errorf("an unknown session ended: %v, %v", told, err)
	}
}

func refusedToken(t *testing.T, room room) {
	room.app.Answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	login := room.signIn(t)
	told, err := room.op.EndUser(t.Context(), login.ID.Subject)
	agreed := func(told realop.Told) bool { return told.Error == "" }
	if err != nil || len(told) == 0 || slices.ContainsFunc(told, agreed) {
		t.Errorf("told %+v, %v; want complaints alone", told, err)
	}
}

func metadata(t *testing.T, room room) {
	var metadata map[string]any
	if err := room.at.Provider().Claims(&metadata); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"end_session_endpoint", "revocation_endpoint", "introspection_endpoint", "userinfo_endpoint",
		"backchannel_logout_supported", "backchannel_logout_session_supported",
		"authorization_response_iss_parameter_supported",
	} {
		if metadata[name] == nil || metadata[name] == false {
			t.Errorf("%s is %v", name, metadata[name])
		}
	}
}

func TestRealProviderStopsAndReturns(t *testing.T) {
	op := realop.Start(t, realop.Options{})
	port, err := op.Port()
	if err != nil {
		t.Fatal(err)
	}
	op.Stop(t)
	if _, err := op.Sessions(t.Context()); err == nil {
		t.Fatal("a stopped provider answers")
	}
	again := realop.Start(t, realop.Options{Port: port})
	if again.Issuer != op.Issuer {
		t.Errorf("the issuer is %s, want %s again", again.Issuer, op.Issuer)
	}
}

func TestRealClaimsAtUserinfoOnly(t *testing.T) {
	room := newRooms(t, realop.Options{UserinfoOnly: true, KeepRefreshTokens: true, AccessLife: 90 * time.Second},
		realop.Client{Metadata: map[string]any{"require_auth_time": true}})[0]
	login := room.signIn(t, askConsent)
	if login.Claims["groups"] != nil || login.Claims["email"] != nil || login.Claims["auth_time"] == nil {
		t.Errorf("ID token claims are %v, want auth_time and no profile", login.Claims)
	}
	info, err := room.at.Provider().UserInfo(t.Context(), oauth2.StaticTokenSource(login.Tokens))
	if err != nil || info.Email != "ada@example.com" {
		t.Errorf("userinfo is %+v, %v", info, err)
	}
	if left := time.Until(login.Tokens.Expiry); left > 90*time.Second || left < 60*time.Second {
		t.Errorf("the access token lasts %v, want 90s", left)
	}
	renewed, err := room.at.Refresh(t.Context(), login.Tokens.RefreshToken)
	if err != nil || renewed.Tokens.RefreshToken != login.Tokens.RefreshToken {
		t.Errorf("refreshed: %v, want the same refresh token", err)
	}
}
