package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"curfew/sessions/guard"
	"curfew/sessions/pages"
	"curfew/sessions/rp"
)

// What can go wrong is known to those who find it, and told to people by the pages.
func TestEveryProblemHasAPage(t *testing.T) {
	told := pages.Codes()
	known := []string{guard.CodeGroup, guard.CodeUnsure}
	for _, code := range rp.Codes() {
		known = append(known, string(code))
	}
	slices.Sort(known)
	if !slices.Equal(known, told) {
		t.Errorf("known is %q, the pages tell %q", known, told)
	}
}

// An address below the prefix that leads nowhere is a page like the others, and a
// method that an endpoint does not take is still told from it.
func TestWrongAddressesAndMethods(t *testing.T) {
	h := newAppHouse(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow, says  string
	}{
		{"GET", "/auth/nowhere", http.StatusNotFound, "", "There is no such page"},
		{"GET", "/auth/login/x", http.StatusNotFound, "", "There is no such page"},
		{"POST", "/auth/", http.StatusNotFound, "", "There is no such page"},
		{"POST", "/auth/login", http.StatusMethodNotAllowed, "GET, HEAD", ""},
		{"DELETE", "/auth/logout", http.StatusMethodNotAllowed, "GET, POST, HEAD", ""},
		{"GET", "/auth/backchannel-logout", http.StatusMethodNotAllowed, "POST", ""},
		{"GET", "/auth/logout", http.StatusOK, "", "Nobody is signed in here"},
		{"GET", "/elsewhere", http.StatusNotFound, "", ""},
		{"GET", "/auth/healthz", http.StatusNotFound, "", "There is no such page"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, h.replicas[0].public+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow || !strings.Contains(string(body), c.says) {
			t.Errorf("%s %s: %d %v %v\n%s", c.method, c.path, resp.StatusCode, resp.Header, err, body)
		}
	}
}
