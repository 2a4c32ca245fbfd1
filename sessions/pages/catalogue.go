package pages

import (
	"maps"
	"slices"
)

// problem is a text about something that went wrong.
type problem struct {
	Title string
	What  string // what happened
	Do    string // what the person can do
	Link  string // says where the link goes
}

func (t texts) problem(key string) problem {
	return problem{Title: t[key+".title"], What: t[key+".what"], Do: t[key+".do"], Link: t[key+".link"]}
}

// step is where a problem's link leads.
type step int

const (
	stepHome step = iota
	stepLogin
	stepLogout
	stepAgain
)

// steps has every code that Problem has a text for.
var steps = map[string]step{
	"return_refused":       stepHome,
	"return_too_long":      stepHome,
	"provider_unknown":     stepLogin,
	"state_missing":        stepLogin,
	"login_expired":        stepLogin,
	"callback_invalid":     stepLogin,
	"access_denied":        stepLogin,
	"cross_site":           stepLogout,
	"form_invalid":         stepHome,
	"frontchannel_invalid": stepHome,
	"too_many":             stepHome,
	"session_needed":       stepLogin,
	"provider_error":       stepLogin,
	"provider_unreachable": stepLogin,
	"token_invalid":        stepLogin,
	"userinfo_mismatch":    stepLogin,
	"log_unavailable":      stepHome,
	"group_needed":         stepLogout,
	"unsure":               stepAgain,
}

// Codes lists the codes that Problem has a text for, sorted.
func Codes() []string { return slices.Sorted(maps.Keys(steps)) }
