package sessions_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"curfew/sessions"
)

func mustTargets(t testing.TB) sessions.Targets {
	t.Helper()
	public := &url.URL{Scheme: "https", Host: "App.example.com"}
	targets, err := sessions.NewTargets(public, []string{
		"https://docs.example.org", "https://*.example.net/", "https://other.example.org:8443",
		"http://127.0.0.1:8080", "http://[::1]:8080",
	})
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

var goodTargets = []struct{ raw, want string }{
	{"/", "https://app.example.com/"},
	{"/docs/1?x=y", "https://app.example.com/docs/1?x=y"},
	{"/docs/1#part", "https://app.example.com/docs/1#part"},
	{"/a?next=https://evil.com//x", "https://app.example.com/a?next=https://evil.com//x"},
	{"/..//evil.com", "https://app.example.com/..//evil.com"},
	{"/%2F/evil.com", "https://app.example.com/%2F/evil.com"},
	{"/search?q=a b", "https://app.example.com/search?q=a%20b"},
	{"/100%", "https://app.example.com/100%25"},
	{"/50%zz?a=%1", "https://app.example.com/50%25zz?a=%251"},
	{"/größe", "https://app.example.com/gr%C3%B6%C3%9Fe"},
	{`/a"<b>`, "https://app.example.com/a%22%3Cb%3E"},
	{"https://app.example.com", "https://app.example.com/"},
	{"https://app.example.com?x", "https://app.example.com/?x"},
	{"https://app.example.com#x", "https://app.example.com/#x"},
	{"HTTPS://APP.EXAMPLE.COM:443/Path", "https://app.example.com/Path"},
	{"https://docs.example.org/a@b", "https://docs.example.org/a@b"},
	{"https://a.example.net/x", "https://a.example.net/x"},
	{"https://b.a.example.net/", "https://b.a.example.net/"},
	{"https://other.example.org:8443/", "https://other.example.org:8443/"},
	{"http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"},
	{"http://[::1]:8080/x", "http://[::1]:8080/x"},
}

var badTargets = []string{
	"", "docs", "?x=y", "#x", ".", "..",
	"//evil.com", "///evil.com", `/\evil.com`, `\/evil.com`, `\\evil.com`, `/a\b`,
	"/a\tb", "/\t/evil.com", "\t//evil.com", " //evil.com", " https://app.example.com/", "/a\r\nSet-Cookie: x", "/a\x00", "/a\x7f",
	"/\xff", "javascript:alert(1)", "javascript://app.example.com/%0Aalert(1)", "data:text/html,x", "ftp://app.example.com/",
	"https:app.example.com", "https:/app.example.com", "https:///app.example.com", "https://", "https:///",
	"http://app.example.com/", "https://app.example.com:8443/", "https://app.example.com:0443/", "https://app.example.com:/",
	"https://app.example.com:443:443/", "https://app.example.com:99999/",
	"https://evil.com", "https://app.example.com.evil.com/", "https://evilapp.example.com/", "https://app.example.com./",
	"https://user@app.example.com/", "https://app.example.com@evil.com/", "https://app.example.com:x@evil.com/",
	"https://app.example.com%2f@evil.com/", "https://app.example.com%00.evil.com/", "https://ap%70.example.com/",
	`https://app.example.com\@evil.com/`, `https://evil.com\.example.net/`, "https://evil.com#.example.net/", "https://evil.com/.example.net",
	"https://app。example。com/", "https://ａpp.example.com/", "https://app.example.com\u2028/", "https://app.example.com\u00ad/",
	"https://example.net/", "https://.example.net/", "https://a..example.net/", "https://*.example.net/", "https://a.example.net:8443/",
	"https://a b.example.net/", "https://evil.com .example.net/", "https://evil.com?.example.net/",
	"http://127.1:8080/", "http://0x7f.0.0.1:8080/", "http://2130706433:8080/", "http://[::0:1]:8080/", "http://[::1%25lo]:8080/", "http://[::1:8080/",
	"/" + strings.Repeat("a", sessions.MaxTarget), "/" + strings.Repeat("ö", sessions.MaxTarget/3),
}

func TestResolve(t *testing.T) {
	targets := mustTargets(t)
	for _, test := range goodTargets {
		if got, err := targets.Resolve(test.raw); got != test.want || err != nil {
			t.Errorf("Resolve(%q) = %q, %v, want %q", test.raw, got, err, test.want)
		}
	}
	for _, raw := range badTargets {
		if got, err := targets.Resolve(raw); got != "" || err == nil {
			t.Errorf("Resolve(%.80q) = %q, %v, want it refused", raw, got, err)
		}
	}
	if got, err := (sessions.Targets{}).Resolve("/"); err == nil {
		t.Errorf("the zero Targets resolve / to %q", got)
	}
	if got, want := targets.Home(), "https://app.example.com/"; got != want {
		t.Errorf("Home() = %q, want %q", got, want)
	}
	if got := (sessions.Targets{}).Home(); got != "" {
		t.Errorf("the zero Targets are at home at %q", got)
	}
}

func TestNewTargetsRefuses(t *testing.T) {
	public := &url.URL{Scheme: "https", Host: "app.example.com"}
	bad := []string{
		"", "app.example.com", "ftp://a.example.com", "https://", "https://a.example.com/path", "https://a.example.com?x",
		"https://u@a.example.com", "https://*", "https://*.", "https://*.com", "https://*.localhost:8443", "https://*.*.example.com", "https://a*.example.com", "https://*.0.0.1",
		"https://a.example.com:0", "https://a.example.com:x", "https://grün.example.com", "https://a.example.com.", "https://1.2.3",
	}
	for _, entry := range bad {
		if _, err := sessions.NewTargets(public, []string{entry}); err == nil {
			t.Errorf("return origin %q is taken", entry)
		}
	}
	_, err := sessions.NewTargets(public, bad[1:3])
	for _, entry := range bad[1:3] {
		if err == nil || !strings.Contains(err.Error(), entry) {
			t.Errorf("the error does not name %q: %v", entry, err)
		}
	}
	for _, host := range []string{"", "*.example.com", "grün.example.com"} {
		if _, err := sessions.NewTargets(&url.URL{Scheme: "https", Host: host}, nil); err == nil {
			t.Errorf("public host %q is taken", host)
		}
	}
}

func TestResolveTellsTooLong(t *testing.T) {
	targets := mustTargets(t)
	for raw, want := range map[string]error{
		"/" + strings.Repeat("a", sessions.MaxTarget):                                 sessions.ErrTargetLong,
		"/" + strings.Repeat("a", sessions.MaxTarget-10):                              sessions.ErrTargetLong,
		"/" + strings.Repeat("ö", sessions.MaxTarget/3):                               sessions.ErrTargetLong,
		"https://app.example.com/" + strings.Repeat("a", sessions.MaxTarget-24):       nil,
		"https://app.example.com/" + strings.Repeat("a", sessions.MaxTarget-24) + "a": sessions.ErrTargetLong,
		"https://evil.com/": sessions.ErrTarget,
	} {
		if _, err := targets.Resolve(raw); !errors.Is(err, want) {
			t.Errorf("Resolve(%.40q…), %d bytes: %v, want %v", raw, len(raw), err, want)
		}
	}
}

func TestAskedPage(t *testing.T) {
	long := strings.Repeat("a", sessions.MaxTarget)
	for _, test := range []struct{ original, proto, host, uri, want string }{
		{"", "", "", "", ""},
		{"https://a.example.com/x?y=1&z=2", "", "", "", "https://a.example.com/x?y=1&z=2"},
		{"https://a.example.com/x", "https", "b.example.com", "/y", "https://a.example.com/x"},
		{"", "https", "b.example.com", "/y?a=b&c=d", "https://b.example.com/y?a=b&c=d"},
		{"", "https", "b.example.com", "", ""},
		{"", "https", "b.example.com", "@evil.com/", ""},
		{"", "", "b.example.com", "/y", ""},
		{"", "https, http", "b.example.com, inner:8080", "/y?a=1,2", "https://b.example.com/y?a=1,2"},
		{"", " ,http", "b.example.com", "/y", ""},
		{"", "https", "", "/y", ""},
		{"https://a.example.com/x?" + long, "", "", "", "https://a.example.com/x"},
		{"https://a.example.com?" + long, "", "", "", "https://a.example.com"},
		{"https://a.example.com/x?" + strings.Repeat("ö", sessions.MaxTarget/3), "", "", "", "https://a.example.com/x"},
		{"https://A.example.com:8443/" + long + "?y", "", "", "", "https://a.example.com:8443/"},
		{"/x?" + long, "", "", "", "/x"},
		{"/x?" + long[:sessions.MaxTarget-100], "", "", "", "/x"}, // too long with an origin in front
		{"/" + long, "", "", "", ""},
		{"", "https", "b.example.com", "/y?" + long, "https://b.example.com/y"},
		{"", "https", "b.example.com", "/" + long, "https://b.example.com/"},
		{"", "https", "b.example.com@evil.com", "/" + long, ""},
	} {
		header := http.Header{}
		header.Set("X-Original-Url", test.original)
		header.Set("X-Forwarded-Proto", test.proto)
		header.Set("X-Forwarded-Host", test.host)
		header.Set("X-Forwarded-Uri", test.uri)
		if got := sessions.AskedPage(header.Get); got != test.want {
			t.Errorf("AskedPage(%v) = %q, want %q", header, got, test.want)
		}
	}
}

// browserOrigin reads a URL as the WHATWG standard has browsers do it, as far
// as the origin goes and with everything odd read in the worst way.
func browserOrigin(raw string) string {
	raw = strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(raw)
	scheme, rest, _ := strings.Cut(raw, ":")
	rest = strings.TrimLeft(rest, "/")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if unescaped, err := url.PathUnescape(rest); err == nil {
		rest = unescaped
	}
	return strings.ToLower(scheme + "://" + rest)
}

func allowedOrigin(at string) bool {
	switch at {
	case "https://app.example.com", "https://docs.example.org", "https://other.example.org:8443",
		"http://127.0.0.1:8080", "http://[::1]:8080":
		return true
	}
	name, below := strings.CutSuffix(at, ".example.net")
	label, secure := strings.CutPrefix(name, "https://")
	return below && secure && label != "" && !strings.ContainsAny(label, "/\\@:?#% ")
}

func FuzzResolve(f *testing.F) {
	for _, test := range goodTargets {
		f.Add(test.raw)
	}
	for _, raw := range badTargets {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		targets := mustTargets(t)
		target, err := targets.Resolve(raw)
		if err != nil {
			return
		}
		parsed, err := url.Parse(target)
		if err != nil {
			t.Fatalf("Resolve(%q) = %q: %v", raw, target, err)
		}
		if parsed.User != nil || !allowedOrigin(parsed.Scheme+"://"+parsed.Host) {
			t.Errorf("Resolve(%q) = %q, which net/url reads as one of %s", raw, target, parsed.Host)
		}
		if at := browserOrigin(target); !allowedOrigin(at) {
			t.Errorf("Resolve(%q) = %q, which a browser reads as one of %s", raw, target, at)
		}
		if len(target) > sessions.MaxTarget || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("Resolve(%q) = %q, which no header should hold", raw, target)
		}
		if again, err := targets.Resolve(target); again != target || err != nil {
			t.Errorf("Resolve(%q) = %q, which itself gives %q, %v", raw, target, again, err)
		}
	})
}
