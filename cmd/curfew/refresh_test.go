package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curfew/sessions/guard"
	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// shortLife is how long access tokens last in these tests.
const shortLife = 3 * time.Second

// bank is an OP whose token endpoint a test can have misbehave.
type bank struct {
	// refreshes counts the questions for new tokens.
	refreshes atomic.Int32
	// status, if set, is answered to them with body.
	status atomic.Int32
	body   string
	// groups, if set, are those of every user.
	groups atomic.Pointer[[]string]
	// asked, if set, is sent each question, and waits until that is received.
	asked chan struct{}
}

func (b *bank) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.FormValue("grant_type") != "refresh_token" {
			next.ServeHTTP(w, r)
			return
		}
		b.refreshes.Add(1)
		if b.asked != nil {
			b.asked <- struct{}{}
			b.asked <- struct{}{}
		}
		if status := int(b.status.Load()); status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, b.body)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (b *bank) alter(part optest.Part, members map[string]any) {
	if groups := b.groups.Load(); part == optest.IDToken && groups != nil {
		members["groups"] = *groups
	}
}

// newBankHouse has the small provider with access tokens of a short life.
func newBankHouse(t *testing.T, b *bank, env ...string) *house {
	address, _ := startNATS(t, t.TempDir(), "-1")
	s := newSite(t, address)
	op := &optest.Provider{
		Now: time.Now, AccessLife: shortLife, Alter: b.alter,
		Clients: []optest.Client{{
			ID: testClientID, Secret: testClientSecret,
			RedirectURIs:   []string{s.front.URL + "/auth/callback"},
			BackchannelURI: s.front.URL + "/auth/backchannel-logout",
		}},
	}
	realop.Serve(t, op, b.wrap)
	s.open(op.Issuer, env...)
	return &house{s, smallProvider{op}}
}

// everywhere asks each replica, and reports whether all answers are as wanted.
func (s *site) everywhere(cookie string, status int, header, value string) bool {
	for _, r := range s.replicas {
		resp := r.check(cookie)
		if resp.StatusCode != status || resp.Header.Get(header) != value {
			return false
		}
	}
	return true
}

func TestGroupsChangedAtTheProviderArrive(t *testing.T) {
	t.Parallel()
	b := &bank{}
	h := newBankHouse(t, b)
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	h.wantEverywhere(cookie, http.StatusOK, "")
	b.groups.Store(&[]string{"fired"})
	eventually(t, "the new groups are everywhere", func() bool {
		return h.everywhere(cookie, http.StatusOK, "X-Auth-Request-Groups", "fired")
	})
	if got := b.refreshes.Load(); got != 1 {
		t.Errorf("the provider was asked %d times, want once", got)
	}
	// Another life of the token, and another replica may do it.
	b.groups.Store(&[]string{"hired", "again"})
	eventually(t, "the newer groups are everywhere", func() bool {
		return h.everywhere(cookie, http.StatusOK, "X-Auth-Request-Groups", "hired,again")
	})
	if got := b.refreshes.Load(); got != 2 {
		t.Errorf("the provider was asked %d times, want twice", got)
	}
	// What was refreshed ends like any other.
	h.op.endSession(t, h.sid(cookie))
	h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
}

func TestUserDisabledAtTheProviderIsSignedOut(t *testing.T) {
	t.Parallel()
	b := &bank{body: `{"error":"invalid_grant"}`}
	h := newBankHouse(t, b)
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	h.wantEverywhere(cookie, http.StatusOK, "")
	b.status.Store(http.StatusBadRequest)
	eventually(t, "the user is signed out everywhere", func() bool {
		return h.everywhere(cookie, http.StatusUnauthorized, guard.HeaderReason, "ended")
	})
	if got := b.refreshes.Load(); got != 1 {
		t.Errorf("the provider was asked %d times, want once", got)
	}
}

// A provider in trouble ends nothing, not even where sessions last as long as
// their access tokens; and is asked at most once a second.
func TestProviderInTroubleEndsNothing(t *testing.T) {
	t.Parallel()
	b := &bank{body: `{"error":"temporarily_unavailable"}`}
	h := newBankHouse(t, b, "CURFEW_SESSION_UNTIL=access_token")
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	began := time.Now()
	b.status.Store(http.StatusServiceUnavailable)
	eventually(t, "three tries", func() bool {
		if !h.everywhere(cookie, http.StatusOK, guard.HeaderReason, "") {
			t.Fatal("somebody was not let in")
		}
		return b.refreshes.Load() == 3
	})
	if passed := time.Since(began); passed < shortLife*4/5+3*time.Second {
		t.Errorf("three tries within %s", passed)
	}
	b.groups.Store(&[]string{"back"})
	b.status.Store(0)
	eventually(t, "the new tokens", func() bool {
		return h.everywhere(cookie, http.StatusOK, "X-Auth-Request-Groups", "back")
	})
	if got := b.refreshes.Load(); got != 4 {
		t.Errorf("the provider was asked %d times, want four", got)
	}
}

// A replica that is stopped while the provider answers writes the answer down
// before it goes.
func TestStoppedWhileTheProviderAnswers(t *testing.T) {
	t.Parallel()
	b := &bank{asked: make(chan struct{})}
	h := newBankHouse(t, b)
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	one := h.replicas[0]
	b.groups.Store(&[]string{"late"})
	var asked bool
	eventually(t, "the question", func() bool {
		one.check(cookie)
		select {
		case <-b.asked:
			asked = true
		default:
		}
		return asked
	})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		// The answer comes when the process takes no more connections.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			resp, err := http.Get(one.public + "/auth/signed-out")
			if err != nil {
				break
			}
			resp.Body.Close()
		}
		<-b.asked
	}()
	one.stop()
	<-answered
	h.replicas = h.replicas[1:]
	eventually(t, "the answer is everywhere else", func() bool {
		return h.everywhere(cookie, http.StatusOK, "X-Auth-Request-Groups", "late")
	})
	if got := b.refreshes.Load(); got != 1 {
		t.Errorf("the provider was asked %d times, want once", got)
	}
}

// refreshed adds up what the replicas count of an outcome.
func (s *site) refreshed(outcome string) (sum int) {
	s.t.Helper()
	for _, r := range s.replicas {
		resp, err := http.Get(r.admin + "/metrics")
		if err != nil {
			s.t.Fatal(err)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			var n int
			if _, found := strings.CutPrefix(lines.Text(), `curfew_refreshes_total{outcome="`+outcome+`"}`); found {
				if _, err := fmt.Sscan(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], &n); err != nil {
					s.t.Fatal(err)
				}
				sum += n
			}
		}
		resp.Body.Close()
	}
	return sum
}

// The real provider rotates refresh tokens, and takes the second use of one for
// a theft.
func TestRealProviderRefreshes(t *testing.T) {
	t.Parallel()
	address, _ := startNATS(t, t.TempDir(), "-1")
	s := newSite(t, address)
	op := realop.Start(t, realop.Options{AccessLife: shortLife, Clients: []realop.Client{{
		ID: testClientID, Secret: testClientSecret,
		RedirectURIs:   []string{s.front.URL + "/auth/callback"},
		BackchannelURI: s.front.URL + "/auth/backchannel-logout",
	}}})
	s.open(op.Issuer, "OIDC_AUTH_PARAMS=prompt=consent", "CURFEW_SESSION_UNTIL=access_token", "CURFEW_SESSION_IDLE=1m")
	h := &house{s, realProvider{op}}
	cookie := h.signIn(realop.NewBrowser(t), "ada")
	eventually(t, "three refreshes", func() bool {
		if !h.everywhere(cookie, http.StatusOK, guard.HeaderReason, "") {
			t.Fatal("somebody was not let in")
		}
		return h.refreshed("refreshed") == 3
	})
	for _, outcome := range []string{"refused", "trouble", "lapsed"} {
		if got := h.refreshed(outcome); got != 0 {
			t.Errorf("%d refreshes came out %s", got, outcome)
		}
	}
	h.op.endSession(t, h.sid(cookie))
	h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
}
