package optest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// authURL is a good authentication request, changed by change.
func (r room) authURL(change func(url.Values)) string {
	verifier := oauth2.S256ChallengeOption(strings.Repeat("v", 43))
	target, err := url.Parse(r.at.OAuth().AuthCodeURL("s", verifier))
	if err != nil {
		panic(err)
	}
	query := target.Query()
	if change != nil {
		change(query)
	}
	target.RawQuery = query.Encode()
	return target.String()
}

// stay keeps the browser from following redirects.
func (r room) stay() {
	r.browser.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

func TestAuthorizeRefusesOnItsOwnPage(t *testing.T) {
	room := newRoom(t, nil)
	room.stay()
	for name, change := range map[string]func(url.Values){
		"unknown client":         func(q url.Values) { q.Set("client_id", "other") },
		"no client":              func(q url.Values) { q.Del("client_id") },
		"another redirect URI":   func(q url.Values) { q.Set("redirect_uri", "https://evil.example/callback") },
		"a longer redirect URI":  func(q url.Values) { q.Set("redirect_uri", q.Get("redirect_uri")+"/") },
		"no redirect URI":        func(q url.Values) { q.Del("redirect_uri") },
		"two redirect URIs":      func(q url.Values) { q.Add("redirect_uri", "https://evil.example/") },
		"a parameter come twice": func(q url.Values) { q.Add("state", "t") },
	} {
		t.Run(name, func(t *testing.T) {
			response := room.get(t, room.authURL(change))
			if response.StatusCode != http.StatusBadRequest || response.Header.Get("Location") != "" {
				t.Errorf("answered %d to %q, want 400 and no redirect", response.StatusCode, response.Header.Get("Location"))
			}
		})
	}
}

func TestAuthorizeRefusesAtTheClient(t *testing.T) {
	room := newRoom(t, nil)
	room.stay()
	for _, c := range []struct {
		name, want string
		change     func(url.Values)
	}{
		{"no PKCE", "invalid_request", func(q url.Values) { q.Del("code_challenge") }},
		{"plain PKCE", "invalid_request", func(q url.Values) { q.Set("code_challenge_method", "plain") }},
		{"implicit flow", "unsupported_response_type", func(q url.Values) { q.Set("response_type", "id_token") }},
		{"fragment", "invalid_request", func(q url.Values) { q.Set("response_mode", "fragment") }},
		{"no openid", "invalid_scope", func(q url.Values) { q.Set("scope", "email") }},
		{"request object", "request_not_supported", func(q url.Values) { q.Set("request", "x") }},
		{"request URI", "request_uri_not_supported", func(q url.Values) { q.Set("request_uri", "x") }},
		{"none and login", "invalid_request", func(q url.Values) { q.Set("prompt", "none login") }},
		{"max_age is no number", "invalid_request", func(q url.Values) { q.Set("max_age", "-1") }},
		{"nobody to be silent about", "login_required", func(q url.Values) { q.Set("prompt", "none") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			response := room.get(t, room.authURL(c.change))
			target, err := response.Location()
			if err != nil {
				t.Fatalf("answered %d: %v", response.StatusCode, err)
			}
			got := target.Query()
			if !strings.HasPrefix(target.String(), room.app.RedirectURI()+"?") {
				t.Errorf("redirected to %s", target)
			}
			if got.Get("error") != c.want || got.Get("state") != "s" || got.Get("iss") != room.provider.Issuer {
				t.Errorf("answered %v, want %s with state and issuer", got, c.want)
			}
		})
	}
}

// A redirect URI keeps the query it is registered with.
func TestRedirectURIWithQuery(t *testing.T) {
	var registered string
	room := newRoom(t, func(p *optest.Provider) {
		registered = p.Clients[0].RedirectURIs[0] + "?tenant=1"
		p.Clients[0].RedirectURIs = []string{registered}
	})
	room.at.OAuth().RedirectURL = registered
	if login := room.signIn(t, ada); login.Callback.Get("tenant") != "1" {
		t.Errorf("came back with %v, want tenant=1", login.Callback)
	}
}

func TestWhenThePasswordIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		param []oauth2.AuthCodeOption
		later time.Duration
		asked bool
	}{
		{name: "signed in"},
		{name: "silent", param: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "none")}},
		{name: "consent", param: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "consent")}},
		{name: "login", param: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "login")}, asked: true},
		{name: "select_account", param: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "select_account")}, asked: true},
		{name: "young enough", param: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("max_age", "60")}, later: 59 * time.Second},
		{name: "too old", param: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("max_age", "60")}, later: 61 * time.Second, asked: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var later time.Duration
			base := time.Now()
			room := newRoom(t, func(p *optest.Provider) {
				p.Now = func() time.Time { return base.Add(later) }
			})
			first := room.signIn(t, ada)
			later = c.later
			_, err := room.at.SignIn(t.Context(), room.browser, realop.User{Username: "ada", Password: "wrong"}, c.param...)
			if asked := err != nil; asked != c.asked {
				t.Fatalf("asked: %t, want %t (%v)", asked, c.asked, err)
			}
			if !c.asked {
				return
			}
			second, err := room.at.SignIn(t.Context(), room.browser, ada, c.param...)
			if err != nil {
				t.Fatal(err)
			}
			if first.Claims["sid"] != second.Claims["sid"] {
				t.Error("the same user has another sid after the password")
			}
			if got := room.provider.Sessions()[0].AuthTime; !got.Equal(base.Add(later)) {
				t.Errorf("authenticated at %v, want %v", got, base.Add(later))
			}
		})
	}
}

func TestAnotherUserTakesTheBrowser(t *testing.T) {
	room := newRoom(t, nil)
	first := room.signIn(t, ada)
	second, err := room.at.SignIn(t.Context(), room.browser, grace, oauth2.SetAuthURLParam("prompt", "login"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Claims["sid"] == second.Claims["sid"] {
		t.Error("two users share a sid")
	}
	if _, claims := room.readLogout(t); claims["sid"] != first.Claims["sid"] {
		t.Errorf("told of %v, want the first user's session", claims)
	}
}

// A session cookie from before a sign-in is of no use after it.
func TestSignInChangesTheCookie(t *testing.T) {
	room := newRoom(t, nil)
	room.signIn(t, ada)
	home, err := url.Parse(room.provider.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	before := room.browser.Client.Jar.Cookies(home)[0].Value
	if _, err := room.at.SignIn(t.Context(), room.browser, ada, oauth2.SetAuthURLParam("prompt", "login")); err != nil {
		t.Fatal(err)
	}
	if room.browser.Client.Jar.Cookies(home)[0].Value == before {
		t.Error("the cookie is the same")
	}
}

func TestFormsAreTakenFromOwnPagesOnly(t *testing.T) {
	room := newRoom(t, nil)
	room.signIn(t, ada)
	for _, path := range []string{"/sign-in", "/sign-out", "/end-session/confirm"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, room.provider.Issuer+path, strings.NewReader("username=ada&password=demo"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		response, err := room.browser.Client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("%s answered %d to another site's form, want 403", path, response.StatusCode)
		}
	}
	if got := room.provider.Sessions(); len(got) != 1 {
		t.Errorf("sessions are %v, want the one of before", got)
	}
}
