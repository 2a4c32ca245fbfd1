package rp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
)

// Code names what went wrong, for the page that a person sees.
type Code string

// The codes.
const (
	// ReturnRefused: the page to return to is not of an allowed origin.
	ReturnRefused Code = "return_refused"
	// ReturnTooLong: the page to return to does not fit into a cookie.
	ReturnTooLong Code = "return_too_long"
	// ProviderUnknown: the login is to begin at an OP that is none of ours.
	ProviderUnknown Code = "provider_unknown"
	// StateMissing: this browser has begun no such login, or has lost the
	// cookie.
	StateMissing Code = "state_missing"
	// LoginExpired: the login was begun too long ago.
	LoginExpired Code = "login_expired"
	// CallbackInvalid: the OP's answer is not one to what was asked.
	CallbackInvalid Code = "callback_invalid"
	// FrontchannelInvalid: an OP asks for a logout and does not say of what.
	FrontchannelInvalid Code = "frontchannel_invalid"
	// TooMany: more was asked than is done in so short a time.
	TooMany Code = "too_many"
	// FormInvalid: a form of ours came back as none.
	FormInvalid Code = "form_invalid"
	// SessionNeeded: the page is for those who are signed in.
	SessionNeeded Code = "session_needed"
	// AccessDenied: the OP, or its user, said no.
	AccessDenied Code = "access_denied"
	// CrossSite: another site's page asked for the logout.
	CrossSite Code = "cross_site"
	// ProviderError: the OP answered with an error.
	ProviderError Code = "provider_error"
	// ProviderUnreachable: the OP did not answer.
	ProviderUnreachable Code = "provider_unreachable"
	// TokenInvalid: the OP's ID token is not to be believed, or does not say
	// enough.
	TokenInvalid Code = "token_invalid"
	// UserinfoMismatch: userinfo is about another user than the ID token.
	UserinfoMismatch Code = "userinfo_mismatch"
	// LogUnavailable: the log does not answer, or not in time.
	LogUnavailable Code = "log_unavailable"
)

// Codes lists every code there is.
func Codes() []Code {
	return []Code{
		ReturnRefused, ReturnTooLong, ProviderUnknown, StateMissing, LoginExpired, CallbackInvalid, FrontchannelInvalid, TooMany, FormInvalid,
		SessionNeeded, AccessDenied, CrossSite,
		ProviderError, ProviderUnreachable, TokenInvalid, UserinfoMismatch, LogUnavailable,
	}
}

// Status is the HTTP status that a code is shown with.
func (c Code) Status() int {
	switch c {
	case ReturnRefused, ReturnTooLong, ProviderUnknown, StateMissing, LoginExpired, CallbackInvalid, FrontchannelInvalid, FormInvalid:
		return http.StatusBadRequest
	case TooMany:
		return http.StatusTooManyRequests
	case SessionNeeded:
		return http.StatusUnauthorized
	case AccessDenied, CrossSite:
		return http.StatusForbidden
	case LogUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadGateway
	}
}

// fault is a request that comes to nothing: the code is for the person, the
// cause for the operator. A cause holds no token, code or secret.
type fault struct {
	code  Code
	cause error
}

// saidError is an error that the OP has given a name (RFC 6749 sections 4.1.2.1
// and 5.2).
type saidError struct {
	error
	name string
}

func (e *saidError) Unwrap() error { return e.error }

// remedy is what an operator can change where a fault comes again and again;
// empty where that is nothing.
func (f *fault) remedy() string {
	if said, ok := errors.AsType[*saidError](f.cause); ok {
		if remedy := remedyFor(said.name); remedy != "" {
			return remedy
		}
	}
	switch f.code {
	case ReturnRefused:
		return "if people are to return there, add the origin to CURFEW_RETURN_TO"
	case ProviderUnknown:
		return "mend the link, or give a provider of the list that name"
	case StateMissing:
		return "if it is everybody: CURFEW_PUBLIC_URL must be what browsers see, the proxy must pass cookies on, and all replicas must have the same OIDC_TOKEN_ENCRYPTION_KEY"
	case CallbackInvalid:
		return "hold OIDC_REDIRECT_URI against what the client has at the provider"
	case FrontchannelInvalid:
		return "have the provider send sid and iss with its front-channel logout"
	case TooMany:
		return "see whether somebody tries sids that they have made up: in the proxy's log, by the address"
	case CrossSite:
		return "let the page that signs people out be of the origin of CURFEW_PUBLIC_URL, and send its Referrer"
	case ProviderUnreachable:
		return "see that this machine reaches the provider: name, route, proxy, certificate"
	case TokenInvalid:
		return "hold OIDC_CLIENT_ID, OIDC_SIGNING_ALGS and OIDC_USERNAME_CLAIM against the client at the provider, and this machine's clock against its"
	case UserinfoMismatch:
		return "tell the provider, or set OIDC_CLAIM_SOURCE=id_token"
	case LogUnavailable:
		return "see /readyz on the admin listener, and the NATS servers"
	default:
		return ""
	}
}

// remedyFor tells of an error's name what it mostly means that an operator has to
// change.
func remedyFor(name string) string {
	switch name {
	case "invalid_client":
		return "hold OIDC_CLIENT_ID, OIDC_CLIENT_SECRET and OIDC_CLIENT_AUTH against the client at the provider"
	case "unauthorized_client", "unsupported_response_type", "unsupported_grant_type":
		return "allow the client the authorization code flow, and refresh tokens, at the provider"
	case "invalid_scope":
		return "leave out of OIDC_SCOPES what the provider does not know, or does not allow the client"
	case "invalid_request", "invalid_grant", "redirect_uri_mismatch":
		return "hold OIDC_REDIRECT_URI against what the client has at the provider, and see that the client may use PKCE with S256"
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return "leave prompt=none out of OIDC_AUTH_PARAMS"
	default:
		return ""
	}
}

func faultf(code Code, format string, args ...any) *fault {
	return &fault{code, fmt.Errorf(format, args...)}
}

// refuse shows a fault to the person and tells the operator its cause, both
// under one reference.
func (p *Party) refuse(w http.ResponseWriter, r *http.Request, f *fault) {
	reference := rand.Text()[:10]
	status := f.code.Status()
	attributes := []any{"code", string(f.code), "status", status, "reference", reference, "cause", f.cause.Error()}
	if remedy := f.remedy(); remedy != "" {
		attributes = append(attributes, "remedy", remedy)
	}
	p.Logger.WarnContext(r.Context(), "sign-in or sign-out came to nothing", attributes...)
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	p.Pages.Problem(w, r, status, string(f.code), reference)
}
