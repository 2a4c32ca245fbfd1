package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"curfew/store"
)

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "curfew.yaml")
	content := "curfew_prefix: /file\nCURFEW_LISTEN: 127.0.0.1:1\ncurfew_data: /file\ncurfew_nats_replicas: 3\noidc_scopes: openid email\ncurfew_return_to: [https://a.example.com, https://b.example.com]\ncurfew_allow_missing_exp: false\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	env := with("CURFEW_PREFIX", "/env", "CURFEW_LISTEN", "127.0.0.1:2", "CURFEW_NATS_URL", "nats://n:4222",
		"OIDC_TOKEN_ENCRYPTION_KEY", store.GenerateKey())
	c, err := loadConfig(sources{
		file:  path,
		env:   func(name string) (string, bool) { value, set := env[name]; return value, set },
		flags: map[string]string{"CURFEW_PREFIX": "/flag"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.prefix != "/flag" || c.listen != "127.0.0.1:2" || c.data != "/file" || c.natsReplicas != 3 || c.natsStream != "CURFEW" {
		t.Errorf("got %q %q %q %d %q", c.prefix, c.listen, c.data, c.natsReplicas, c.natsStream)
	}
	if len(c.returnTo) != 2 || c.allowMissingExp {
		t.Errorf("got %q %v", c.returnTo, c.allowMissingExp)
	}
}

func TestFileFaults(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, says string }{
		"unknown":  {"curfew_prefx: /x", `no setting is called "curfew_prefx"`},
		"a map":    {"curfew_prefix: {a: b}", "want a value"},
		"not YAML": {"a: b: c", "--config"},
	} {
		path := filepath.Join(dir, "c.yaml")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		env := enough()
		_, err := loadConfig(sources{file: path, env: func(n string) (string, bool) { v, set := env[n]; return v, set }})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	_, err := loadConfig(sources{file: filepath.Join(dir, "none.yaml"), env: func(string) (string, bool) { return "", false }})
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestUnreadFileHidesWhatItMayHold has a file that cannot be read be said, and
// what is wrong elsewhere, but nothing to be missing that may be in the file.
func TestUnreadFileHidesWhatItMayHold(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.yaml")
	torn := filepath.Join(t.TempDir(), "torn.yaml")
	if err := os.WriteFile(torn, []byte("a: b: c"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"CURFEW_NATS_URL": "nats://n:4222", "CURFEW_ADMIN_LISTEN": ":1", "OIDC_SIGNING_ALGS": "HS256", "CURFEW_PREFIX": "x",
	}
	for _, path := range []string{none, torn} {
		_, err := loadConfig(sources{file: path, env: func(n string) (string, bool) { v, set := env[n]; return v, set }})
		fault, _ := errors.AsType[*configError](err)
		if fault == nil || !strings.HasPrefix(fault.faults[0], "--config: ") {
			t.Fatalf("%s: got %v", path, err)
		}
		of := slices.DeleteFunc(fault.faults, func(f string) bool { return strings.HasPrefix(f, "--config: ") })
		if len(of) != 1 || !strings.HasPrefix(of[0], "CURFEW_PREFIX: ") {
			t.Errorf("%s: got %q beside the file, want CURFEW_PREFIX alone", path, of)
		}
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c, err := load(with("OIDC_CLIENT_SECRET", "", "OIDC_CLIENT_SECRET_FILE", write("s", " from file\n")))
	if err != nil || c.clientSecret != "from file" {
		t.Errorf("got %q %v", c.clientSecret, err)
	}
	for name, path := range map[string]string{"empty": write("e", "\n"), "missing": filepath.Join(dir, "none")} {
		if _, err := load(with("OIDC_CLIENT_SECRET", "", "OIDC_CLIENT_SECRET_FILE", path)); err == nil {
			t.Errorf("%s file was taken", name)
		}
	}
	_, err = load(with("OIDC_CLIENT_SECRET_FILE", write("b", "x")))
	if err == nil || !strings.Contains(err.Error(), "keep one") {
		t.Errorf("both set: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "hush") {
		t.Error("the message holds the secret")
	}
	config := write("c.yaml", "oidc_client_secret: in yaml\n")
	env := with("OIDC_CLIENT_SECRET", "", "OIDC_CLIENT_SECRET_FILE", write("s2", "stronger"))
	c, err = loadConfig(sources{file: config, env: func(n string) (string, bool) { v, set := env[n]; return v, set }})
	if err != nil || c.clientSecret != "stronger" {
		t.Errorf("file of the environment against value of YAML: %q %v", c.clientSecret, err)
	}
}

// fromYAML loads what is enough, and a file over the defaults.
func fromYAML(t *testing.T, content string, flags map[string]string, pairs ...string) (config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "curfew.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	env := with(pairs...)
	return loadConfig(sources{file: path, flags: flags, env: func(n string) (string, bool) { v, set := env[n]; return v, set }})
}

// TestEmptyIsNotSet has an empty text of any source leave the default: an empty
// admin listener would otherwise be open to everybody, without a token.
func TestEmptyIsNotSet(t *testing.T) {
	for name, empty := range map[string]func() (config, error){
		"flag":        func() (config, error) { return fromYAML(t, "", map[string]string{"CURFEW_ADMIN_LISTEN": ""}) },
		"environment": func() (config, error) { return load(with("CURFEW_LOG_FORMAT", "text", "CURFEW_ADMIN_LISTEN", "")) },
		"YAML":        func() (config, error) { return fromYAML(t, `curfew_admin_listen: ""`, nil) },
		"YAML null":   func() (config, error) { return fromYAML(t, "curfew_admin_listen:", nil) },
		"YAML list":   func() (config, error) { return fromYAML(t, "curfew_trusted_proxies: []", nil) },
		"YAML file":   func() (config, error) { return fromYAML(t, `oidc_client_secret_file: ""`, nil) },
	} {
		c, err := empty()
		if err != nil || c.adminListen != "127.0.0.1:4181" || c.clientSecret != "hush" || len(c.trustedProxies) != 2 {
			t.Errorf("%s: got %q %q %v %v", name, c.adminListen, c.clientSecret, c.trustedProxies, err)
		}
	}
	c, err := fromYAML(t, "curfew_prefix: /file", map[string]string{"CURFEW_PREFIX": ""})
	if err != nil || c.prefix != "/file" {
		t.Errorf("an empty flag over a file: got %q %v", c.prefix, err)
	}
}

// TestYAMLTypes has nothing taken that YAML has read as something else than
// what stands in the file: 0123 is 83 to it.
func TestYAMLTypes(t *testing.T) {
	for content, says := range map[string]string{
		"oidc_client_id: 0123":                  "OIDC_CLIENT_ID: ",
		"oidc_client_id: 1e5":                   "OIDC_CLIENT_ID: ",
		"oidc_client_id: true":                  "OIDC_CLIENT_ID: ",
		"oidc_client_id: 2026-01-01":            "OIDC_CLIENT_ID: ",
		"oidc_client_secret: 0123":              "OIDC_CLIENT_SECRET: ",
		"oidc_scopes: [openid, 1]":              "OIDC_SCOPES: ",
		"curfew_prefix: [/a, /b]":               "CURFEW_PREFIX: ",
		"oidc_client_id: \"0123\"":              "",
		"curfew_session_idle: 0":                "",
		"curfew_allow_missing_exp: false":       "",
		"oidc_scopes: [openid, email]":          "",
		"oidc_signing_algs: [RS256]":            "",
		"curfew_return_to: [\"https://a.com\"]": "",
	} {
		_, err := fromYAML(t, content, nil, "OIDC_CLIENT_ID", "", "OIDC_CLIENT_SECRET", "")
		fault, _ := errors.AsType[*configError](err)
		if fault == nil {
			t.Errorf("%s: got %v", content, err)
			continue
		}
		of := slices.DeleteFunc(fault.faults, func(f string) bool { return strings.Contains(f, "is required") })
		switch {
		case says == "" && len(of) > 0:
			t.Errorf("%s: got %q", content, of)
		case says != "" && (len(of) != 1 || !strings.HasPrefix(of[0], says)):
			t.Errorf("%s: got %q, want one fault of %s", content, of, says)
		case says != "" && strings.Contains(err.Error(), says+"is required"):
			t.Errorf("%s is said to be missing too: %v", content, err)
		}
		if strings.Contains(content, "0123") && regexp.MustCompile(`\b83\b`).MatchString(err.Error()) {
			t.Errorf("%s: the message holds what is no part of it: %v", content, err)
		}
	}
	c, err := fromYAML(t, "oidc_scopes: [openid, email]", nil)
	if err != nil || !slices.Equal(c.scopes, []string{"openid", "email"}) {
		t.Errorf("scopes: got %q %v", c.scopes, err)
	}
}
