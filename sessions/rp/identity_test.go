package rp_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"curfew/sessions"
)

func TestIdentity(t *testing.T) {
	ada := sessions.Identity{Username: "ada", PreferredUsername: "ada", Email: "ada@example.com", Name: "Ada L", Groups: []string{"admins", "staff"}}
	with := func(change func(*sessions.Identity)) sessions.Identity {
		who := ada
		change(&who)
		return who
	}
	none := func(who *sessions.Identity) { who.Groups = nil }
	tests := []struct {
		name      string
		claims    map[string]any
		usernames []string
		groups    string
		want      sessions.Identity
	}{
		{"as it comes", nil, nil, "groups", ada},
		{"no preferred_username", map[string]any{"preferred_username": nil}, nil, "groups",
			with(func(who *sessions.Identity) { who.Username, who.PreferredUsername = "ada@example.com", "" })},
		{"sub alone", map[string]any{"preferred_username": "", "email": nil, "name": nil}, nil, "groups",
			sessions.Identity{Username: "user-1", Groups: ada.Groups}},
		{"username of another type", map[string]any{"preferred_username": 7}, nil, "groups",
			with(func(who *sessions.Identity) { who.Username, who.PreferredUsername = "ada@example.com", "" })},
		{"username blank", map[string]any{"preferred_username": " "}, nil, "groups",
			with(func(who *sessions.Identity) { who.Username, who.PreferredUsername = "ada@example.com", " " })},
		{"username that would be shown as another", map[string]any{"preferred_username": "ro\x00ot"}, nil, "groups",
			with(func(who *sessions.Identity) { who.Username, who.PreferredUsername = "ada@example.com", "ro\x00ot" })},
		{"username of 256 bytes", map[string]any{"preferred_username": strings.Repeat("ä", 128)}, nil, "groups",
			with(func(who *sessions.Identity) {
				who.Username, who.PreferredUsername = "ada@example.com", strings.Repeat("ä", 128)
			})},
		{"username of 255 bytes", map[string]any{"preferred_username": strings.Repeat("a", 255)}, nil, "groups",
			with(func(who *sessions.Identity) {
				who.Username, who.PreferredUsername = strings.Repeat("a", 255), strings.Repeat("a", 255)
			})},
		{"configured", map[string]any{"nick": "al"}, []string{"nick"}, "groups",
			with(func(who *sessions.Identity) { who.Username = "al" })},
		{"groups as a text", map[string]any{"groups": "admins"}, nil, "groups",
			with(func(who *sessions.Identity) { who.Groups = []string{"admins"} })},
		{"groups empty", map[string]any{"groups": ""}, nil, "groups", with(none)},
		{"groups missing", map[string]any{"groups": nil}, nil, "groups", with(none)},
		{"groups of other types", map[string]any{"groups": []any{1, "staff", nil, "", map[string]any{}}}, nil, "groups",
			with(func(who *sessions.Identity) { who.Groups = []string{"staff"} })},
		{"groups an object", map[string]any{"groups": map[string]any{"a": "b"}}, nil, "groups", with(none)},
		{"a path", map[string]any{"realm_access": map[string]any{"roles": []string{"r"}}}, nil, "realm_access.roles",
			with(func(who *sessions.Identity) { who.Groups = []string{"r"} })},
		{"a path through a dotted name", map[string]any{"resource_access": map[string]any{"my.app": map[string]any{"roles": []string{"r"}}}}, nil, "resource_access.my.app.roles",
			with(func(who *sessions.Identity) { who.Groups = []string{"r"} })},
		{"a name with dots", map[string]any{"https://example.com/roles": "r"}, nil, "https://example.com/roles",
			with(func(who *sessions.Identity) { who.Groups = []string{"r"} })},
		{"no such path", nil, nil, "groups.x", with(none)},
		{"none asked for", nil, nil, "", with(none)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.a.UsernameClaims, w.a.GroupsClaim = test.usernames, test.groups
				w.op.idToken = set(test.claims)
				w.signIn(newBrowser(), w.a).want(t, http.StatusFound, "https://app.example.com/docs")
				if got := w.onlyPrivate(t).User; !reflect.DeepEqual(got, test.want) {
					t.Errorf("the user is %+v, want %+v", got, test.want)
				}
			})
		})
	}
}

func (w *world) onlyPrivate(t *testing.T) sessions.Private {
	t.Helper()
	started := w.started()
	if len(started) != 1 {
		t.Fatalf("the log has %d sessions, want 1", len(started))
	}
	private, err := sessions.OpenPrivate(ring{}, started[0].Session, started[0].Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func TestNoUsername(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.a.UsernameClaims = []string{"nick"}
		w.signIn(newBrowser(), w.a).want(t, http.StatusBadGateway, "problem token_invalid")
		if !strings.Contains(w.logs.String(), "nick") {
			t.Errorf("the log does not name the claim: %s", w.logs)
		}
	})
}

// TestImplausibleTimes: no year that JSON cannot hold, and none that would put
// a user out of a logout's reach, comes out of an OP's numbers.
func TestImplausibleTimes(t *testing.T) {
	for _, at := range []any{0, -5, 1e300, "yesterday", true, []int{1}} {
		inWorld(t, func(t *testing.T, w *world) {
			w.op.idToken = set(map[string]any{"auth_time": at})
			w.op.answer = map[string]any{"expires_in": -5, "refresh_token": nil}
			w.signIn(newBrowser(), w.a).want(t, http.StatusFound, "https://app.example.com/docs")
			got := w.started()[0]
			if !got.AuthTime.IsZero() || !got.Access.IsZero() || got.Renewable {
				t.Errorf("auth_time %v: started is %+v", at, got)
			}
		})
	}
}

func TestUserinfo(t *testing.T) {
	plain := func(body string) func(*world) http.HandlerFunc {
		return func(*world) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer access-token" {
					http.Error(w, "who are you?", http.StatusUnauthorized)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, body)
			}
		}
	}
	signed := func(header, claims map[string]any) func(*world) http.HandlerFunc {
		return func(in *world) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/jwt; charset=utf-8")
				fmt.Fprintln(w, in.op.sign(header, claims))
			}
		}
	}
	status := func(code int) func(*world) http.HandlerFunc {
		return func(*world) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "access-token", code) }
		}
	}
	grace := map[string]any{"sub": "user-1", "preferred_username": "grace"}
	tests := []struct {
		name   string
		answer func(*world) http.HandlerFunc
		code   string
	}{
		{"plain", plain(`{"sub":"user-1","preferred_username":"grace"}`), ""},
		{"signed", signed(nil, grace), ""},
		{"signed with issuer and audience", signed(nil, map[string]any{
			"iss": "https://op.example.com", "aud": []string{"client"}, "sub": "user-1", "preferred_username": "grace"}), ""},
		{"of another user", plain(`{"sub":"user-2","preferred_username":"grace"}`), "userinfo_mismatch"},
		{"of nobody", plain(`{"preferred_username":"grace"}`), "userinfo_mismatch"},
		{"signed for another client", signed(nil, map[string]any{"aud": "other", "sub": "user-1"}), "token_invalid"},
		{"signed by another issuer", signed(nil, map[string]any{"iss": "https://evil.example.com", "sub": "user-1"}), "token_invalid"},
		{"signed with what is not taken", signed(map[string]any{"alg": "HS256"}, grace), "token_invalid"},
		{"null", plain(`null`), "provider_error"},
		{"a list", plain(`[]`), "provider_error"},
		{"too large", plain(`{"sub":"user-1","x":"` + strings.Repeat("x", 1<<20) + `"}`), "provider_error"},
		{"an error", status(http.StatusInternalServerError), "provider_error"},
		{"a redirect", func(*world) http.HandlerFunc {
			return http.RedirectHandler("https://evil.example.com/", http.StatusFound).ServeHTTP
		}, "provider_error"},
		{"no answer", func(*world) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, "provider_unreachable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.a.ClaimSource = "userinfo"
				w.op.userinfo = test.answer(w)
				b := newBrowser()
				begun := time.Now()
				a := w.signIn(b, w.a)
				if test.code != "" {
					a.want(t, http.StatusBadGateway, "problem "+test.code)
					w.checkRefused(b, a)
				} else if got := w.onlyPrivate(t); got.User.Username != "grace" || got.User.Email != "" || got.Sid != "sid-1" {
					t.Errorf("the session is %+v", got)
				}
				if took := time.Since(begun); took > 15*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestUserinfoWhereThereIsNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.a.ClaimSource = "userinfo"
		w.op.discovery = map[string]any{"userinfo_endpoint": nil}
		w.discover()
		w.signIn(newBrowser(), w.a).want(t, http.StatusBadGateway, "problem provider_error")
	})
}
