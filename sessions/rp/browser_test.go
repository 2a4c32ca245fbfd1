package rp

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// TestClientAddress: what stands left of the last address that is no proxy's is
// what that client has sent, and may be made up.
func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	tests := []struct {
		forwarded []string
		remote    string
		want      string
	}{
		{nil, "127.0.0.1:4711", "127.0.0.1"},
		{nil, "[2001:db8::7%eth0]:80", "2001:db8::7"},
		{nil, "@", ""},
		{[]string{"192.0.2.7"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"192.0.2.7"}, "@", "192.0.2.7"},
		{[]string{"192.0.2.7:1234"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"[2001:db8::7]:1234"}, "127.0.0.1:4711", "2001:db8::7"},
		{[]string{"::ffff:192.0.2.7"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"203.0.113.9, 192.0.2.7"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"203.0.113.9", "192.0.2.7"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"192.0.2.7, 10.0.0.1"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"192.0.2.7 ,::ffff:10.0.0.1,2001:db8:1::5"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"203.0.113.9, 192.0.2.7, 10.0.0.1", "127.0.0.1"}, "127.0.0.1:4711", "192.0.2.7"},
		{[]string{"10.9.9.9, 10.0.0.1"}, "127.0.0.1:4711", "10.9.9.9"},
		{[]string{"192.0.2.7, unknown, 10.0.0.1"}, "127.0.0.1:4711", "10.0.0.1"},
		{[]string{"192.0.2.7, <script>"}, "127.0.0.1:4711", "127.0.0.1"},
		{[]string{""}, "127.0.0.1:4711", "127.0.0.1"},
	}
	for _, test := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = test.remote
		r.Header["X-Forwarded-For"] = test.forwarded
		if got := clientOf(r, proxies).Address; got != test.want {
			t.Errorf("%q from %s: got %q, want %q", test.forwarded, test.remote, got, test.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Forwarded-For", "203.0.113.9, 192.0.2.7")
	if got := clientOf(r, nil).Address; got != "192.0.2.7" {
		t.Errorf("without proxies: got %q", got)
	}
}
