package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loadFile loads a configuration file, with an environment of pairs over enough
// of one but for what a provider has of its own.
func loadFile(t *testing.T, content string, pairs ...string) (config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "curfew.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	env := with(append([]string{"OIDC_ENDPOINT", "", "OIDC_CLIENT_ID", "", "OIDC_CLIENT_SECRET", ""}, pairs...)...)
	return loadConfig(sources{file: path, env: func(name string) (string, bool) { value, set := env[name]; return value, set }})
}

const staff = "providers:\n  - {name: staff, oidc_endpoint: \"https://id.example.com\", oidc_client_id: a, oidc_client_secret: s1}\n"

func TestProviders(t *testing.T) {
	c, err := loadFile(t, staff+`
  - name: guests
    title: Guests, with their own account
    oidc_endpoint: https://guests.example.com/
    oidc_client_id: b
    oidc_client_auth: none
    oidc_scopes: [openid, email]
    OIDC_CLAIM_GROUPS: roles
    oidc_redirect_uri: https://app.example.com/auth/callback
`, "OIDC_USERNAME_CLAIM", "email", "OIDC_SCOPES", "openid profile")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.providers) != 2 {
		t.Fatalf("%d providers", len(c.providers))
	}
	for i, want := range [][]string{
		{"staff", "", "https://id.example.com", "a", "s1", "auto", "openid profile", "groups", "email", "https://app.example.com/auth/callback/staff", "https://app.example.com/auth/signed-out"},
		{"guests", "Guests, with their own account", "https://guests.example.com/", "b", "", "none", "openid email", "roles", "email", "https://app.example.com/auth/callback", "https://app.example.com/auth/signed-out"},
	} {
		p := c.providers[i]
		got := []string{
			p.name, p.title, p.issuer, p.clientID, p.clientSecret, p.clientAuth, strings.Join(p.scopes, " "), p.groupsClaim,
			strings.Join(p.usernameClaims, " "), p.redirectURI.String(), p.postLogoutURI.String(),
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Without a list there is one, which has no name, and whose callback has none
// either.
func TestOneProvider(t *testing.T) {
	c, err := load(enough())
	if err != nil || len(c.providers) != 1 || c.providers[0].name != "" || c.providers[0].issuer != c.issuer {
		t.Errorf("got %+v: %v", c.providers, err)
	}
}

func TestProviderSecretFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	entry := strings.Replace(staff, "oidc_client_secret: s1", "oidc_client_secret_file: "+path, 1)
	if c, err := loadFile(t, entry); err != nil || c.providers[0].clientSecret != "hush" {
		t.Errorf("got %v", err)
	}
	if _, err := loadFile(t, strings.Replace(entry, path, path+"-not", 1)); err == nil || !strings.Contains(err.Error(), "providers: staff: OIDC_CLIENT_SECRET_FILE: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestProviderFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		content string
		env     []string
		says    []string
	}{
		"no list":             {"providers: staff\n", nil, []string{"providers: ", "want a list"}},
		"an empty list":       {"providers: []\n", nil, []string{"want a list"}},
		"not an entry":        {"providers: [staff]\n", nil, []string{"number 1 is not a provider"}},
		"nothing in it":       {"providers: [{}]\n", nil, []string{"providers: number 1: NAME: is required", "providers: number 1: OIDC_ENDPOINT: is required", "providers: number 1: OIDC_CLIENT_ID: is required", "providers: number 1: OIDC_CLIENT_SECRET: is required"}},
		"a bad name":          {strings.Replace(staff, "name: staff", "name: Our Staff", 1), nil, []string{`"Our Staff" is no name`}},
		"a bad title":         {strings.Replace(staff, "name: staff", `name: staff, title: "a\nb"`, 1), nil, []string{"providers: staff: TITLE: want one line"}},
		"a typing error":      {strings.Replace(staff, "oidc_client_id", "oidc_cleint_id", 1), nil, []string{`providers: staff: no setting is called "oidc_cleint_id"`, "providers: staff: OIDC_CLIENT_ID: is required"}},
		"not a provider's":    {strings.Replace(staff, "name: staff", "name: staff, curfew_prefix: /x", 1), nil, []string{`providers: staff: no setting is called "curfew_prefix"`}},
		"a wrong value":       {strings.Replace(staff, "name: staff", "name: staff, oidc_claim_source: both", 1), nil, []string{"providers: staff: OIDC_CLAIM_SOURCE: "}},
		"a number":            {strings.Replace(staff, "oidc_client_id: a", "oidc_client_id: 0123", 1), nil, []string{"providers: staff: OIDC_CLIENT_ID: ", "in quotes"}},
		"HS and no secret":    {strings.Replace(staff, "oidc_client_secret: s1", "oidc_client_auth: none, oidc_signing_algs: HS256", 1), nil, []string{"providers: staff: OIDC_SIGNING_ALGS: HS"}},
		"said outside too":    {staff, []string{"OIDC_ENDPOINT", "https://id.example.com", "OIDC_CLIENT_SECRET", "s"}, []string{"OIDC_ENDPOINT: is set beside", "OIDC_CLIENT_SECRET: is set beside"}},
		"a key twice":         {strings.Replace(staff, "name: staff", "name: staff, OIDC_ENDPOINT: \"https://evil.example.com\"", 1), nil, []string{`providers: staff: OIDC_ENDPOINT: `, `twice, as "OIDC_ENDPOINT" and "oidc_endpoint"`}},
		"a key twice outside": {staff + "oidc_scopes: openid\nOIDC_SCOPES: openid email\n", nil, []string{`OIDC_SCOPES: `, `twice, as "OIDC_SCOPES" and "oidc_scopes"`}},
		"two parameters":      {strings.Replace(staff, "name: staff", "name: staff, oidc_auth_params: state=1&nonce=2", 1), nil, []string{`providers: staff: OIDC_AUTH_PARAMS: rp: authorization parameter "state"`, `providers: staff: OIDC_AUTH_PARAMS: rp: authorization parameter "nonce"`}},
		"a second staff":      {staff + "  - {name: staff}\n", nil, []string{`two providers have the name "staff"`, "providers: number 2: OIDC_CLIENT_ID: is required", "providers: number 2: OIDC_ENDPOINT: is required"}},
		"the title twice":     {strings.Replace(staff, "name: staff", "name: staff, title: Us", 1) + "  - {name: guests, title: Us, oidc_endpoint: \"https://g.example.com\", oidc_client_id: a, oidc_client_secret: s}\n", nil, []string{"staff and guests have the same TITLE"}},
		"another's way":       {strings.Replace(staff, "name: staff", "name: staff, oidc_redirect_uri: \"https://app.example.com/auth/callback/guests\"", 1), nil, []string{`providers: staff: OIDC_REDIRECT_URI: `, `callback of a provider "guests"`}},
		"the name twice":      {staff + strings.TrimPrefix(strings.Replace(staff, "id.example.com", "other.example.com", 1), "providers:\n"), nil, []string{`two providers have the name "staff"`}},
		"the issuer twice":    {staff + strings.TrimPrefix(strings.Replace(staff, "name: staff", "name: guests", 1), "providers:\n"), nil, []string{"staff and guests have the same OIDC_ENDPOINT"}},
	} {
		_, err := loadFile(t, tt.content, tt.env...)
		for _, want := range tt.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if strings.Count(err.Error(), line) > 1 {
					t.Errorf("%s: said twice: %s", name, line)
				}
			}
		}
	}
}
