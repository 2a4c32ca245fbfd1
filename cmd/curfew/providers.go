package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ownSettings are those that each provider has for itself. What else is said of
// providers may be said once for all of them.
func ownSettings() []string {
	return []string{"OIDC_ENDPOINT", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_REDIRECT_URI"}
}

// withoutOwn has nobody miss what stands in the list of providers.
func withoutOwn(list []setting) []setting {
	for i := range list {
		if slices.Contains(ownSettings(), list[i].name) {
			list[i].required = false
		}
	}
	return list
}

// entrySettings are those that an entry in the list of providers may have. What
// it leaves out is as it is for all.
func entrySettings() []setting {
	list := slices.DeleteFunc(providerSettings(), func(s setting) bool { return s.name == "OIDC_TOKEN_ENCRYPTION_KEY" })
	for i := range list {
		list[i].value = ""
	}
	return append([]setting{
		{name: "NAME", required: true, set: providerName,
			help: "what the provider is called in URLs, such as staff"},
		{name: "TITLE", set: providerTitle, help: "what people choose the provider by (default: the name)"},
	}, list...)
}

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func providerName(c *config, text string) error {
	c.name = text
	if !goodName.MatchString(text) {
		return fmt.Errorf("%q is no name like staff: at most 32 small letters, digits and hyphens", text)
	}
	return nil
}

func providerTitle(c *config, text string) error {
	c.title = text
	if len(text) > 80 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return errors.New("want one line of at most 80 bytes")
	}
	return nil
}

// readProviders takes the list of providers for what it is. It is never nil.
func (from sources) readProviders(value any, faults *configError) []map[string]any {
	entries := []map[string]any{}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		faults.add(listOfProviders, fmt.Errorf("%s: want a list of providers, each with a name and its OIDC_ settings", from.file))
		return entries
	}
	for i, value := range list {
		raw, ok := value.(map[string]any)
		if !ok {
			faults.add(listOfProviders, fmt.Errorf("%s: number %d is not a provider with a name and its OIDC_ settings", from.file, i+1))
			continue
		}
		entries = append(entries, raw)
	}
	return entries
}

// applyProviders sets the providers: those in the file's list, or the one that
// the settings themselves describe.
func (from sources) applyProviders(doc document, c *config, faults *configError) {
	if doc.providers == nil {
		c.providers = []providerConfig{c.providerConfig}
		return
	}
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"OIDC_ENDPOINT", c.issuer != ""}, {"OIDC_CLIENT_ID", c.clientID != ""},
		{"OIDC_CLIENT_SECRET", c.clientSecret != ""}, {"OIDC_REDIRECT_URI", c.redirectURI != nil},
	} {
		if s.set {
			faults.add(s.name, fmt.Errorf("is set beside a list of providers in %s: say it in the list, for each provider", from.file))
		}
	}
	for i, raw := range doc.providers {
		p := from.readProvider(i, raw, c, faults)
		for _, other := range c.providers {
			if err := p.tellApart(other); err != nil {
				faults.add(listOfProviders, fmt.Errorf("%s: %w", from.file, err))
			}
		}
		c.providers = append(c.providers, p)
	}
}

// readProvider reads one entry of the list, over what is so for all of them.
func (from sources) readProvider(i int, raw map[string]any, c *config, faults *configError) providerConfig {
	called := providerConfig{name: nameIn(raw)}
	if called.name == "" || slices.ContainsFunc(c.providers, func(p providerConfig) bool { return p.name == called.name }) {
		called.name = fmt.Sprintf("number %d", i+1)
	}
	place, list := called.in(""), entrySettings()
	layer := from.readSettings(raw, list, place, faults)
	before := configError{faults: slices.Clone(faults.faults)}
	inner := new(configError)
	values := sources{env: func(string) (string, bool) { return "", false }}.merge(list, layer, inner)
	scratch := config{providerConfig: c.providerConfig}
	set(list, values, &scratch, inner)
	for _, fault := range inner.faults {
		// What is there and wrong is not missing too.
		if name, _, _ := strings.Cut(fault, ": "); !before.has(place + name) {
			faults.faults = append(faults.faults, place+fault)
		}
	}
	if scratch.name == "" {
		scratch.name = called.name
	}
	return scratch.providerConfig
}

// nameIn is the name in an entry, if there is one to tell.
func nameIn(raw map[string]any) (name string) {
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if text, ok := raw[key].(string); ok && strings.EqualFold(key, "name") {
			name = text
		}
	}
	return name
}

// tellApart names what two providers have in common that must tell them apart.
func (p *providerConfig) tellApart(other providerConfig) error {
	switch {
	case p.name == other.name:
		return fmt.Errorf("two providers have the name %q", p.name)
	case p.title != "" && p.title == other.title:
		return fmt.Errorf("%s and %s have the same TITLE, by which people choose", other.name, p.name)
	case p.issuer != "" && p.issuer == other.issuer:
		return fmt.Errorf("%s and %s have the same OIDC_ENDPOINT, by which their logout tokens are told apart", other.name, p.name)
	default:
		return nil
	}
}

// checkCallback finds a redirect URI that leads to another provider's callback,
// where this one's answers are refused.
func (p *providerConfig) checkCallback(public string, faults *configError) {
	name, below := strings.CutPrefix(p.redirectURI.String(), public+"/")
	if below && name != p.name {
		faults.add(p.in("OIDC_REDIRECT_URI"), fmt.Errorf("%s is the callback of a provider %q: leave it out, or let it end in /callback/%s", p.redirectURI, name, p.name))
	}
}

// sharesCallback reports whether a provider of several returns people to an
// address that may be others' too.
func (p *providerConfig) sharesCallback() bool {
	return !strings.HasSuffix(p.redirectURI.Path, "/callback/"+p.name)
}
