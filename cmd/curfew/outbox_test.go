package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// broker is a NATS server that can be killed and started again in its place.
type broker struct {
	*process
	t       *testing.T
	dir     string
	address string
}

func newBroker(t *testing.T) *broker {
	b := &broker{t: t, dir: t.TempDir()}
	b.address, b.process = startNATS(t, b.dir, "-1")
	return b
}

// again starts the broker on the port where it was.
func (b *broker) again() {
	b.t.Helper()
	at, err := url.Parse(b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	_, b.process = startNATS(b.t, b.dir, at.Port())
}

func (b *broker) connect() *nats.Conn {
	b.t.Helper()
	conn, err := nats.Connect(b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// logoutToken is one for a session, as the OP would send it.
func (h *house) logoutToken(cookie string) string {
	h.t.Helper()
	token, err := h.op.(smallProvider).MintLogoutToken(optest.Mint{
		Client: testClientID, Claims: map[string]any{"sid": h.sid(cookie), "sub": h.sub(cookie)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// postLogout gives a replica a logout token, and wants an answer before any OP
// has given up.
func (r *replica) postLogout(token string) (*http.Response, string) {
	r.t.Helper()
	client := http.Client{Timeout: 2500 * time.Millisecond}
	resp, err := client.PostForm(r.public+"/auth/backchannel-logout", url.Values{"logout_token": {token}})
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(body)
}

func (r *replica) wantKept(token string) {
	r.t.Helper()
	resp, body := r.postLogout(token)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"temporarily_unavailable"`) {
		r.t.Errorf("%s answers %d, Retry-After %q, %s; want 503", r.name, resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
}

// admin reads what a replica says on its admin listener.
func (r *replica) told(path string) string {
	r.t.Helper()
	resp, err := http.Get(r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(body)
}

func (r *replica) wantTold(path, want string) {
	r.t.Helper()
	if got := r.told(path); !strings.Contains(got, want) {
		r.t.Errorf("%s says at %s, which lacks %q:\n%s", r.name, path, want, got)
	}
}

func (r *replica) wantRefused(cookie string) {
	r.t.Helper()
	resp := r.check(cookie)
	if got := resp.Header.Get("X-Curfew-Reason"); resp.StatusCode != http.StatusUnauthorized || got != "ended" {
		r.t.Errorf("%s answers %d %q, want 401 ended", r.name, resp.StatusCode, got)
	}
}

// eventuallyEverywhere waits until each replica answers so.
func (s *site) eventuallyEverywhere(cookie string, status int) {
	s.t.Helper()
	for _, r := range s.replicas {
		eventually(s.t, r.name+" answers "+http.StatusText(status), func() bool { return r.check(cookie).StatusCode == status })
	}
}

// The log is killed, a logout is posted once, the replica that it was posted to
// is killed.
func TestLogoutOutlivesLogAndReplica(t *testing.T) {
	b := newBroker(t)
	h := newSmallHouseAt(t, b.address, nil)
	ada := h.signIn(realop.NewBrowser(t), "ada")
	grace := h.signIn(realop.NewBrowser(t), "grace")
	id := h.session(ada)["session"].(string)
	token := h.logoutToken(ada)
	graces := h.logoutToken(grace)
	two := h.replicas[1]

	b.kill()
	two.wantKept(token)
	two.wantRefused(ada)
	two.wantKept(token)
	two.wantTold("/readyz", `"outbox":1`)
	two.wantTold("/metrics", "curfew_outbox 1\n")
	if got := two.check(grace).StatusCode; got != http.StatusOK {
		t.Errorf("%s answers %d for another's session, want 200 while the lease runs", two.name, got)
	}
	two.kill()

	b.again()
	conn := b.connect()
	said, err := conn.SubscribeSync("curfew.ended.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	two = h.start("two")
	two.ready()
	two.wantRefused(ada)
	two.wantTold("/readyz", `"outbox":0`)
	two.wantTold("/metrics", `curfew_outbox_total{outcome="drained"} 1`)
	h.eventuallyEverywhere(ada, http.StatusUnauthorized)
	h.eventuallyEverywhere(grace, http.StatusOK)
	for _, r := range h.replicas {
		resp, body := r.postLogout(token)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("sent again to %s: %d %s", r.name, resp.StatusCode, body)
		}
	}
	h.wantEverywhere(ada, http.StatusUnauthorized, "ended")

	wantEnded := func(id string) {
		t.Helper()
		msg, err := said.NextMsg(patient)
		if err != nil || msg.Subject != "curfew.ended."+id {
			t.Fatalf("heard %v, %v; want the end of %s", msg, err, id)
		}
	}
	wantEnded(id)
	graceID := h.session(grace)["session"].(string)
	if resp, body := two.postLogout(graces); resp.StatusCode != http.StatusOK {
		t.Errorf("another's logout: %d %s", resp.StatusCode, body)
	}
	wantEnded(graceID) // and nothing in between
}

// The log comes back empty: what is kept goes into the new one.
func TestLogoutOutlivesALostLog(t *testing.T) {
	b := newBroker(t)
	h := newSmallHouseAt(t, b.address, nil)
	ada := h.signIn(realop.NewBrowser(t), "ada")
	token := h.logoutToken(ada)
	one := h.replicas[0]
	b.kill()
	one.wantKept(token)
	one.wantRefused(ada)
	b.dir = t.TempDir()
	b.again()
	js, err := jetstream.New(b.connect())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new log has the logout", func() bool {
		stream, err := js.Stream(t.Context(), "CURFEW")
		if err != nil {
			return false
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("curfew.logout.>"))
		return err == nil && len(info.State.Subjects) == 1
	})
	one.ready()
	one.wantTold("/readyz", `"outbox":0`)
	if resp := one.check(ada); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a session of the lost log: %d", resp.StatusCode)
	}
}

// A person signs out while the log is away.
func TestSignOutOutlivesTheLog(t *testing.T) {
	b := newBroker(t)
	h := newSmallHouseAt(t, b.address, nil)
	browser := realop.NewBrowser(t)
	ada := h.signIn(browser, "ada")
	b.kill()
	resp, err := browser.Client.Post(h.front.URL+"/auth/logout", "application/x-www-form-urlencoded", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("signing out answers %d, want 503", resp.StatusCode)
	}
	h.replicas[0].wantRefused(ada)
	b.again()
	h.replicas[0].ready()
	h.eventuallyEverywhere(ada, http.StatusUnauthorized)
	h.replicas[0].wantTold("/metrics", "curfew_outbox 0\n")
}
