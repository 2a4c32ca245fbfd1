package optest_test

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"curfew/sessions/rp/optest"
)

func (r room) userinfo(t *testing.T, authorization string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.provider.Issuer+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if challenge := response.Header.Get("WWW-Authenticate"); (response.StatusCode == 401) != (challenge != "") {
		t.Errorf("answered %d with the challenge %q", response.StatusCode, challenge)
	}
	return response.StatusCode
}

func TestUserinfo(t *testing.T) {
	var passed time.Duration
	base := time.Now()
	room := newRoom(t, func(p *optest.Provider) {
		p.AccessLife = time.Minute
		p.Now = func() time.Time { return base.Add(passed) }
	})
	login := room.signIn(t, ada)
	info, err := room.at.Provider().UserInfo(t.Context(), oauth2.StaticTokenSource(login.Tokens))
	if err != nil {
		t.Fatal(err)
	}
	if info.Subject != login.ID.Subject || info.Email != "ada@example.com" || !info.EmailVerified {
		t.Errorf("userinfo is %+v", info)
	}
	for _, c := range []struct {
		name, authorization string
		later               time.Duration
		want                int
	}{
		{"good", "Bearer " + login.Tokens.AccessToken, 0, 200},
		{"lower case", "bearer " + login.Tokens.AccessToken, time.Minute, 200},
		{"expired", "Bearer " + login.Tokens.AccessToken, time.Minute + 1, 401},
		{"unknown", "Bearer x", 0, 401},
		{"empty", "Bearer ", 0, 401},
		{"another scheme", "Basic " + login.Tokens.AccessToken, 0, 401},
		{"none", "", 0, 401},
	} {
		passed = c.later
		if got := room.userinfo(t, c.authorization); got != c.want {
			t.Errorf("%s: answered %d, want %d", c.name, got, c.want)
		}
	}
}

func TestScopeDecidesWhatIsSaid(t *testing.T) {
	room := newRoom(t, nil)
	room.at.OAuth().Scopes = []string{"openid"}
	claims := room.signIn(t, ada).Claims
	for _, name := range []string{"name", "preferred_username", "email", "groups"} {
		if _, said := claims[name]; said {
			t.Errorf("%s is told to a client that did not ask", name)
		}
	}
	if claims["sub"] == "" || claims["sid"] == "" {
		t.Errorf("claims are %v, want sub and sid", claims)
	}
}
