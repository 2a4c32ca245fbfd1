package main

import (
	"net/http"
	"testing"
	"time"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// provider is an OP that a test can have end sessions, real or small.
type provider interface {
	// endSession and endUser return when every client has answered its token.
	endSession(t *testing.T, sid string)
	endUser(t *testing.T, sub string)
}

// realProvider is npm's oidc-provider.
type realProvider struct{ *realop.OP }

func (p realProvider) endSession(t *testing.T, sid string) {
	t.Helper()
	told, err := p.EndSession(t.Context(), sid)
	wantTold(t, told, err)
}

func (p realProvider) endUser(t *testing.T, sub string) {
	t.Helper()
	told, err := p.EndUser(t.Context(), sub)
	wantTold(t, told, err)
}

func wantTold(t *testing.T, told []realop.Told, err error) {
	t.Helper()
	if err != nil || len(told) == 0 {
		t.Fatalf("told %v: %v", told, err)
	}
	for _, one := range told {
		if one.Error != "" {
			t.Errorf("the provider complains: %s", one.Error)
		}
	}
}

// smallProvider is package optest's.
type smallProvider struct{ *optest.Provider }

func (p smallProvider) endSession(t *testing.T, sid string) {
	t.Helper()
	wantComplete(t)(p.LogoutSession(t.Context(), sid))
}

func (p smallProvider) endUser(t *testing.T, sub string) {
	t.Helper()
	wantComplete(t)(p.LogoutUser(t.Context(), sub))
}

func wantComplete(t *testing.T) func([]optest.Delivery, error) {
	return func(deliveries []optest.Delivery, err error) {
		t.Helper()
		if err != nil || len(deliveries) != 1 {
			t.Fatalf("delivered %v: %v", deliveries, err)
		}
		if d := deliveries[0]; d.Status != http.StatusOK || d.Fence != "complete" || d.Err != nil {
			t.Errorf("answered %d, fence %q, %v; want 200, complete", d.Status, d.Fence, d.Err)
		}
	}
}

// house is three replicas with a log and an OP, all ready.
type house struct {
	*site
	op provider
}

// open starts three replicas and waits for them.
func (s *site) open(issuer string, env ...string) {
	s.t.Helper()
	s.env = append(append(s.env, "OIDC_ENDPOINT="+issuer), env...)
	for _, name := range []string{"one", "two", "three"} {
		s.start(name)
	}
	for _, r := range s.replicas {
		r.ready()
	}
}

// newRealHouse has npm's oidc-provider.
func newRealHouse(t *testing.T, client realop.Client) *house {
	address, _ := startNATS(t, t.TempDir(), "-1")
	s := newSite(t, address)
	client.ID, client.Secret = testClientID, testClientSecret
	client.RedirectURIs = []string{s.front.URL + "/auth/callback"}
	client.PostLogoutURIs = []string{s.front.URL + "/auth/signed-out"}
	client.BackchannelURI = s.front.URL + "/auth/backchannel-logout"
	op := realop.Start(t, realop.Options{Clients: []realop.Client{client}})
	s.open(op.Issuer)
	return &house{s, realProvider{op}}
}

// newSmallHouse has package optest's provider, behind wrap if that is not nil.
func newSmallHouse(t *testing.T, wrap func(http.Handler) http.Handler, env ...string) *house {
	address, _ := startNATS(t, t.TempDir(), "-1")
	return newSmallHouseAt(t, address, wrap, env...)
}

// newSmallHouseAt has its log at an address.
func newSmallHouseAt(t *testing.T, address string, wrap func(http.Handler) http.Handler, env ...string) *house {
	s := newSite(t, address)
	op := &optest.Provider{
		Now: time.Now,
		Clients: []optest.Client{{
			ID: testClientID, Secret: testClientSecret,
			RedirectURIs:   []string{s.front.URL + "/auth/callback"},
			PostLogoutURIs: []string{s.front.URL + "/auth/signed-out"},
			BackchannelURI: s.front.URL + "/auth/backchannel-logout",
		}},
	}
	realop.Serve(t, op, wrap)
	s.open(op.Issuer, env...)
	return &house{s, smallProvider{op}}
}

// session is what /session says of a cookie.
func (h *house) session(cookie string) map[string]any {
	h.t.Helper()
	return h.replicas[0].session(cookie)
}

func (h *house) sid(cookie string) string {
	h.t.Helper()
	sid, _ := h.session(cookie)["sid"].(string)
	if sid == "" {
		h.t.Fatal("the session bears no sid")
	}
	return sid
}

func (h *house) sub(cookie string) string {
	h.t.Helper()
	sub, _ := h.session(cookie)["sub"].(string)
	return sub
}
