package rp_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"curfew/events"
	"curfew/events/memlog"
	"curfew/sessions"
	webpages "curfew/sessions/pages"
	"curfew/sessions/rp"
)

// ring seals with AES-GCM and one key.
type ring struct{}

var ringKey = []byte("0123456789abcdef")

func (ring) aead() cipher.AEAD {
	block, err := aes.NewCipher(ringKey)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (r ring) Seal(plain []byte) (events.Sealed, error) {
	return events.Sealed(base64.URLEncoding.EncodeToString(r.aead().Seal(nil, nil, plain, nil))), nil
}

func (r ring) Open(sealed events.Sealed) ([]byte, error) {
	raw, err := base64.URLEncoding.DecodeString(string(sealed))
	if err != nil {
		return nil, errors.New("ring: not sealed")
	}
	return r.aead().Open(nil, nil, raw, nil)
}

func (ring) MAC(message []byte) [32]byte {
	mac := hmac.New(sha256.New, ringKey)
	mac.Write(message)
	return [32]byte(mac.Sum(nil))
}

func (r ring) CheckMAC(message, mac []byte) bool {
	want := r.MAC(message)
	return hmac.Equal(want[:len(mac)], mac)
}

// rows is what a store would have kept.
type rows struct {
	mu     sync.Mutex
	sealed map[events.SessionID]events.Sealed
	err    error
}

// apply has nobody look for what is sealed before it is kept.
func (r *rows) apply(registry *sessions.Registry, batch events.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, change := range registry.Apply(batch) {
		if change.Sealed != "" {
			r.sealed[change.Session] = change.Sealed
		}
	}
}

func (r *rows) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *rows) Private(id events.SessionID) (sessions.Private, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return sessions.Private{}, r.err
	}
	return sessions.OpenPrivate(ring{}, id, r.sealed[id])
}

// OfSid and OfSub look through everything.
func (r *rows) OfSid(issuer, sid string) ([]events.SessionID, error) {
	return r.of(func(p sessions.Private) bool { return p.Issuer == issuer && p.Sid == sid })
}

func (r *rows) OfSub(issuer, sub string) ([]events.SessionID, error) {
	return r.of(func(p sessions.Private) bool { return p.Issuer == issuer && p.Sub == sub })
}

func (r *rows) of(is func(sessions.Private) bool) (ids []events.SessionID, err error) {
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.sealed))
	r.mu.Unlock()
	for _, id := range all {
		private, err := r.Private(id)
		if err != nil {
			return nil, err
		}
		if is(private) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// pages answers with one line, for tests to compare.
type pages struct{}

func (pages) Problem(w http.ResponseWriter, _ *http.Request, status int, code, reference string) {
	w.Header().Set("X-Reference", reference)
	w.WriteHeader(status)
	fmt.Fprint(w, "problem ", code)
}

func (pages) ConfirmLogout(w http.ResponseWriter, _ *http.Request, username, action string) {
	fmt.Fprintf(w, "confirm %q %s", username, action)
}

func (pages) NobodySignedIn(w http.ResponseWriter, _ *http.Request, loginURL string) {
	fmt.Fprintf(w, "nobody %s", loginURL)
}

func (pages) SignedOut(w http.ResponseWriter, _ *http.Request, loginURL string) {
	fmt.Fprint(w, "signed out ", loginURL)
}

func (pages) ChooseProvider(w http.ResponseWriter, _ *http.Request, choices []webpages.Choice) {
	for _, c := range choices {
		fmt.Fprintln(w, c.Title, c.Link)
	}
}

func (pages) YourSessions(w http.ResponseWriter, _ *http.Request, o webpages.Overview) {
	fmt.Fprintf(w, "%s at %s done=%t more=%t\n", o.Username, o.Action, o.Done, o.More)
	for _, v := range o.Visits {
		fmt.Fprintln(w, v.ID, v.Device, v.Address, v.Since.UTC().Format(time.TimeOnly), v.Current)
	}
}

// world is one OP, one log and some replicas.
type world struct {
	t     testing.TB
	op    *op
	log   *memlog.Log
	logs  *bytes.Buffer
	a, b  *replica
	ahead time.Duration // what the replicas' clock is ahead of time itself
}

type replica struct {
	*rp.Party
	*rp.Client // the one there is
	keys       *opKeys
	rows       *rows
	gate       chan struct{} // while a test has what is in it, the replica applies nothing
}

// inWorld runs a test in a bubble of synthetic time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, r := range []*replica{w.a, w.b} {
			if err := r.Provider.Discover(ctx); err != nil {
				t.Fatal(err)
			}
			running.Go(func() { r.follow(ctx) })
		}
		test(t, w)
		stop()
		running.Wait()
	})
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, op: newOP(t), log: memlog.New(time.Now), logs: new(bytes.Buffer)}
	w.a, w.b = w.replica("a"), w.replica("b")
	return w
}

func (w *world) now() time.Time { return time.Now().Add(w.ahead) }

func (w *world) replica(name string) *replica {
	targets, err := sessions.NewTargets(public, []string{"https://*.example.net"})
	if err != nil {
		w.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(w.logs, nil))
	registry := sessions.NewRegistry(sessions.NewHasher([32]byte{1}), sessions.Policy{})
	clock := func() sessions.Reading { return sessions.Reading{Wall: w.now()} }
	r := &replica{keys: &opKeys{op: w.op}, rows: &rows{sealed: make(map[events.SessionID]events.Sealed)}}
	r.gate = make(chan struct{}, 1)
	r.gate <- struct{}{}
	r.Client = &rp.Client{
		Provider: &rp.Provider{Issuer: w.op.issuer, HTTP: w.op.client(), Now: w.now, Logger: logger},
		ID:       "client", Secret: "secret",
		Keys:        r.keys,
		RedirectURI: "https://app.example.com/auth/callback", PostLogoutRedirectURI: "https://app.example.com/auth/signed-out",
		Scopes:      []string{"openid", "email"},
		GroupsClaim: "groups",
		Strangers:   rate.NewLimiter(1, 3),
	}
	r.Party = &rp.Party{
		Clients:   []*rp.Client{r.Client},
		PublicURL: public, Prefix: "/auth",
		Lifetime:   12 * time.Hour,
		Targets:    targets,
		CookieName: "__Host-curfew", Secure: true,
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Log:     w.log, Registry: registry, Rows: r.rows, Ring: ring{},
		Logouts: &sessions.Logouts{
			Log: w.log, Registry: registry, Fleet: &sessions.Fleet{Instance: name, Clock: clock},
			Wait: time.Second, Replica: name, Now: w.now,
		},
		Pages: pages{}, Lists: pages{}, Replica: name, Now: w.now, Logger: logger,
		Lease: &sessions.Lease{Length: time.Hour, Clock: clock},
	}
	if err := r.Validate(); err != nil {
		w.t.Fatal(err)
	}
	return r
}

var public = &url.URL{Scheme: "https", Host: "app.example.com"}

// hold keeps the replica from applying the log until it is released.
func (r *replica) hold() (release func()) {
	<-r.gate
	return func() { r.gate <- struct{}{} }
}

func (r *replica) follow(ctx context.Context) {
	// It ends with the test, and then there is nothing to say.
	_ = r.Log.Follow(ctx, events.Mark{}, func(batch events.Batch) error {
		release := r.hold()
		defer release()
		r.rows.apply(r.Registry, batch)
		return nil
	})
}

// logout puts a logout into the log as the OP's token would.
func (w *world) logout(sub, sid string) {
	w.t.Helper()
	now := time.Now()
	logout := events.LogoutReceived{Issuer: w.op.issuer, Sub: sub, Sid: sid, JTI: rand.Text(), IssuedAt: now, Until: now, Reason: events.Backchannel, Replica: "a"}
	if _, err := w.log.Append(w.t.Context(), events.NewEvent(logout, "a", now), events.IfFirst()); err != nil {
		w.t.Fatal(err)
	}
}

// started returns the sessions that the log holds the start of.
func (w *world) started() (all []events.Started) {
	for _, record := range w.log.Records() {
		if started, ok := record.Fact.(events.Started); ok {
			all = append(all, started)
		}
	}
	return all
}

func (w *world) ended() (all []events.Ended) {
	for _, record := range w.log.Records() {
		if ended, ok := record.Fact.(events.Ended); ok {
			all = append(all, ended)
		}
	}
	return all
}

// browser keeps cookies, and sends them with every request.
type browser struct{ cookies map[string]*http.Cookie }

func newBrowser() *browser { return &browser{cookies: make(map[string]*http.Cookie)} }

// answer is what a person sees: the body, or where they are sent.
type answer struct {
	*http.Response
	body string
}

func (b *browser) do(handler http.HandlerFunc, method, target string, header ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	r.Host = public.Host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for _, cookie := range b.cookies {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	w := httptest.NewRecorder()
	handler(w, r)
	response := w.Result()
	for _, cookie := range response.Cookies() {
		if b.cookies[cookie.Name] = cookie; cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
	return answer{response, w.Body.String()}
}

func (b *browser) get(handler http.HandlerFunc, target string, header ...string) answer {
	return b.do(handler, http.MethodGet, target, header...)
}

func (b *browser) session() string {
	if cookie := b.cookies["__Host-curfew"]; cookie != nil {
		return cookie.Value
	}
	return ""
}

func (b *browser) logins() (names []string) {
	for name := range b.cookies {
		if strings.Contains(name, "-login-") {
			names = append(names, name)
		}
	}
	return names
}

// want compares an answer's status and what a person would see of it.
func (a answer) want(t *testing.T, status int, seen string) {
	t.Helper()
	got := a.body
	if location := a.Header.Get("Location"); location != "" {
		got = location
	}
	if a.StatusCode != status || got != seen {
		t.Errorf("the answer is %d %q, want %d %q", a.StatusCode, got, status, seen)
	}
	if cache := a.Header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("Cache-Control is %q, want no-store", cache)
	}
}

// begin goes to the login and signs in at the OP; it returns the URL that the
// OP sends the browser back to.
func (w *world) begin(b *browser, r *replica, query string) string {
	w.t.Helper()
	a := b.get(r.Login, "/auth/login"+query)
	if a.StatusCode != http.StatusFound {
		w.t.Fatalf("the login answers %d %q", a.StatusCode, a.body)
	}
	return "/auth/callback?" + w.op.grant(a.Header.Get("Location")).Encode()
}

// signIn goes the whole way.
func (w *world) signIn(b *browser, r *replica) answer {
	w.t.Helper()
	return b.get(r.Callback, w.begin(b, r, "?rd=/docs"))
}

// verdict is what a replica thinks of the browser's session.
func (r *replica) verdict(t *testing.T, b *browser) sessions.Verdict {
	t.Helper()
	synctest.Wait()
	ticket, signed, err := sessions.ParseTicket(b.session(), ring{})
	if err != nil || !signed() {
		t.Fatalf("the session cookie %q: %v", b.session(), err)
	}
	_, verdict := r.Registry.Look(ticket.Session, ticket.Secret.Hash(), time.Now())
	return verdict
}
