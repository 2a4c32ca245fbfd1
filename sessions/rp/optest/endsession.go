package optest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
)

// endRequest is a request of RP-Initiated Logout 1.0, section 2.
type endRequest struct {
	hint   hint // zero if there is none
	client *Client
	target string // where the browser goes afterwards; empty stays here
	state  string
}

// parseEnd checks a request. The flaw is for the person in front of the
// browser.
func (p *Provider) parseEnd(form url.Values) (request endRequest, flaw string) {
	request.target, request.state = form.Get("post_logout_redirect_uri"), form.Get("state")
	id := form.Get("client_id")
	if token := form.Get("id_token_hint"); token != "" {
		said, err := p.readHint(token)
		if err != nil {
			p.Logger.Info("id_token_hint refused", "error", err)
			return endRequest{}, "The application's proof of who is signed in is not valid."
		}
		if id != "" && id != said.Audience {
			return endRequest{}, "The application's proof of who is signed in belongs to another application."
		}
		request.hint, id = said, said.Audience
	}
	request.client = p.client(id)
	switch {
	case id != "" && request.client == nil:
		return endRequest{}, "The application that sent you here is not known."
	case request.target == "":
	case request.client == nil:
		return endRequest{}, "It is not said which application wants you back."
	case !slices.Contains(request.client.PostLogoutURIs, request.target):
		return endRequest{}, "The application wants you back at an address that is not registered for it."
	}
	return request, ""
}

func (p *Provider) serveEndSession(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refusePage(w, "The request is not readable.")
		return
	}
	request, flaw := p.parseEnd(r.Form)
	if flaw != "" {
		p.refusePage(w, flaw)
		return
	}
	s, signedIn := p.session(r)
	if signedIn && s.sid != request.hint.Sid {
		p.confirmPage(w, r.Form, request, s)
		return
	}
	p.finishEnd(w, r, request, request.hint.Sid)
}

// confirmPage asks: without a proof from the application, anybody could have
// put the link there.
func (p *Provider) confirmPage(w http.ResponseWriter, form url.Values, request endRequest, s session) {
	page := confirmPage{User: *p.user(s.sub), Action: p.base + pathConfirm}
	if len(form) > 0 {
		page.Action += "?" + form.Encode()
	}
	if request.client != nil {
		page.Client = request.client.DisplayName()
	}
	p.page(w, http.StatusOK, "confirm", page)
}

func (p *Provider) serveConfirm(w http.ResponseWriter, r *http.Request) {
	request, flaw := p.parseEnd(r.URL.Query())
	if flaw != "" {
		p.refusePage(w, flaw)
		return
	}
	s, _ := p.session(r)
	p.finishEnd(w, r, request, s.sid)
}

// finishEnd ends the session, tells its clients, and then lets the browser go:
// whoever arrives at the application is signed out of it.
func (p *Provider) finishEnd(w http.ResponseWriter, r *http.Request, request endRequest, sid string) {
	told := p.endSessions(context.WithoutCancel(r.Context()), func(s *session) bool { return s.sid == sid })
	p.setCookie(w, "")
	if request.target == "" {
		page := signedOutPage{}
		for _, delivery := range told {
			page.Told = append(page.Told, p.toldOf(delivery))
		}
		p.page(w, http.StatusOK, "signed-out", page)
		return
	}
	more := url.Values{}
	if request.state != "" {
		more.Set("state", request.state)
	}
	redirect(w, r, request.target, more)
}
