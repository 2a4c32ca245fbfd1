package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/pages"
	"curfew/sessions/rp"
	"curfew/store"
)

func text(field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		*field(c) = text
		return nil
	}
}

func list(field func(*config) *[]string) func(*config, string) error {
	return func(c *config, text string) error {
		*field(c) = splitList(text)
		return nil
	}
}

// splitList takes a comma-separated list apart and drops what is empty.
func splitList(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func oneOf(field func(*config) *string, choices ...string) func(*config, string) error {
	return func(c *config, text string) error {
		if !slices.Contains(choices, text) {
			return fmt.Errorf("%q is none of %s", text, strings.Join(choices, ", "))
		}
		*field(c) = text
		return nil
	}
}

func duration(field func(*config) *time.Duration, least, most time.Duration) func(*config, string) error {
	return func(c *config, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: write it like 15s, 2m or 12h", text)
		}
		if d < least || d > most {
			return fmt.Errorf("%s is not between %s and %s", d, least, most)
		}
		*field(c) = d
		return nil
	}
}

func issuer(c *config, text string) error {
	u, err := parseWebURL(text)
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q has a query or a fragment, which no issuer has", text)
	}
	c.issuer = text
	return nil
}

func publicURL(c *config, text string) error {
	u, err := parseWebURL(text)
	if err != nil {
		return err
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is more than an origin: the path goes into CURFEW_PREFIX", text)
	}
	u.Path = ""
	if _, err := sessions.NewTargets(u, nil); err != nil {
		return err
	}
	c.public = u
	return nil
}

func webURL(field func(*config) **url.URL) func(*config, string) error {
	return func(c *config, text string) error {
		u, err := parseWebURL(text)
		*field(c) = u
		return err
	}
}

// parseWebURL takes https, and plain http for a loopback host only.
func parseWebURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%q is no URL like https://app.example.com", text)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("%q must be https (plain http is for a loopback host only)", text)
	}
	return u, nil
}

func isLoopback(host string) bool {
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// prefix takes a path that stands in URLs, patterns and cookies as it is. The
// root is none: the application is there.
func prefix(c *config, text string) error {
	trimmed := strings.TrimSuffix(text, "/")
	plain := strings.IndexFunc(trimmed, func(r rune) bool {
		return !strings.ContainsRune("/-._~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
	if !plain || !strings.HasPrefix(trimmed, "/") || path.Clean(trimmed) != trimmed {
		return fmt.Errorf("%q is no path like /auth", text)
	}
	c.prefix = trimmed
	return nil
}

// adminToken takes what comes out of a header as it went in.
func adminToken(c *config, text string) error {
	if strings.TrimSpace(text) != text || strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("has white space around it, or a control character in it, which no header carries")
	}
	c.adminToken = text
	return nil
}

func listener(field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		path, unix := strings.CutPrefix(text, "unix:")
		if unix && path == "" {
			return fmt.Errorf("%q names no path", text)
		}
		if !unix {
			if _, err := hostOf(text); err != nil {
				return err
			}
		}
		*field(c) = text
		return nil
	}
}

// hostOf takes HOST:PORT, of which the host may be empty, and returns it.
func hostOf(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%q is neither HOST:PORT nor unix:PATH", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is no port: want 0 (any) to 65535", port)
	}
	return host, nil
}

func signingAlgs(c *config, text string) error {
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"}
	var faults []error
	for _, alg := range splitList(text) {
		if !slices.Contains(known, alg) {
			faults = append(faults, fmt.Errorf("%q is none of %s", alg, strings.Join(known, ", ")))
			continue
		}
		c.signingAlgs = append(c.signingAlgs, alg)
	}
	return errors.Join(faults...)
}

// scopes drops the quotes that an env file often leaves around the value.
func scopes(c *config, text string) error {
	c.scopes = strings.Fields(strings.Trim(text, `"'`))
	if !slices.Contains(c.scopes, "openid") {
		return fmt.Errorf("%q has no openid, without which there is no sign-in", text)
	}
	return nil
}

func authParams(c *config, text string) (err error) {
	if c.authParams, err = url.ParseQuery(text); err != nil {
		return err
	}
	return rp.CheckAuthParams(c.authParams)
}

func encryptionKeys(c *config, text string) (err error) {
	c.ring, err = store.ParseKeyring(text)
	return err
}

// dataFolder takes a folder, or the name of one to be.
func dataFolder(c *config, text string) error {
	info, err := os.Stat(text)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a folder", text)
	}
	c.data = text
	return nil
}

// pagesFolder takes a folder whose pages can be shown.
func pagesFolder(c *config, text string) error {
	_, err := pages.Open("", text)
	c.pagesDir = text
	return err
}

// readable takes the name of a file that can be read now. It is read anew at
// each connect.
func readable(field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		_, err := os.ReadFile(text)
		*field(c) = text
		return err
	}
}

func certificates(c *config, text string) error {
	content, err := os.ReadFile(text)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(content) {
		err = fmt.Errorf("%s holds no certificate", text)
	}
	c.natsCA = text
	return err
}

func cookieDomain(c *config, text string) error {
	text = strings.ToLower(strings.TrimPrefix(text, "."))
	if !strings.Contains(text, ".") || strings.ContainsAny(text, "/: ;,") {
		return fmt.Errorf("%q is no domain like example.com", text)
	}
	c.cookieDomain = text
	return nil
}

func trustedProxies(c *config, text string) error {
	c.trustedProxies = nil
	var faults []error
	for _, part := range splitList(text) {
		network, err := netip.ParsePrefix(part)
		if err != nil {
			addr, err := netip.ParseAddr(part)
			if err != nil {
				faults = append(faults, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", part))
				continue
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		c.trustedProxies = append(c.trustedProxies, network)
	}
	return errors.Join(faults...)
}

func replicaName(c *config, text string) error {
	c.replica = text
	return events.CheckReplicaName(text)
}

func natsURL(c *config, text string) error {
	var faults []error
	servers := splitList(text)
	if len(servers) == 0 {
		return fmt.Errorf("%q names no server: leave it out to have the log in this process", text)
	}
	for _, part := range servers {
		u, err := url.Parse(part)
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			faults = append(faults, fmt.Errorf("%q is no URL like nats://nats.example.com:4222", redactedURL(part)))
		}
	}
	if len(faults) == 0 {
		c.natsURL = text
	}
	return errors.Join(faults...)
}

// redactedURL keeps a password that stands in a URL out of the message about it.
func redactedURL(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		return "…" + text[at:]
	}
	return text
}

func streamName(c *config, text string) error {
	if strings.ContainsAny(text, " \t.*>/\\") {
		return fmt.Errorf("%q is no stream name: no spaces, dots, stars, >, / or \\", text)
	}
	c.natsStream = text
	return nil
}

func streamReplicas(c *config, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("%q is none of 1, 3 or 5", text)
	}
	c.natsReplicas = n
	return nil
}

func sessionUntil(c *config, text string) error {
	var until string
	err := oneOf(func(*config) *string { return &until }, "lifetime", "access_token")(c, text)
	c.untilAccess = until == "access_token"
	return err
}

func truth(field func(*config) *bool) func(*config, string) error {
	return func(c *config, text string) (err error) {
		if *field(c), err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		return nil
	}
}

func logLevel(c *config, text string) error {
	if c.logLevel.UnmarshalText([]byte(text)) != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", text)
	}
	return nil
}
