package main

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// Nothing that opens anything may stand in what curfew leaves behind or says,
// even at its most talkative.
func TestNoSecretIsLeftBehindOrSaid(t *testing.T) {
	var said bytes.Buffer // every answer of the token endpoint
	h := newSmallHouse(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				w = &tee{w, &said}
			}
			next.ServeHTTP(w, r)
		})
	})
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	h.wantEverywhere(cookie, http.StatusOK, "")
	for at := range cookie {
		h.wantEverywhere(tampered(cookie, at), http.StatusUnauthorized, "no_session")
	}
	h.op.endSession(t, h.sid(cookie))
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		t.Fatal(err)
	}
	secret := raw[17:49]
	needles := map[string]string{
		"client secret":           testClientSecret,
		"cookie":                  cookie,
		"cookie secret":           string(secret),
		"cookie secret in base64": base64.RawStdEncoding.EncodeToString(secret)[1:40],
	}
	maps.Copy(needles, tokensIn(t, said.Bytes()))
	for _, name := range []string{"access_token", "id_token", "refresh_token"} {
		if needles[name] == "" {
			t.Errorf("the provider gave no %s to look for", name)
		}
	}
	for _, r := range h.replicas {
		r.stop()
		search(t, needles, r.name+" said", []byte(r.said()))
	}
	err = filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		search(t, needles, path, content)
		if strings.HasSuffix(path, "store.db") {
			search(t, map[string]string{"e-mail": "ada@example.com", "sub": h.subOf("ada")}, path, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tampered is a cookie with another character at one place.
func tampered(cookie string, at int) string {
	other := "A"
	if cookie[at:at+1] == other {
		other = "B"
	}
	return cookie[:at] + other + cookie[at+1:]
}

func search(t *testing.T, needles map[string]string, where string, content []byte) {
	t.Helper()
	for name, needle := range needles {
		if bytes.Contains(content, []byte(needle)) {
			t.Errorf("%s: the %s stands there", where, name)
		}
	}
}

func (h *house) subOf(username string) string {
	h.t.Helper()
	for _, user := range optest.DemoUsers() {
		if user.Username == username {
			return user.Sub
		}
	}
	h.t.Fatalf("no user is called %s", username)
	return ""
}
