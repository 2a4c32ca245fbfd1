package rp

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A browser that begins logins and finishes none would send an ever longer
// header, until a proxy refuses it: nginx does at 8 KiB. So the oldest are
// cleared.
const (
	maxLogins      = 8
	maxLoginsBytes = 5 << 10
	// maxLoginsOpened bounds the work on cookies that somebody made up.
	maxLoginsOpened = 32
	// maxCleared keeps the headers of one answer below the 4 KiB that proxies
	// have room for. What is left is cleared by the next.
	maxCleared = 8
)

func (p *Party) cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name:     name,
		Value:    value,
		Path:     "/",
		Domain:   p.CookieDomain,
		MaxAge:   int(life / time.Second),
		HttpOnly: true,
		Secure:   p.Secure,
		SameSite: http.SameSiteLaxMode,
	}
}

func (p *Party) clear(w http.ResponseWriter, name string) {
	http.SetCookie(w, p.cookie(name, "", -time.Second))
}

func (p *Party) loginPrefix() string { return p.CookieName + "-login-" }

func (p *Party) loginName(state string) string { return p.loginPrefix() + stateName(state) }

// setLogin hands out the cookie of a login. The browser keeps it for twice as
// long as it is good for, so that who comes back late is told that it was late.
func (p *Party) setLogin(w http.ResponseWriter, r *http.Request, t transaction) error {
	value, err := t.seal(p.Ring)
	if err != nil {
		return err
	}
	p.clearOldLogins(w, r, len(value))
	http.SetCookie(w, p.cookie(p.loginName(t.State), value, 2*transactionLife))
	return nil
}

// clearOldLogins clears those login cookies that are none, or too late, and
// those for which there is no room beside a new one of a length, the oldest
// first; only some in one answer.
func (p *Party) clearOldLogins(w http.ResponseWriter, r *http.Request, length int) {
	type login struct {
		name  string
		size  int
		begun time.Time
	}
	var kept []login
	var over []string
	now := p.Now()
	for i, cookie := range p.loginCookies(r) {
		t, err := transaction{}, errTransaction
		if i < maxLoginsOpened {
			t, err = openTransaction(p.Ring, cookie.Value)
		}
		if err != nil || t.expired(now) || p.loginName(t.State) != cookie.Name {
			over = append(over, cookie.Name)
			continue
		}
		kept = append(kept, login{cookie.Name, len(cookie.Name) + len(cookie.Value), t.BegunAt})
	}
	slices.SortStableFunc(kept, func(a, b login) int { return b.begun.Compare(a.begun) })
	oldestAt := len(over)
	for i, l := range kept {
		length += l.size
		if i >= maxLogins-1 || length > maxLoginsBytes {
			over = slices.Insert(over, oldestAt, l.name)
		}
	}
	for _, name := range over[:min(len(over), maxCleared)] {
		p.clear(w, name)
	}
}

// loginCookies leaves out names that are longer than ours: to clear those would
// make the answer's headers as long as somebody likes.
func (p *Party) loginCookies(r *http.Request) []*http.Cookie {
	return slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool {
		return !strings.HasPrefix(c.Name, p.loginPrefix()) || len(c.Name) > len(p.loginName(""))
	})
}

var (
	errNoState     = errors.New("the answer has no state")
	errNoLogin     = errors.New("the browser has no cookie for this state")
	errOtherState  = errors.New("the cookie is for another state")
	errOtherIssuer = errors.New("the login was begun at an issuer that is not configured here")
)

// login finds the login that a state belongs to.
func (p *Party) login(r *http.Request, state string) (transaction, *fault) {
	if state == "" {
		return transaction{}, &fault{StateMissing, errNoState}
	}
	cookies := r.CookiesNamed(p.loginName(state))
	if len(cookies) == 0 {
		return transaction{}, &fault{StateMissing, errNoLogin}
	}
	t, err := openTransaction(p.Ring, cookies[0].Value)
	switch {
	case err != nil:
		return transaction{}, &fault{StateMissing, err}
	case subtle.ConstantTimeCompare([]byte(t.State), []byte(state)) != 1:
		return transaction{}, &fault{StateMissing, errOtherState}
	case p.client(t.Issuer) == nil:
		return transaction{}, &fault{StateMissing, errOtherIssuer}
	case t.expired(p.Now()):
		return t, faultf(LoginExpired, "the login began at %s", t.BegunAt.Format(time.RFC3339))
	}
	return t, nil
}
