package rp

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"curfew/events"
)

// Callback takes the OP's answer to a login (GET) and finishes it: the user is
// signed in and goes on to the page they wanted, or is told what went wrong.
func (p *Party) Callback(w http.ResponseWriter, r *http.Request) {
	if onlyGet(w, r) {
		return
	}
	if f := p.finish(w, r); f != nil {
		p.refuse(w, r, f)
	}
}

func (p *Party) finish(w http.ResponseWriter, r *http.Request) *fault {
	answer, f := readCallback(r.URL.RawQuery)
	if f != nil {
		return f
	}
	login, f := p.login(r, answer.Get("state"))
	if f != nil {
		return p.spent(w, r, login, f)
	}
	client := p.client(login.Issuer)
	metadata, known := client.Provider.Metadata()
	if !known {
		return faultf(ProviderUnreachable, "there is no discovery document from the OP yet")
	}
	if f := p.checkDoor(r.PathValue("provider"), client, answer); f != nil {
		return f
	}
	if f := checkAnswer(answer, metadata); f != nil {
		if f.code != CallbackInvalid {
			p.clear(w, p.loginName(login.State))
		}
		return f
	}
	// A log that is away is found out before the code is spent: the same URL
	// works once it is back.
	end, err := p.position(r.Context())
	if err != nil {
		return &fault{LogUnavailable, err}
	}
	p.clear(w, p.loginName(login.State))
	if begun := login.mark().Log; begun != (events.LogID{}) && begun != end.Log {
		// What has been lost with it may be a logout that covered this login.
		return faultf(LoginExpired, "the log in which the login began, %s, has been lost since", begun)
	}
	user, f := client.identify(r.Context(), metadata, login, answer.Get("code"))
	if f != nil {
		return f
	}
	return p.start(w, r, login, user, end.Log)
}

// spent answers for a callback whose login is over or was never begun here. It
// is mostly somebody who went back or reloaded, and is signed in already: they
// are sent on rather than told off.
func (p *Party) spent(w http.ResponseWriter, r *http.Request, login transaction, f *fault) *fault {
	if !p.signedIn(r) {
		return f
	}
	target := login.Target
	if target == "" {
		target = p.Targets.Home()
	}
	redirect(w, r, target, http.StatusFound)
	return nil
}

// readCallback reads the OP's answer. A parameter of the protocol's that is
// there twice is refused (RFC 6749 section 3.1): which one counts could be told
// differently elsewhere.
func readCallback(query string) (url.Values, *fault) {
	answer, err := url.ParseQuery(query)
	if err != nil {
		return nil, faultf(CallbackInvalid, "the answer's query string is malformed")
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description"} {
		if len(answer[name]) > 1 {
			return nil, faultf(CallbackInvalid, "the answer has the parameter %s %d times", name, len(answer[name]))
		}
	}
	return answer, nil
}

// checkAnswer finds out whether the OP, and no other, answers with a code. The
// issuer is checked first, since an error may come from elsewhere too (RFC 9207
// section 2.4).
func checkAnswer(answer url.Values, metadata Metadata) *fault {
	issuer, failure := answer.Get("iss"), answer.Get("error")
	switch {
	case answer.Has("iss") && issuer != metadata.Issuer:
		return faultf(CallbackInvalid, "the answer is from the issuer %q", printable(issuer))
	case !answer.Has("iss") && metadata.IssParameter:
		return faultf(CallbackInvalid, "the answer has no iss, which the OP says it always has")
	case failure == "access_denied":
		return faultf(AccessDenied, "the OP answers access_denied: %q", printable(answer.Get("error_description")))
	case failure != "":
		return &fault{ProviderError, &saidError{fmt.Errorf("the OP answers %q: %q", printable(failure), printable(answer.Get("error_description"))), failure}}
	case answer.Get("code") == "":
		return faultf(CallbackInvalid, "the answer has neither a code nor an error")
	}
	return nil
}

// checkDoor refuses an answer that has come to another OP's address than the one
// the login was begun at: an OP that hands out what is another's would have us
// give it the other's code. Either each OP has a redirect URI of its own, which
// ends in its name, or its answer says whose it is (RFC 9700 section 4.4.2).
func (p *Party) checkDoor(name string, client *Client, answer url.Values) *fault {
	switch {
	case name != "" && name != client.Name:
		return faultf(CallbackInvalid, "the login was begun at the provider %q, and the answer came to the address of %q", client.Name, printable(name))
	case name == "" && len(p.Clients) > 1 && !answer.Has("iss"):
		return faultf(CallbackInvalid, "which provider answers cannot be told: give %q a redirect URI of its own, which ends in /callback/%s", client.Name, client.Name)
	}
	return nil
}

// maxPrintable is how much of a foreign text is worth keeping, in bytes.
const maxPrintable = 256

// printable makes a foreign text fit for a log line or an event: short, valid
// UTF-8, without control characters.
func printable(text string) string {
	if len(text) > maxPrintable {
		text = text[:maxPrintable]
	}
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			return -1
		}
		return c
	}, text)
}
