package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

// readYAML reads a file of deploy/ into a structure that has a place for all of it.
func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	members, err := yaml.Parser().Unmarshal([]byte(shipped(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// traefikDynamic is as much of Traefik's dynamic configuration as is used.
type traefikDynamic struct {
	HTTP struct {
		Routers map[string]struct {
			Rule, Service            string
			Priority                 int
			EntryPoints, Middlewares []string
			TLS                      struct{ CertResolver string }
		}
		Middlewares map[string]struct {
			Headers     *struct{ CustomRequestHeaders map[string]string }
			ForwardAuth *struct {
				Address                                 string
				AuthRequestHeaders, AuthResponseHeaders []string
			}
		}
		Services map[string]struct {
			LoadBalancer struct{ Servers []struct{ URL string } }
		}
	}
}

// traefikStatic is as much of Traefik's static configuration as is used.
type traefikStatic struct {
	EntryPoints map[string]struct {
		Address string
		HTTP    struct {
			Redirections struct{ EntryPoint struct{ To, Scheme string } }
		}
	}
	Providers struct {
		File struct {
			Filename string
			Watch    bool
		}
	}
	CertificatesResolvers map[string]struct {
		ACME struct {
			Email, Storage string
			HTTPChallenge  struct{ EntryPoint string }
		}
	}
}

func TestDeployTraefikStructure(t *testing.T) {
	var static traefikStatic
	readYAML(t, "traefik/static.yaml", &static)
	var dynamic traefikDynamic
	readYAML(t, "traefik/dynamic.yaml", &dynamic)
	http := dynamic.HTTP
	strip, ask := http.Middlewares["curfew-strip"].Headers, http.Middlewares["curfew"].ForwardAuth
	if strip == nil || ask == nil {
		t.Fatal("curfew-strip is no headers, or curfew no forwardAuth")
	}
	for _, name := range append(identity(), "X-Original-URL") {
		for _, spelling := range spellings(name) {
			if value, there := strip.CustomRequestHeaders[spelling]; !there || value != "" {
				t.Errorf("%s is not stripped", spelling)
			}
		}
	}
	wantSame(t, "authResponseHeaders", ask.AuthResponseHeaders, identity())
	wantSame(t, "authRequestHeaders", ask.AuthRequestHeaders, []string{"Cookie", "Accept", "Sec-Fetch-Mode", "X-Requested-With", "Accept-Language"})
	if ask.Address != "http://127.0.0.1:4180/auth/forward" {
		t.Errorf("the question goes to %s", ask.Address)
	}
	own, app := http.Routers["curfew"], http.Routers["app"]
	if !slices.Equal(app.Middlewares, []string{"curfew-strip", "curfew"}) || !slices.Equal(own.Middlewares, []string{"curfew-strip"}) {
		t.Errorf("middlewares are %q and %q", app.Middlewares, own.Middlewares)
	}
	if own.Priority <= app.Priority || !strings.Contains(own.Rule, "PathPrefix(`/auth/`)") {
		t.Error("curfew's own pages are not first")
	}
	for name, router := range http.Routers {
		if _, there := http.Services[router.Service]; !there {
			t.Errorf("router %s leads to no service", name)
		}
		if _, there := static.CertificatesResolvers[router.TLS.CertResolver]; !there {
			t.Errorf("router %s has no certificate", name)
		}
		for _, point := range router.EntryPoints {
			if _, there := static.EntryPoints[point]; !there {
				t.Errorf("router %s has no entry point %s", name, point)
			}
		}
	}
}

// at is what stands at a path in a document; numbers count in lists.
func at(t *testing.T, document any, path ...any) any {
	t.Helper()
	for _, step := range path {
		var next any
		switch step := step.(type) {
		case string:
			members, _ := document.(map[string]any)
			next = members[step]
		case int:
			list, _ := document.([]any)
			if step < len(list) {
				next = list[step]
			}
		}
		if next == nil {
			t.Fatalf("there is nothing at %v of %v", step, path)
		}
		document = next
	}
	return document
}

// each is what stands at key in every member of a list that has it.
func each(t *testing.T, list any, key string) (found []string) {
	t.Helper()
	members, _ := list.([]any)
	for _, member := range members {
		if text, is := member.(map[string]any)[key].(string); is {
			found = append(found, text)
		}
	}
	return found
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(sortedLower(got), sortedLower(want)) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}

func sortedLower(names []string) []string {
	lower := make([]string, len(names))
	for i, name := range names {
		lower[i] = strings.ToLower(name)
	}
	slices.Sort(lower)
	return lower
}

// TestDeployEnvoyStructure looks at what Envoy itself would take either way.
func TestDeployEnvoyStructure(t *testing.T) {
	var document any
	readYAML(t, "envoy/envoy.yaml", &document)
	manager := at(t, document, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")
	filters := at(t, manager, "http_filters")
	order := []string{"envoy.filters.http.header_mutation", "envoy.filters.http.ext_authz", "envoy.filters.http.router"}
	if got := each(t, filters, "name"); !slices.Equal(got, order) {
		t.Fatalf("filters are %q, want %q", got, order)
	}
	removed := each(t, at(t, filters, 0, "typed_config", "mutations", "request_mutations"), "remove")
	for _, name := range identity() {
		if !slices.Contains(removed, strings.ToLower(name)) {
			t.Errorf("%s is not stripped", name)
		}
	}
	ask := at(t, filters, 1, "typed_config")
	told := at(t, ask, "http_service", "authorization_response", "allowed_upstream_headers", "patterns")
	wantSame(t, "headers from the guard", each(t, told, "exact"), identity())
	wantSame(t, "headers to the guard", each(t, at(t, ask, "allowed_headers", "patterns"), "exact"),
		[]string{"Cookie", "Accept", "Accept-Language", "Sec-Fetch-Mode", "X-Requested-With", "X-Original-URL"})
	back := at(t, ask, "http_service", "authorization_response", "allowed_client_headers", "patterns")
	wantSame(t, "headers to the client", each(t, back, "exact"), []string{
		"Location", "Cache-Control", "Retry-After", "Content-Type", "Content-Language", "Content-Security-Policy",
		"Referrer-Policy", "Vary", "X-Content-Type-Options", "X-Curfew-Reason",
	})
	routes := at(t, manager, "route_config", "virtual_hosts", 0, "routes")
	for _, fact := range []struct {
		path []any
		from any
		want any
	}{
		{[]any{"common_http_protocol_options", "headers_with_underscores_action"}, manager, "DROP_HEADER"},
		{[]any{"use_remote_address"}, manager, true},
		{[]any{"failure_mode_allow"}, ask, false},
		{[]any{"status_on_error", "code"}, ask, "ServiceUnavailable"},
		{[]any{"http_service", "path_override"}, ask, "/auth/forward"},
		{[]any{0, "match", "prefix"}, routes, "/auth/"},
		{[]any{1, "match", "prefix"}, routes, "/"},
		{[]any{0, "typed_per_filter_config", "envoy.filters.http.ext_authz", "disabled"}, routes, true},
	} {
		if got := at(t, fact.from, fact.path...); !reflect.DeepEqual(got, fact.want) {
			t.Errorf("%v is %v, want %v", fact.path, got, fact.want)
		}
	}
	if app, _ := at(t, routes, 1).(map[string]any); app["typed_per_filter_config"] != nil {
		t.Error("the application's route has the question settled for itself")
	}
}
