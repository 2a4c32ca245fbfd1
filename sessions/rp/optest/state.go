package optest

import (
	"slices"
	"sync"
	"time"
)

// state is all that the provider remembers.
type state struct {
	mu       sync.Mutex
	sessions []*session // oldest first
	codes    map[string]*grant
	refresh  map[string]*grant
	access   map[string]access
}

// session is a browser signed in at the provider.
type session struct {
	secret   string // what the cookie holds
	sid      string // what clients are told
	sub      string
	authTime time.Time
	clients  []string // in the order they were signed in to
}

// grant is what a user let a client have, from the code to the last token.
type grant struct {
	client, sub, sid string
	scope, nonce     string
	authTime         time.Time

	redirectURI, challenge string
	codeUntil              time.Time
	codeUsed               bool

	refresh string // the one refresh token that is still good
	revoked bool
}

type access struct {
	grant *grant
	until time.Time
}

// Session is a browser signed in at the provider, as the provider sees it.
type Session struct {
	Sid, Sub, Username string
	// AuthTime is when the user last gave the password.
	AuthTime time.Time
	// Clients are the ids of those signed in to, in that order.
	Clients []string
}

// Sessions lists who is signed in, oldest first.
func (p *Provider) Sessions() []Session {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	list := make([]Session, 0, len(p.state.sessions))
	for _, s := range p.state.sessions {
		list = append(list, p.describe(s))
	}
	return list
}

func (p *Provider) describe(s *session) Session {
	return Session{
		Sid: s.sid, Sub: s.sub, Username: p.user(s.sub).Username,
		AuthTime: s.authTime, Clients: slices.Clone(s.clients),
	}
}

// bySecret finds the session a cookie belongs to.
func (s *state) bySecret(secret string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.sessions, func(have *session) bool { return have.secret == secret }); i >= 0 {
		return *s.sessions[i], true
	}
	return session{}, false
}

// signIn begins a session, or renews the one the browser has if it is the same
// user's: that keeps its sid, as providers do.
func (s *state) signIn(secret, sub string, now time.Time) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sessions, func(have *session) bool { return have.secret == secret && have.sub == sub })
	if i < 0 {
		i = len(s.sessions)
		s.sessions = append(s.sessions, &session{sid: newToken(), sub: sub})
	}
	s.sessions[i].secret = newToken()
	s.sessions[i].authTime = now
	return *s.sessions[i]
}

// addCode gives the client of g a code, unless the session has ended meanwhile.
func (s *state) addCode(g *grant) (code string, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sessions, func(have *session) bool { return have.sid == g.sid })
	if i < 0 {
		return "", false
	}
	if !slices.Contains(s.sessions[i].clients, g.client) {
		s.sessions[i].clients = append(s.sessions[i].clients, g.client)
	}
	if s.codes == nil {
		s.codes, s.refresh, s.access = map[string]*grant{}, map[string]*grant{}, map[string]access{}
	}
	code = newToken()
	s.codes[code] = g
	return code, true
}

// end takes away the sessions that match, and the grants that die with them:
// all but those of offline_access, which are meant to outlive the session
// (Back-Channel Logout 1.0 section 2.7).
func (s *state) end(matches func(*session) bool) []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ended []session
	s.sessions = slices.DeleteFunc(s.sessions, func(have *session) bool {
		if !matches(have) {
			return false
		}
		ended = append(ended, *have)
		return true
	})
	for _, gone := range ended {
		for _, g := range s.codes {
			if g.sid == gone.sid && (!g.offline() || !g.codeUsed) {
				g.revoked = true
			}
		}
	}
	return ended
}

func (g *grant) offline() bool { return hasScope(g.scope, scopeOffline) }
