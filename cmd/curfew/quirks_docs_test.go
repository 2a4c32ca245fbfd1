package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const providersPage = "../../docs/providers.md"

// providerSections are the sections of docs/providers.md by their headings.
func providerSections(t *testing.T) (page string, sections map[string]string) {
	t.Helper()
	data, err := os.ReadFile(providersPage)
	if err != nil {
		t.Fatal(err)
	}
	sections = map[string]string{}
	for _, section := range strings.Split(string(data), "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		sections[heading] = text
	}
	return string(data), sections
}

// What a test has shown to work for a provider is what its section says to set.
func TestEveryShapeHasASection(t *testing.T) {
	_, sections := providerSections(t)
	for file, s := range readShapes(t) {
		text, there := sections[s.Provider]
		if !there {
			t.Errorf("%s: docs/providers.md has no section %q", file, s.Provider)
			continue
		}
		for name, value := range s.Settings {
			if !strings.Contains(text, name+"="+value) && !strings.Contains(text, name+`="`+value+`"`) {
				t.Errorf("%s: the section %q does not say %s=%q", file, s.Provider, name, value)
			}
		}
		if len(s.LogoutTokens) == 0 && !strings.Contains(text, "(#without-a-back-channel)") {
			t.Errorf("%s: the section %q does not say that no logout comes", file, s.Provider)
		}
	}
}

// A section says what to set as the issuer, since when, what does not work, and
// where that is from.
func TestProviderSectionsAreWhole(t *testing.T) {
	_, sections := providerSections(t)
	for heading, text := range sections {
		if heading == "Without a back channel" {
			continue
		}
		for _, part := range []string{"\nOIDC_ENDPOINT=", "**Since:**", "**Limits:**", "**Sources:**"} {
			// Keycloak is run by a test of its own, which says more than these.
			if heading != "Keycloak" && !strings.Contains(text, part) {
				t.Errorf("docs/providers.md: the section %q has no %q", heading, part)
			}
		}
		if heading != "Keycloak" && !strings.Contains(text, "](https://") {
			t.Errorf("docs/providers.md: the section %q links to no source", heading)
		}
	}
}

func TestProvidersPageNamesSettingsThatAreThere(t *testing.T) {
	page, sections := providerSections(t)
	var known []string
	for _, s := range settings() {
		known = append(known, s.names()...)
	}
	for _, name := range regexp.MustCompile(`\b(?:OIDC|CURFEW)_[A-Z_]+\b`).FindAllString(page, -1) {
		if !slices.Contains(known, name) {
			t.Errorf("docs/providers.md names %s, which cannot be set", name)
		}
	}
	for _, match := range regexp.MustCompile(`\]\(#([a-z0-9-]+)\)`).FindAllStringSubmatch(page, -1) {
		if !slices.ContainsFunc(headings(sections), func(heading string) bool { return anchor(heading) == match[1] }) {
			t.Errorf("docs/providers.md links to #%s, which is not there", match[1])
		}
	}
}

func headings(sections map[string]string) []string {
	all := make([]string, 0, len(sections))
	for heading := range sections {
		all = append(all, heading)
	}
	return all
}

// anchor is what a heading is linked to by.
func anchor(heading string) string {
	kept := strings.Map(func(c rune) rune {
		if c == ' ' || c == '-' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, strings.ToLower(heading))
	return strings.ReplaceAll(kept, " ", "-")
}
