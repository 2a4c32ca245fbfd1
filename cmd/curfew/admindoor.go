package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// door decides who may use the admin API. Its zero value is that of a listener
// on loopback, without a token.
type door struct {
	// token is the hash of CURFEW_ADMIN_TOKEN; unset where there is none.
	token *[sha256.Size]byte
	// socket says that the listener is a Unix socket, which no browser reaches.
	socket bool
	// beyond says that others than this machine may reach the listener. Then
	// there is a token, and the listener may go by any name.
	beyond bool
}

func newDoor(c config) door {
	d := door{socket: strings.HasPrefix(c.adminListen, "unix:"), beyond: !isLocalListener(c.adminListen)}
	if c.adminToken != "" {
		hash := sha256.Sum256([]byte(c.adminToken))
		d.token = &hash
	}
	return d
}

// check returns the problem with a request, if there is one.
func (d door) check(w http.ResponseWriter, r *http.Request) error {
	if d.beyond && d.token == nil {
		return problemf(http.StatusForbidden, "there is no CURFEW_ADMIN_TOKEN to ask for")
	}
	if err := d.checkBrowser(r); err != nil {
		return err
	}
	return d.checkToken(w, r)
}

// checkBrowser refuses what a web page that somebody on this machine has open
// might send. A page of another origin shows itself by its headers. One whose
// name was made to point here after it was loaded (DNS rebinding) is its own
// origin, and shows itself by that name.
func (d door) checkBrowser(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		return problemf(http.StatusForbidden, "a page of another site sent this (Sec-Fetch-Site)")
	}
	for _, text := range r.Header.Values("Origin") {
		origin, err := url.Parse(text)
		if err != nil || origin.Host == "" || !strings.EqualFold(origin.Host, r.Host) {
			return problemf(http.StatusForbidden, "a page of another origin sent this (Origin)")
		}
	}
	if d.socket || d.beyond || isLoopback(hostname(r.Host)) {
		return nil
	}
	return problemf(http.StatusForbidden, "the host asked for is not a name of this machine: use 127.0.0.1 or localhost")
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// checkToken compares hashes, so that neither length nor content of the token
// shows in the time it takes.
func (d door) checkToken(w http.ResponseWriter, r *http.Request) error {
	if d.token == nil {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	shown := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(shown[:], d.token[:]) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="curfew"`)
		return problemf(http.StatusUnauthorized, "the replica asks for CURFEW_ADMIN_TOKEN, as Authorization: Bearer")
	}
	return nil
}
