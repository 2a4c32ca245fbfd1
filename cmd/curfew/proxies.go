package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// fromProxies hands requests on with the headers that proxies set, X-Forwarded-*
// and X-Original-*, only if they come from a trusted proxy; from anyone else
// these headers are removed. Whoever reaches a Unix socket is trusted: the
// socket's file mode says who that is.
func fromProxies(trusted []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isTrusted(trusted, r.RemoteAddr) {
			for name := range r.Header {
				if strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Original-") {
					delete(r.Header, name)
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func isTrusted(trusted []netip.Prefix, remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		// net/http gives "@" or an empty string for the peer of a Unix socket,
		// and an address with a port for any other.
		return remote == "" || remote == "@"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(trusted, func(network netip.Prefix) bool { return network.Contains(addr) })
}
