package main

import (
	"bytes"
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"curfew/events"
	"curfew/sessions/rp/optest/realop"
)

// call asks Keycloak's admin API, as its admin console does, and reads the answer
// into what is given.
func (k *keycloak) call(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	resp, err := http.PostForm(k.front.URL+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {keycloakAdmin}, "password": {keycloakSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var grant struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&grant); err != nil || grant.Token == "" {
		t.Fatalf("no token for the operator of Keycloak: %d, %v", resp.StatusCode, err)
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, k.front.URL+"/admin/realms/"+keycloakRealm+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+grant.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, text)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
}

// change sets members of something that the admin API shows, and attributes of
// it.
func (k *keycloak) change(t *testing.T, path string, members, attributes map[string]any) {
	t.Helper()
	var thing map[string]any
	k.call(t, http.MethodGet, path, nil, &thing)
	maps.Copy(thing, members)
	if attributes != nil {
		all, _ := thing["attributes"].(map[string]any)
		maps.Copy(all, attributes)
	}
	k.call(t, http.MethodPut, path, thing, nil)
}

// keycloakHouse is replicas of curfew at one client of Keycloak.
type keycloakHouse struct {
	*house
	keycloak *keycloak
	client   string
	path     string // of the client in the admin API
	postbox  *postbox
}

// open starts replicas for a client and tells Keycloak where they are.
func (k *keycloak) open(t *testing.T, client string, replicas []string, env ...string) *keycloakHouse {
	t.Helper()
	address, _ := startNATS(t, t.TempDir(), "-1")
	s := newSite(t, address)
	h := &keycloakHouse{house: &house{site: s}, keycloak: k, client: client}
	h.postbox = &postbox{target: s.front.URL + "/auth/backchannel-logout"}
	postbox := httptest.NewServer(h.postbox)
	t.Cleanup(postbox.Close)
	h.postbox.url = postbox.URL
	var found []struct {
		ID string `json:"id"`
	}
	k.call(t, http.MethodGet, "/clients?clientId="+client, nil, &found)
	if len(found) != 1 {
		t.Fatalf("Keycloak has %d clients %s, want one", len(found), client)
	}
	h.path = "/clients/" + found[0].ID
	k.change(t, h.path, map[string]any{"redirectUris": []string{s.front.URL + "/auth/callback"}}, map[string]any{
		"post.logout.redirect.uris": s.front.URL + "/auth/signed-out",
	})
	h.sendLogoutsTo(t, postbox.URL)
	s.env = append(append(s.env, "OIDC_ENDPOINT="+k.issuer(), "OIDC_CLIENT_ID="+client, "OIDC_SCOPES=openid email profile"), env...)
	for _, name := range replicas {
		s.start(name)
	}
	for _, r := range s.replicas {
		r.ready()
	}
	return h
}

// sendLogoutsTo has Keycloak send this client's logout tokens there.
func (h *keycloakHouse) sendLogoutsTo(t *testing.T, url string) {
	t.Helper()
	h.keycloak.change(t, h.path, nil, map[string]any{"backchannel.logout.url": url})
}

func (k *keycloak) issuer() string { return k.front.URL + "/realms/" + keycloakRealm }

// person is a user at a browser, signed in.
type person struct {
	browser *realop.Browser
	cookie  string
	// session is curfew's, sub and sid are Keycloak's.
	session, sub, sid string
}

// enter signs a user in with a browser of their own.
func (h *keycloakHouse) enter(t *testing.T, name string) person {
	t.Helper()
	browser := realop.NewBrowser(t)
	browser.Client.Jar = loopbackJar{browser.Client.Jar}
	return h.arrive(t, name, browser)
}

// arrive signs a user in through such of Keycloak's forms as it shows. The login
// begins at one replica and ends at another.
func (h *keycloakHouse) arrive(t *testing.T, name string, browser *realop.Browser) person {
	t.Helper()
	next := func() { h.through.Store((h.through.Load() + 1) % int32(len(h.replicas))) }
	next()
	page, err := browser.Get(t.Context(), h.front.URL+"/auth/login?rd=/after")
	if err != nil {
		t.Fatal(err)
	}
	next()
	if strings.Contains(pageText(t, page), "kc-form-login") {
		page = submit(t, browser, page, "kc-form-login", url.Values{"username": {name}, "password": {"demo"}})
	}
	if strings.Contains(page.Request.URL.RawQuery, "execution=OAUTH_GRANT") {
		page = submit(t, browser, page, "", url.Values{"accept": {"Yes"}})
	}
	if got := page.Request.URL.Path; page.StatusCode != http.StatusOK || got != "/after" {
		t.Fatalf("%s's sign-in ended at %s with %d:\n%s", name, page.Request.URL, page.StatusCode, pageText(t, page))
	}
	p := person{browser: browser, cookie: h.cookie(browser)}
	p.session = h.replicas[0].check(p.cookie).Header.Get("X-Curfew-Session")
	about := h.replicas[0].session(p.cookie)
	p.sub, _ = about["sub"].(string)
	p.sid, _ = about["sid"].(string)
	if p.session == "" || p.sub == "" || p.sid == "" {
		t.Fatalf("%s's session is %q, %v", name, p.session, about)
	}
	return p
}

// wantEnded wants a session to have ended at every replica, now, and for this
// reason.
func (h *keycloakHouse) wantEnded(t *testing.T, who string, p person, reason events.Reason) {
	t.Helper()
	h.wantEverywhere(p.cookie, http.StatusUnauthorized, "ended")
	eventually(t, who+"'s session says why it ended", func() bool { return h.reason(t, p) != "" })
	if got := h.reason(t, p); got != reason {
		t.Errorf("%s's session ended for %q, want %q", who, got, reason)
	}
}

func (h *keycloakHouse) reason(t *testing.T, p person) events.Reason {
	t.Helper()
	resp, err := http.Get(h.replicas[0].admin + "/v1/sessions/" + p.session)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var view struct{ Reason events.Reason }
	if err := json.NewDecoder(resp.Body).Decode(&view); err != nil {
		t.Fatal(err)
	}
	return view.Reason
}

// loopbackJar keeps cookies as browsers do for a loopback host: Secure ones too,
// though it is spoken to without TLS. Keycloak counts on that.
type loopbackJar struct{ http.CookieJar }

// SetCookies keeps cookies.
func (j loopbackJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		c.Secure = false
	}
	j.CookieJar.SetCookies(u, cookies)
}

var (
	formTag  = regexp.MustCompile(`(?s)<form\b([^>]*)>(.*?)</form>`)
	inputTag = regexp.MustCompile(`(?s)<input\b([^>]*)>`)
	nameOf   = regexp.MustCompile(`([\w-]+)="([^"]*)"`)
)

// submit fills in and sends the form of an id on a page, or the first one, with
// what its hidden fields hold. It is read with patterns, since Keycloak's pages
// are HTML that no XML decoder takes.
func submit(t *testing.T, b *realop.Browser, page *http.Response, id string, values url.Values) *http.Response {
	t.Helper()
	content := pageText(t, page)
	for _, form := range formTag.FindAllStringSubmatch(content, -1) {
		attributes := attributesOf(form[1])
		if id != "" && attributes["id"] != id {
			continue
		}
		filled := url.Values{}
		for _, input := range inputTag.FindAllStringSubmatch(form[2], -1) {
			if field := attributesOf(input[1]); field["type"] == "hidden" && field["name"] != "" {
				filled.Set(field["name"], field["value"])
			}
		}
		maps.Copy(filled, values)
		action, err := page.Request.URL.Parse(attributes["action"])
		if err != nil {
			t.Fatal(err)
		}
		resp, err := b.Post(t.Context(), action.String(), filled)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	t.Fatalf("no form %q at %s, %d:\n%s", id, page.Request.URL, page.StatusCode, content)
	return nil
}

func attributesOf(tag string) map[string]string {
	found := map[string]string{}
	for _, attribute := range nameOf.FindAllStringSubmatch(tag, -1) {
		found[attribute[1]] = html.UnescapeString(attribute[2])
	}
	return found
}

// pageText reads a page, which can be read again.
func pageText(t *testing.T, page *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	page.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// run runs a part of the test, whose failures are then its own.
func (h *keycloakHouse) run(name string, part func(t *testing.T)) {
	parent := h.t
	lend := func(t *testing.T) {
		h.t = t
		for _, r := range h.replicas {
			r.t = t
		}
	}
	parent.Run(name, func(t *testing.T) {
		lend(t)
		defer lend(parent)
		part(t)
	})
}
