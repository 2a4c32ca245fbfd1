package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"curfew/sessions/rp"
)

// wire stands between a provider and everybody else, changes nothing, and keeps
// what a thief would be after.
type wire struct {
	proxy *httputil.ReverseProxy

	mu sync.Mutex
	// grants are the answers of the token endpoint, by sid.
	grants map[string][]granted
}

// granted is what the token endpoint has answered.
type granted struct {
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
}

func newWire(target string) *wire {
	w := &wire{grants: map[string][]granted{}}
	w.proxy = &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			u, err := url.Parse(target)
			if err != nil {
				panic(err)
			}
			pr.SetURL(u)
			pr.Out.Host = pr.In.Host
		},
		ModifyResponse: w.overhear,
	}
	return w
}

// ServeHTTP hands a request on.
func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.proxy.ServeHTTP(rw, r) }

func (w *wire) overhear(resp *http.Response) error {
	if !strings.HasSuffix(resp.Request.URL.Path, "/realms/"+keycloakRealm+"/protocol/openid-connect/token") {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var answer granted
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sid, _ := payload(answer.ID)["sid"].(string)
	w.grants[sid] = append(w.grants[sid], answer)
	return nil
}

// tokens are the refresh tokens of a session, the oldest first.
func (w *wire) tokens(sid string) (tokens []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.grants[sid] {
		tokens = append(tokens, g.Refresh)
	}
	return tokens
}

// newest is the last that a session was granted; empty if nothing was.
func (w *wire) newest(sid string) granted {
	w.mu.Lock()
	defer w.mu.Unlock()
	if all := w.grants[sid]; len(all) > 0 {
		return all[len(all)-1]
	}
	return granted{}
}

// payload is what a token says, unverified; nil if it is none.
func payload(token string) (claims map[string]any) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return nil
	}
	return claims
}

// postbox stands before a client's back-channel logout endpoint, and keeps what
// is posted and how it is answered.
type postbox struct {
	url    string
	target string

	mu    sync.Mutex
	posts []logoutPost
}

type logoutPost struct {
	token  string
	status int
	fence  string
	body   string
}

// ServeHTTP hands a logout token on.
func (b *postbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := r.PostFormValue("logout_token")
	resp, err := http.PostForm(b.target, url.Values{"logout_token": {token}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	b.mu.Lock()
	b.posts = append(b.posts, logoutPost{token, resp.StatusCode, resp.Header.Get(rp.HeaderFence), string(body)})
	b.mu.Unlock()
	w.WriteHeader(resp.StatusCode)
}

// naming are the posts whose token has such a claim.
func (b *postbox) naming(claim, value string) (posts []logoutPost) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.posts {
		if payload(p.token)[claim] == value {
			posts = append(posts, p)
		}
	}
	return posts
}
