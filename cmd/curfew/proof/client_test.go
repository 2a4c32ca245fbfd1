package proof

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// asks bounds every question. It is long, so that a process which was stopped
// half-way through an answer gives it when it goes on.
const asks = 15 * time.Second

// browser is one person's. It may sign in more than once, and is then known to
// the OP already.
type browser struct {
	house  *house
	name   string
	client *realop.Browser
	proven span // when the password was last given

	login     *login // the one under way
	code      string
	meanwhile func()
}

func (h *house) newBrowser(name string) *browser {
	b := &browser{house: h, name: name}
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Error(err)
	}
	b.client = &realop.Browser{Client: &http.Client{Jar: jar, Transport: b, Timeout: asks}}
	return b
}

// RoundTrip is the browser's way to everybody: it picks the replicas, and looks
// at its watch.
func (b *browser) RoundTrip(r *http.Request) (*http.Response, error) {
	h, l := b.house, b.login
	if r.URL.Hostname() == opHost {
		transport := h.toOP()
		transport.DisableKeepAlives = true
		if r.Method == http.MethodPost {
			b.proven.call = h.history.now()
		}
		response, err := transport.RoundTrip(r)
		if r.Method == http.MethodPost {
			b.proven.ret = h.history.now()
		}
		return response, err
	}
	var when *span
	door := 0
	switch r.URL.Path {
	case "/auth/login":
		when = &l.begun
	case "/auth/callback":
		when, door = &l.finished, 1
		b.code = r.URL.Query().Get("code")
		if b.meanwhile != nil {
			b.meanwhile()
		}
	default:
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	}
	when.call = h.history.now()
	replica := h.replicas[l.doors[door]]
	l.astray = l.astray || replica.astray.Load()
	response, err := h.direct.RoundTrip(to(r, replica.public))
	l.astray = l.astray || replica.astray.Load()
	when.ret = h.history.now()
	return response, err
}

// to sends a request to an address under the name it was made for.
func to(r *http.Request, address string) *http.Request {
	out := r.Clone(r.Context())
	out.Host = r.URL.Host
	out.URL.Host = address
	return out
}

// signIn begins a login at one replica and finishes it at another. Between the
// two, meanwhile is called, if it is not nil.
func (b *browser) signIn(ctx context.Context, id int, doors [2]int, meanwhile func()) *login {
	h := b.house
	l := &login{id: id, doors: doors}
	b.login, b.code, b.meanwhile = l, "", meanwhile
	h.forget(b)
	_, err := b.client.SignIn(ctx, h.public+"/auth/login?rd=/after", realop.User{Username: b.name, Password: b.name})
	l.proven = b.proven
	who, known := h.op.whoseCode(b.code)
	l.sub, l.sid = who.Sub, who.Sid
	if err == nil && known {
		l.cookie = h.cookie(b)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(l.cookie); err == nil && len(raw) > 17 {
		l.session = uuid.UUID(raw[1:17]).String()
	}
	h.history.addLogin(l)
	return l
}

func (h *house) site() *url.URL {
	u, err := url.Parse(h.public)
	if err != nil {
		h.t.Error(err)
	}
	return u
}

func (h *house) cookie(b *browser) string {
	for _, c := range b.client.Client.Jar.Cookies(h.site()) {
		if c.Name == "curfew" {
			return c.Value
		}
	}
	return ""
}

// forget has a browser forget its session, but not who it is at the OP.
func (h *house) forget(b *browser) {
	b.client.Client.Jar.SetCookies(h.site(), []*http.Cookie{{Name: "curfew", Path: "/", MaxAge: -1}})
}

// ask sends a request to one replica and reads the answer.
func (h *house) ask(ctx context.Context, method, url string, form url.Values, cookie string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, asks)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, "", err
	}
	r.Host = h.site().Host
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "curfew", Value: cookie})
	}
	response, err := h.direct.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// check asks a guard. What is not answered is not noted.
func (h *house) check(ctx context.Context, l *login, r *replica) (check, bool) {
	c := check{login: l, replica: r.number}
	c.call = h.history.now()
	response, _, err := h.ask(ctx, http.MethodGet, "http://"+r.public+"/auth/check", nil, l.cookie)
	c.ret = h.history.now()
	if err != nil {
		return c, false
	}
	c.status, c.reason = response.StatusCode, response.Header.Get("X-Curfew-Reason")
	c.sub = response.Header.Get("X-Auth-Request-Sub")
	h.history.addCheck(c)
	return c, true
}

// attempt sends what ends sessions, and notes what came of it.
func (h *house) attempt(ctx context.Context, e *ending, r *replica, send func(context.Context) (*http.Response, string, error)) {
	e.replica = r.number
	e.call = h.history.now()
	response, body, err := send(ctx)
	e.ret = h.history.now()
	if err != nil {
		e.ret = never
		h.history.addEnding(e)
		return
	}
	e.status = response.StatusCode
	taken := e.status >= 200 && e.status < 400
	e.complete = taken && response.Header.Get("Curfew-Fence") == "complete"
	// Where it is the log that does not answer, what was verified is kept.
	e.listed = taken || e.status == http.StatusServiceUnavailable && strings.Contains(body, "the log does not")
	if e.status >= http.StatusInternalServerError {
		e.ret = never // it gets into the log later, if at all
	}
	if taken || e.ret == never {
		h.history.addEnding(e)
	}
}

// mint makes a logout token by sid, by sub, or by both.
func (h *house) mint(e *ending) (string, error) {
	e.door, e.minted, e.jti = byToken, h.history.now(), uuid.NewString()
	claims := map[string]any{"jti": e.jti}
	if e.sid != "" {
		claims["sid"] = e.sid
	}
	if e.sub != "" {
		claims["sub"] = e.sub
	}
	return h.op.MintLogoutToken(optest.Mint{Client: clientID, Claims: claims})
}

// post delivers a logout token to one replica: for the first time, or again.
func (h *house) post(ctx context.Context, e ending, token string, r *replica) *ending {
	if e.first == 0 {
		e.first = h.history.now()
	}
	h.attempt(ctx, &e, r, func(ctx context.Context) (*http.Response, string, error) {
		return h.ask(ctx, http.MethodPost, "http://"+r.public+"/auth/backchannel-logout", url.Values{"logout_token": {token}}, "")
	})
	return &e
}

// signOut is a person's own logout.
func (h *house) signOut(ctx context.Context, l *login, r *replica) *ending {
	e := &ending{door: byUser, session: l.session}
	h.attempt(ctx, e, r, func(ctx context.Context) (*http.Response, string, error) {
		return h.ask(ctx, http.MethodPost, "http://"+r.public+"/auth/logout", url.Values{}, l.cookie)
	})
	return e
}

// strike is an operator's.
func (h *house) strike(ctx context.Context, e *ending, r *replica) *ending {
	e.door = byOperator
	h.attempt(ctx, e, r, func(ctx context.Context) (*http.Response, string, error) {
		if e.session != "" {
			return h.admin(ctx, http.MethodDelete, r, "/v1/sessions/"+e.session, "")
		}
		body := fmt.Sprintf(`{"sub":%q,"sid":%q}`, e.sub, e.sid)
		return h.admin(ctx, http.MethodPost, r, "/v1/logouts", body)
	})
	return e
}

func (h *house) admin(ctx context.Context, method string, r *replica, path, body string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, asks)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+r.admin+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	response, err := h.direct.RoundTrip(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

// two picks the replicas for a login.
func (h *house) two(rng *rand.Rand) [2]int {
	return [2]int{rng.IntN(len(h.replicas)), rng.IntN(len(h.replicas))}
}
