package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curfew/sessions/rp/optest/realop"
)

// Of the providers, these send a token again that was answered 503, with the same
// jti: the logout counts from the first time on, and once.
func TestProvidersThatTryAgain(t *testing.T) {
	for _, name := range []string{"hydra", "zitadel"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			s := readShape(t, filepath.Join(quirksFolder, name+".json"))
			a := newActor(t, s, b.address)
			ada := a.home.signIn(realop.NewBrowser(t), "ada")
			l := s.LogoutTokens[0]
			token := a.logoutToken(t, l, "ada")
			one := a.home.replicas[0]

			b.kill()
			if status, _, body := a.post(l, token); status != http.StatusServiceUnavailable {
				t.Errorf("without its log it answers %d %s, want 503", status, body)
			}
			one.wantRefused(ada)
			one.wantTold("/readyz", `"outbox":1`)
			b.again()
			eventually(t, "the token is taken", func() bool {
				status, _, _ := a.post(l, token)
				return status == http.StatusOK
			})
			one.ready()
			one.wantRefused(ada)
			eventually(t, "nothing is kept any more", func() bool { return strings.Contains(one.told("/readyz"), `"outbox":0`) })
			fresh := a.home.signIn(realop.NewBrowser(t), "ada")
			a.wantTaken(t, l, token)
			a.home.wantEverywhere(fresh, http.StatusOK, "")
		})
	}
}

// Where a provider tells nobody that somebody has left, a session has an end of its
// own, whatever else is still good.
func TestLifetimeWhereNobodyTells(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"authelia", "google", "kanidm", "okta"} {
		s := readShape(t, filepath.Join(quirksFolder, name+".json"))
		if len(s.LogoutTokens) > 0 || s.Discovery["backchannel_logout_supported"] != nil {
			t.Fatalf("%s tells", name)
		}
		s.Settings["CURFEW_SESSION_LIFETIME"] = "8h"
		a := newActor(t, s, "")
		session := a.home.session(a.home.signIn(realop.NewBrowser(t), "ada"))
		started, expires := timeIn(t, session, "started"), timeIn(t, session, "expires")
		if got := expires.Sub(started); got != 8*time.Hour {
			t.Errorf("%s: the session lasts %s, want eight hours", name, got)
		}
	}
}

func timeIn(t *testing.T, session map[string]any, name string) time.Time {
	t.Helper()
	text, _ := session[name].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return at
}
