package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// identity is every header that tells an application who somebody is.
func identity() []string {
	return []string{
		"X-Auth-Request-User", "X-Auth-Request-Sub", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username",
		"X-Auth-Request-Groups", "Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "X-Curfew-Session",
	}
}

// spellings are those that an application of the CGI kind takes for name: with
// underscores in the place of any of its hyphens, or of none.
func spellings(name string) []string {
	before, after, found := strings.Cut(name, "-")
	if !found {
		return []string{name}
	}
	var all []string
	for _, rest := range spellings(after) {
		all = append(all, before+"-"+rest, before+"_"+rest)
	}
	return all
}

// dotted are some of the spellings that PHP takes for name beside those.
func dotted(name string) []string {
	last := strings.LastIndexByte(name, '-')
	return []string{
		strings.ReplaceAll(name, "-", "."), strings.Replace(name, "-", ".", 1), name[:last] + "." + name[last+1:],
	}
}

// asCGI is the variable that an application of the CGI kind reads a header from.
func asCGI(name string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// stripsHeaders smuggles, in every spelling and twice.
func (g *guarded) stripsHeaders(t *testing.T) {
	cookie := g.signedIn("ada")
	planted := http.Header{}
	for _, name := range append(identity(), "X-Original-URL") {
		for _, spelling := range append(spellings(name), dotted(name)...) {
			planted[spelling] = []string{"planted", "planted,admins"}
			planted[strings.ToLower(spelling)] = []string{"planted"}
		}
	}
	_, body := g.send(g.request(http.MethodGet, "/", cookie, planted, nil))
	got := map[string][]string{}
	for name, values := range g.seen(body).Header {
		got[asCGI(name)] = append(got[asCGI(name)], values...)
	}
	for name, value := range map[string]string{
		"X-Auth-Request-User": "ada", "X-Auth-Request-Sub": "7f3a91c2", "X-Auth-Request-Email": "ada@example.com",
		"X-Auth-Request-Preferred-Username": "ada", "X-Auth-Request-Groups": "admins,staff",
		"Remote-User": "ada", "Remote-Name": "Ada Lindqvist", "Remote-Email": "ada@example.com", "Remote-Groups": "admins,staff",
		"X-Curfew-Session": g.told(cookie, "session"),
	} {
		if !slices.Equal(got[asCGI(name)], []string{value}) {
			t.Errorf("%s is %q, want %q once", name, got[asCGI(name)], value)
		}
	}
	if strings.Contains(body, "planted") {
		t.Errorf("something that was planted arrived: %s", body)
	}
	g.leavesNothingOfTheUnknown(t, planted)
	g.keepsWhatTheGuardSays(t, cookie)
}

// keepsWhatTheGuardSays: a client names headers that are not to be passed on (RFC
// 9110 section 7.6.1), and means the guard's.
func (g *guarded) keepsWhatTheGuardSays(t *testing.T, cookie *http.Cookie) {
	t.Helper()
	_, body := g.send(g.request(http.MethodGet, "/", cookie, http.Header{"Connection": {strings.Join(identity(), ", ")}}, nil))
	for _, name := range identity() {
		if got := g.seen(body).Header[name]; len(got) != 1 || got[0] == "" {
			t.Errorf("a client has had %s taken out: %q", name, got)
		}
	}
}

// leavesNothingOfTheUnknown: what the guard does not know is no reason to take a
// client's word for it.
func (g *guarded) leavesNothingOfTheUnknown(t *testing.T, planted http.Header) {
	t.Helper()
	_, body := g.send(g.request(http.MethodGet, "/", g.signedIn("noor"), planted, nil))
	for name, values := range g.seen(body).Header {
		if asCGI(name) == "REMOTE_GROUPS" && !slices.Equal(values, []string{""}) {
			t.Errorf("noor is in no group, and %s is %q", name, values)
		}
	}
	if strings.Contains(body, "planted") {
		t.Errorf("something that was planted arrived: %s", body)
	}
}
