package rp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/rp"
)

// before is a session as it was when its user signed in.
func before(w *world) sessions.Private {
	return sessions.Private{
		Session: events.NewSessionID(), Issuer: w.op.issuer, Sub: "user-1", Sid: "sid-1",
		User:   sessions.Identity{Username: "ada", Email: "old@example.com", Name: "Ada", Groups: []string{"old"}},
		Tokens: sessions.Tokens{ID: "old-id", Access: "old-access", Refresh: "old-refresh"},
	}
}

// gives has the OP answer a refresh, with members over the usual ones and claims
// over those of the ID token.
func (w *world) gives(over, about map[string]any) {
	w.op.idToken = func(_, claims map[string]any) {
		delete(claims, "nonce")
		claims["groups"] = []string{"new"}
		maps.Copy(claims, about)
	}
	w.op.refuse = func(rw http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("refresh_token") != "old-refresh" {
			w.t.Errorf("the OP was asked %v", r.PostForm)
		}
		if id, secret, ok := r.BasicAuth(); !ok || id != "client" || secret != "secret" {
			w.t.Errorf("the client is %q", id)
		}
		answer := map[string]any{
			"access_token": "new-access", "token_type": "Bearer", "refresh_token": "new-refresh", "expires_in": 300,
			"scope": "openid", "id_token": w.op.mint(""),
		}
		overlay(answer, over)
		w.op.sendJSON(rw, answer)
	}
}

// answers has the OP answer a refresh with this.
func (w *world) answers(status int, body string, header ...string) {
	w.op.refuse = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		rw.WriteHeader(status)
		fmt.Fprint(rw, body)
	}
}

func TestRefreshTakesOver(t *testing.T) {
	none := map[string]any{"groups": nil, "email": nil, "name": nil, "preferred_username": nil}
	tests := []struct {
		name        string
		over, about map[string]any
		refresh     string
		newID       bool
		groups      string
		access      time.Duration // of the new token's life; zero: the OP does not say
	}{
		{"everything", nil, nil, "new-refresh", true, "new", 300 * time.Second},
		{"no refresh token", map[string]any{"refresh_token": nil}, nil, "old-refresh", true, "new", 300 * time.Second},
		{"no scope, no ID token", map[string]any{"scope": nil, "id_token": nil}, nil, "new-refresh", false, "old", 300 * time.Second},
		{"no time", map[string]any{"expires_in": nil}, nil, "new-refresh", true, "new", 0},
		{"time as a text", map[string]any{"expires_in": "60"}, nil, "new-refresh", true, "new", time.Minute},
		{"an ID token of few words", nil, none, "new-refresh", true, "old", 300 * time.Second},
		{"no groups any more", nil, map[string]any{"groups": nil}, "new-refresh", true, "", 300 * time.Second},
		{"groups that are none", nil, map[string]any{"groups": []string{}}, "new-refresh", true, "", 300 * time.Second},
		{"another nonce", nil, map[string]any{"nonce": "x"}, "new-refresh", true, "new", 300 * time.Second},
		{"no sid", nil, map[string]any{"sid": nil}, "new-refresh", true, "new", 300 * time.Second},
		{"the login's own ID token", nil, map[string]any{"iat": 946684800 - 7200, "exp": 946684800 - 3600}, "new-refresh", false, "old", 300 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.gives(test.over, test.about)
				old := before(w)
				got, err := w.a.Refresh(t.Context(), old)
				if err != nil {
					t.Fatal(err)
				}
				next := got.Private
				if next.Tokens.Access != "new-access" || next.Tokens.Refresh != test.refresh || (next.Tokens.ID != "old-id") != test.newID {
					t.Errorf("the tokens are %+v", next.Tokens)
				}
				if groups := strings.Join(next.User.Groups, " "); groups != test.groups || next.User.Username != "ada" {
					t.Errorf("the user is %+v", next.User)
				}
				if kept := next; kept.Session != old.Session || kept.Sub != old.Sub || kept.Sid != old.Sid || kept.Issuer != old.Issuer {
					t.Errorf("the session is %+v", kept)
				}
				want := time.Time{}
				if test.access > 0 {
					want = time.Now().Add(test.access)
				}
				if !got.At.Equal(time.Now()) || !got.Access.Equal(want) {
					t.Errorf("given at %v until %v, want %v", got.At, got.Access, want)
				}
				if !slices.Equal(old.User.Groups, []string{"old"}) {
					t.Error("the old session was changed")
				}
			})
		})
	}
}

// An ID token that is not the same user's, or not to be believed, spoils the
// answer, and ends nothing.
func TestRefreshWithAWrongIDToken(t *testing.T) {
	for name, about := range map[string]map[string]any{
		"another user":    {"sub": "user-2"},
		"no user":         {"sub": nil},
		"another session": {"sid": "sid-2"},
		"another issuer":  {"iss": "https://other.example.com"},
		"another client":  {"aud": "other"},
		"another party":   {"azp": "other"},
		"no iat":          {"iat": nil},
		"another token":   {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
		"a logout token":  {"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.gives(nil, about)
				wantTrouble(t, w, false, 0)
			})
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.gives(map[string]any{"id_token": "a.b.c"}, nil)
		wantTrouble(t, w, false, 0)
	})
}

func wantTrouble(t *testing.T, w *world, unspent bool, wait time.Duration) {
	t.Helper()
	_, err := w.a.Refresh(t.Context(), before(w))
	trouble, ok := errors.AsType[*sessions.TroubleError](err)
	if !ok || trouble.Unspent != unspent || trouble.Wait != wait {
		t.Errorf("got %#v (%v), want trouble, unspent %t, wait %s", err, err, unspent, wait)
	}
	for _, secret := range []string{"old-refresh", "new-refresh", "new-access", "secret-in-the-body"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a token: %v", err)
		}
	}
}

func TestKeysAwayDuringARefresh(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.gives(nil, nil)
		w.a.keys.err = outageError{}
		got, err := w.a.Refresh(t.Context(), before(w))
		if err != nil || got.Private.Tokens.ID != "old-id" || got.Private.Tokens.Refresh != "new-refresh" || got.Private.User.Groups[0] != "old" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestRefreshAsksUserinfo(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		groups string
		ok     bool
	}{
		{"told", 200, `{"sub":"user-1","preferred_username":"ada","groups":"told"}`, "told", true},
		{"told of no groups", 200, `{"sub":"user-1","preferred_username":"ada"}`, "", true},
		{"told nothing", 200, `{"sub":"user-1"}`, "old", true},
		{"away", 503, ``, "old", true},
		{"nonsense", 200, `<html>`, "old", true},
		{"of another", 200, `{"sub":"user-2","groups":"told"}`, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.a.ClaimSource = rp.FromUserinfo
				w.gives(nil, nil)
				w.op.userinfo = func(rw http.ResponseWriter, r *http.Request) {
					if got := r.Header.Get("Authorization"); got != "Bearer new-access" {
						t.Errorf("asked as %q", got)
					}
					rw.WriteHeader(test.status)
					fmt.Fprint(rw, test.body)
				}
				if !test.ok {
					wantTrouble(t, w, false, 0)
					return
				}
				got, err := w.a.Refresh(t.Context(), before(w))
				if err != nil || strings.Join(got.Private.User.Groups, " ") != test.groups || got.Private.Tokens.Refresh != "new-refresh" {
					t.Errorf("got %+v, %v; want the groups %q", got, err, test.groups)
				}
			})
		})
	}
}

func TestRefreshRefused(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
	}{
		{400, `{"error":"invalid_grant","error_description":"secret-in-the-body"}`},
		{400, `{"error":"invalid_grant"}`},
		{400, `{"error":"invalid_request"}`},
		{400, ``},
		{400, "\r\n"},
		{401, `{"error":"invalid_grant"}`},
		{403, `{"error":"invalid_grant"}`},
		{200, `{"error":"invalid_grant"}`},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answers(test.status, test.body)
				_, err := w.a.Refresh(t.Context(), before(w))
				if refused, ok := errors.AsType[*sessions.RefusedError](err); !ok || strings.Contains(refused.Error(), "old-refresh") {
					t.Errorf("got %v, want a refusal", err)
				}
			})
		})
	}
}

func TestRefreshInTrouble(t *testing.T) {
	for _, test := range []struct {
		status  int
		body    string
		after   string
		unspent bool
		wait    time.Duration
	}{
		{401, `{"error":"invalid_client"}`, "", true, 0},
		{400, `{"error":"invalid_client"}`, "", true, 0},
		{400, `{"error":"unauthorized_client"}`, "", true, 0},
		{400, `<html>secret-in-the-body`, "", true, 0},
		{401, `{"error":"invalid_request"}`, "", true, 0},
		{403, ``, "", true, 0},
		{404, ``, "", true, 0},
		{302, ``, "", true, 0},
		{429, `{"error":"invalid_grant"}`, "7", true, 7 * time.Second},
		{429, ``, "Sat, 01 Jan 2000 00:01:00 GMT", true, time.Minute},
		{429, ``, "Fri, 31 Dec 1999 00:01:00 GMT", true, 0},
		{429, ``, "99999999", true, 24 * time.Hour},
		{429, ``, "-5", true, 0},
		{429, ``, "soon", true, 0},
		{500, `{"error":"server_error"}`, "", false, 0},
		{500, `{"error":"invalid_grant"}`, "", false, 0},
		{502, `<html>secret-in-the-body`, "", false, 0},
		{503, ``, "30", true, 30 * time.Second},
		{504, ``, "", false, 0},
		{200, `<html>secret-in-the-body`, "", false, 0},
		{200, `{}`, "", false, 0},
		{200, ``, "", false, 0},
		{200, `{"access_token":7}`, "", false, 0},
		{200, `{"error":"temporarily_unavailable"}`, "", true, 0},
	} {
		t.Run(fmt.Sprint(test.status, test.body, test.after), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answers(test.status, test.body, "Retry-After", test.after)
				wantTrouble(t, w, test.unspent, test.wait)
			})
		})
	}
}

// failing is an OP that a request does not get to, or that it does not come back
// from.
type failing struct{ err error }

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.err == nil {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return nil, f.err
}

func TestRefreshWithoutAnAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		unspent bool
	}{
		"refused":      {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, true},
		"a stranger":   {&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, true},
		"reset":        {&net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}, false},
		"cut off":      {errors.New("unexpected EOF"), false},
		"never at all": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.a.Provider.HTTP = &http.Client{Transport: failing{test.err}}
				began := time.Now()
				wantTrouble(t, w, test.unspent, 0)
				if took := time.Since(began); took > 11*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// Where nobody should be asked, nobody is.
func TestRefreshUnasked(t *testing.T) {
	for name, change := range map[string]func(*world, *sessions.Private){
		"no refresh token": func(_ *world, p *sessions.Private) { p.Tokens.Refresh = "" },
		"another issuer":   func(_ *world, p *sessions.Private) { p.Issuer = "https://other.example.com" },
		"no discovery yet": func(w *world, _ *sessions.Private) {
			w.a.Provider = &rp.Provider{Issuer: w.op.issuer, HTTP: w.op.client(), Now: w.now}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				old := before(w)
				change(w, &old)
				_, err := w.a.Refresh(context.Background(), old)
				if trouble, ok := errors.AsType[*sessions.TroubleError](err); !ok || !trouble.Unspent {
					t.Errorf("got %v", err)
				}
				if len(w.op.requests) != 0 {
					t.Error("the OP was asked")
				}
			})
		})
	}
}
