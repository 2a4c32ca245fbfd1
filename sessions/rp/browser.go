package rp

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"curfew/events"
)

// clientOf says what is known of the browser: its address, and what it calls
// itself. Both are for people to read.
func clientOf(r *http.Request, proxies []netip.Prefix) events.Client {
	return events.Client{
		Address:   addressOf(r.Header.Values("X-Forwarded-For"), r.RemoteAddr, proxies),
		UserAgent: printable(r.UserAgent()),
	}
}

// addressOf finds the client in what proxies say of a request. Each proxy adds
// at the end whom it was asked by, behind what a client may have made up, so it
// is the last that is no proxy's own; where all are, the first. What is no
// address ends the search.
func addressOf(forwarded []string, remote string, proxies []netip.Prefix) string {
	found, _ := parseAddress(remote)
	for _, text := range slices.Backward(strings.Split(strings.Join(forwarded, ","), ",")) {
		address, err := parseAddress(text)
		if err != nil {
			break
		}
		found = address
		if !slices.ContainsFunc(proxies, func(network netip.Prefix) bool { return network.Contains(address) }) {
			break
		}
	}
	if !found.IsValid() {
		return ""
	}
	return found.String()
}

// parseAddress reads an address with or without a port.
func parseAddress(text string) (netip.Addr, error) {
	text = strings.TrimSpace(text)
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), nil
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap().WithZone(""), err
}
