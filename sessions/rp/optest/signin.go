package optest

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
)

// serveSignInPage is for someone who comes without an application.
func (p *Provider) serveSignInPage(w http.ResponseWriter, r *http.Request) {
	if _, signedIn := p.session(r); signedIn {
		http.Redirect(w, r, p.base+"/", http.StatusSeeOther)
		return
	}
	p.signInPage(w, http.StatusOK, nil, nil, signInPage{})
}

// serveSignIn takes the sign-in form. The authentication request it belongs to,
// if any, is in the query, and is checked as if it had just come.
func (p *Provider) serveSignIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refusePage(w, "The request is not readable.")
		return
	}
	params := r.URL.Query()
	var auth *authRequest
	var client *Client
	if len(params) > 0 {
		var flaw string
		if auth, flaw = p.parseAuth(params); flaw != "" {
			p.refusePage(w, flaw)
			return
		}
		if err := auth.check(); err != nil {
			p.redirectError(w, r, auth, err)
			return
		}
		client = auth.client
	}
	user := p.authenticate(r.PostForm.Get("username"), r.PostForm.Get("password"))
	if user == nil {
		p.signInPage(w, http.StatusUnprocessableEntity, params, client,
			signInPage{Username: r.PostForm.Get("username"), Wrong: true})
		return
	}
	s := p.startSession(w, r, user)
	if auth == nil {
		http.Redirect(w, r, p.base+"/", http.StatusSeeOther)
		return
	}
	p.redirectCode(w, r, auth, s)
}

// startSession signs the user in. Whoever else was signed in with this browser
// is signed out, and their applications are told.
func (p *Provider) startSession(w http.ResponseWriter, r *http.Request, user *User) session {
	before, had := p.session(r)
	if had && before.sub != user.Sub {
		p.endSessions(r.Context(), func(s *session) bool { return s.sid == before.sid })
	}
	s := p.state.signIn(before.secret, user.Sub, p.Now())
	p.setCookie(w, s.secret)
	p.Logger.Info("signed in", "user", user.Username)
	return s
}

func (p *Provider) authenticate(username, password string) *User {
	for i, user := range p.Users {
		if user.Username == username && subtle.ConstantTimeCompare([]byte(user.Password), []byte(password)) == 1 {
			return &p.Users[i]
		}
	}
	return nil
}

func (p *Provider) signInPage(w http.ResponseWriter, status int, params url.Values, client *Client, page signInPage) {
	page.Action = p.base + pathSignIn
	if len(params) > 0 {
		page.Action += "?" + params.Encode()
	}
	if client != nil {
		page.Client = client.DisplayName()
	}
	if p.ShowAccounts {
		page.Accounts = p.Users
		if page.Username == "" {
			page.Username = p.Users[0].Username
		}
	}
	p.page(w, status, "sign-in", page)
}

// serveHome shows who is signed in, and lets them sign out.
func (p *Provider) serveHome(w http.ResponseWriter, r *http.Request) {
	s, signedIn := p.session(r)
	if !signedIn {
		p.page(w, http.StatusOK, "nobody", nil)
		return
	}
	page := homePage{User: *p.user(s.sub), Since: s.authTime}
	for _, id := range s.clients {
		page.Clients = append(page.Clients, p.client(id).DisplayName())
	}
	p.page(w, http.StatusOK, "home", page)
}

// serveSignOut ends the browser's session, or with everywhere=yes all of its
// user's, and shows what the applications said to it.
func (p *Provider) serveSignOut(w http.ResponseWriter, r *http.Request) {
	s, signedIn := p.session(r)
	if !signedIn {
		http.Redirect(w, r, p.base+"/", http.StatusSeeOther)
		return
	}
	// The person may close the page; the applications are told all the same.
	ctx := context.WithoutCancel(r.Context())
	var told []Delivery
	if r.FormValue("everywhere") == "yes" {
		told = p.endUser(ctx, s.sub)
	} else {
		told = p.endSessions(ctx, func(have *session) bool { return have.sid == s.sid })
	}
	p.setCookie(w, "")
	page := signedOutPage{}
	for _, delivery := range told {
		page.Told = append(page.Told, p.toldOf(delivery))
	}
	p.page(w, http.StatusOK, "signed-out", page)
}
