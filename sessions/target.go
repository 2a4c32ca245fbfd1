package sessions

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Targets are the origins that a login may return to. The zero value allows
// none.
type Targets struct {
	public  origin
	allowed []origin
}

// origin is a place on the web, in the form that a browser shows it in: lower
// case, without the scheme's default port.
type origin struct {
	scheme string
	host   string // for a wildcard, what follows "*"; its dot included
	port   string // with its colon; empty for the scheme's default
	wild   bool   // host stands for every name below it
}

// NewTargets allows the origin of public, which is where a path alone leads,
// and the origins in more: "https://app.example.com", or
// "https://*.example.com" for every name below example.com, itself not
// included. Whether others may register names there, as below co.uk, is not
// checked. It names every entry it does not take. Of public only the origin
// is looked at.
func NewTargets(public *url.URL, more []string) (Targets, error) {
	var t Targets
	var err error
	if t.public, err = parseOrigin(public.Scheme + "://" + public.Host); err != nil {
		return Targets{}, fmt.Errorf("sessions: public URL %q: %w", public.Redacted(), err)
	}
	if t.public.wild {
		return Targets{}, fmt.Errorf("sessions: public URL %q: %w", public.Redacted(), errWildPublic)
	}
	t.allowed = append(t.allowed, t.public)
	var faults []error
	for _, entry := range more {
		allowed, err := parseOrigin(strings.TrimSuffix(entry, "/"))
		if err != nil {
			faults = append(faults, fmt.Errorf("sessions: return origin %q: %w", entry, err))
			continue
		}
		t.allowed = append(t.allowed, allowed)
	}
	if err := errors.Join(faults...); err != nil {
		return Targets{}, err
	}
	return t, nil
}

var (
	errWildPublic = errors.New("a wildcard is no place to be seen at")
	errOrigin     = errors.New("want an origin such as https://app.example.com or https://*.example.com, without a path")
	errScheme     = errors.New("want https:// or http:// in front")
	errHost       = errors.New("want a host name in ASCII (an international one as xn--...), an IPv4 address or an IPv6 address in brackets")
	errPort       = errors.New("want a port from 1 to 65535 without leading zeros")
	errWildcard   = errors.New("want a name with a dot in it after *. and no other *")
)

// parseOrigin reads an origin. It is a parser of its own and stricter than
// net/url, so that no browser can read another host out of what it takes.
func parseOrigin(text string) (origin, error) {
	scheme, authority, found := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !found || scheme != "https" && scheme != "http" {
		return origin{}, errScheme
	}
	if strings.ContainsAny(authority, "/?#") {
		return origin{}, errOrigin
	}
	host, port := cutPort(strings.ToLower(authority))
	switch {
	case port == ":443" && scheme == "https", port == ":80" && scheme == "http":
		port = ""
	case port != "" && !isPort(port[1:]):
		return origin{}, errPort
	}
	o := origin{scheme: scheme, host: host, port: port}
	if name, wild := strings.CutPrefix(host, "*."); wild {
		// Below a name without a dot is all that anybody can register there.
		if !isName(name) || isNumeric(name) || !strings.Contains(name, ".") {
			return origin{}, errWildcard
		}
		o.host, o.wild = "."+name, true
		return o, nil
	}
	if !isHost(host) {
		return origin{}, errHost
	}
	return o, nil
}

// cutPort cuts at the colon after the host; those of an IPv6 address are inside
// its brackets.
func cutPort(authority string) (host, port string) {
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		return authority[:i], authority[i:]
	}
	return authority, ""
}

func isPort(text string) bool {
	if text == "" || len(text) > 5 || text[0] == '0' {
		return false
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

// isHost takes names, and addresses in the one spelling that browsers show.
func isHost(host string) bool {
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		bare, bracketed = strings.CutSuffix(bare, "]")
		address, err := netip.ParseAddr(bare)
		return bracketed && err == nil && address.Is6() && address.Zone() == "" && address.String() == bare
	}
	if isNumeric(host) {
		address, err := netip.ParseAddr(host)
		return err == nil && address.Is4()
	}
	return isName(host)
}

// isNumeric reports whether browsers would try to read name as an IPv4 address:
// they do if its last label is a number, hexadecimal ones included.
func isNumeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last != "" && last[0] >= '0' && last[0] <= '9'
}

// maxName is how long a name may be (RFC 1035 section 2.3.4, without what DNS
// adds on the wire).
const maxName = 253

// isName takes dotted labels of lower-case letters, digits, hyphens and
// underscores, and so no percent sign, no user, no other script and no dot at
// the end.
func isName(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// allows reports whether o, itself no wildcard, is p or is below it.
func (p origin) allows(o origin) bool {
	if o.wild || p.scheme != o.scheme || p.port != o.port {
		return false
	}
	if p.wild {
		return strings.HasSuffix(o.host, p.host)
	}
	return p.host == o.host
}

func (p origin) String() string { return p.scheme + "://" + p.host + p.port }

// MaxTarget is how long a return target may be, in bytes, before and after it
// is escaped: it must fit into a cookie.
const MaxTarget = 2048

// ErrTarget is what Resolve returns for a target that a login may not return
// to, and ErrTargetLong for one that is longer than MaxTarget.
var (
	ErrTarget     = errors.New("sessions: return target: not a page of an allowed origin")
	ErrTargetLong = fmt.Errorf("sessions: return target: longer than %d bytes", MaxTarget)
)

// Resolve returns the absolute URL that a login may return to: raw is a path on
// the public origin ("/docs/1?x=y") or an absolute URL of an allowed origin.
// What a URL may not hold as it is, such as a space or a letter beyond ASCII,
// is escaped in the path and after it, and refused before it. The error is
// ErrTargetLong or ErrTarget for everything else.
func (t Targets) Resolve(raw string) (string, error) {
	if len(raw) > MaxTarget {
		return "", ErrTargetLong
	}
	if t.public.host == "" || raw == "" || !utf8.ValidString(raw) || !plain(raw) {
		return "", ErrTarget
	}
	at, rest := t.public, raw
	if raw[0] != '/' {
		var err error
		if at, rest, err = cutOrigin(raw); err != nil {
			return "", ErrTarget
		}
	} else if strings.HasPrefix(raw, "//") {
		return "", ErrTarget
	}
	for _, allowed := range t.allowed {
		if allowed.allows(at) {
			return bounded(at.String() + escape(rest))
		}
	}
	return "", ErrTarget
}

// Home is the root of the public origin; empty for the zero Targets.
func (t Targets) Home() string {
	if t.public.host == "" {
		return ""
	}
	return t.public.String() + "/"
}

func bounded(target string) (string, error) {
	if len(target) > MaxTarget {
		return "", ErrTargetLong
	}
	return target, nil
}

// plain refuses what browsers drop (control characters) or turn round (a
// backslash) as they read a URL.
func plain(raw string) bool {
	for _, c := range []byte(raw) {
		if c < 0x20 || c == 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// cutOrigin parts an absolute URL; rest begins with a slash.
func cutOrigin(raw string) (at origin, rest string, err error) {
	start := strings.Index(raw, "://")
	if start < 0 {
		return origin{}, "", errScheme
	}
	start += len("://")
	end := len(raw)
	if i := strings.IndexAny(raw[start:], "/?#"); i >= 0 {
		end = start + i
	}
	if at, err = parseOrigin(raw[:end]); err != nil {
		return origin{}, "", err
	}
	rest = raw[end:]
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return at, rest, nil
}

const upperHex = "0123456789ABCDEF"

// escape makes rest safe for a header and for every parser of URLs. An escape
// sequence that is there already stays; a percent sign that begins none is
// escaped itself.
func escape(rest string) string {
	var b strings.Builder
	for i := range len(rest) {
		c := rest[i]
		switch {
		case c == '%' && !isEscape(rest[i:]), c <= ' ', c > '~', strings.IndexByte("\"<>^`{|}", c) >= 0:
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isEscape(text string) bool {
	return len(text) >= 3 && isHex(text[1]) && isHex(text[2])
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// AskedPage returns the page that a proxy says was asked for: in X-Original-URL,
// or else in X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Uri, of which
// all must be there. It is empty if the proxy says nothing. A page that is too
// long to return to loses its query, and its path if need be: better to arrive
// near it than not to get in. What AskedPage returns has still to go through
// Resolve, and the headers of a client that is no trusted proxy must have been
// taken away before.
func AskedPage(get func(header string) string) string {
	if page := get("X-Original-URL"); page != "" {
		return shortened(page)
	}
	proto, host, uri := outermost(get("X-Forwarded-Proto")), outermost(get("X-Forwarded-Host")), get("X-Forwarded-Uri")
	if proto == "" || host == "" || !strings.HasPrefix(uri, "/") {
		return ""
	}
	return shortened(proto + "://" + host + uri)
}

// outermost is the first of what each proxy of several has added to: what the
// browser spoke to.
func outermost(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

// shortened is a page that fits, or its origin's root.
func shortened(page string) string {
	room := MaxTarget
	if strings.HasPrefix(page, "/") {
		room -= len("https://") + maxName + len(":65535") // the public origin comes in front
	}
	fits := func(page string) bool { return len(escape(page)) <= room }
	if fits(page) {
		return page
	}
	if i := strings.IndexAny(page, "?#"); i >= 0 && fits(page[:i]) {
		return page[:i]
	}
	at, _, err := cutOrigin(page)
	if err != nil {
		return "" // a path, or nothing that Resolve would take either
	}
	return at.String() + "/"
}
