package pages_test

import (
	"html"
	"strings"
	"testing"

	"curfew/sessions/pages"
)

// The headers are those of the browsers named, in 2025 and 2026.
func TestDevicesInWords(t *testing.T) {
	const webkit = "AppleWebKit/537.36 (KHTML, like Gecko)"
	for agent, want := range map[string]string{
		firefox: "Firefox on Linux",
		iphone:  "Safari on iPhone",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + " Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":                                          "Edge on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + " Chrome/138.0.0.0 Safari/537.36 OPR/122.0.0.0":                                          "Opera on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0":                                                               "Firefox on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + webkit + " Chrome/140.0.0.0 Safari/537.36":                                                  "Chrome on macOS",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15":                          "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.7339.39 Mobile/15E148 Safari/604.1": "Chrome on iPhone",
		"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/142.0 Mobile/15E148 Safari/605.1.15":               "Firefox on iPad",
		"Mozilla/5.0 (Linux; Android 10; K) " + webkit + " Chrome/140.0.0.0 Mobile Safari/537.36":                                                        "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 10; K) " + webkit + " SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":                                    "Samsung Internet on Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + webkit + " Chrome/140.0.0.0 Safari/537.36":                                                         "Chrome on ChromeOS",
		"Mozilla/5.0 (X11; Linux x86_64) " + webkit + " HeadlessChrome/140.0.0.0 Safari/537.36":                                                          "Chrome on Linux",
		"curl/8.14.1":                 "curl/8.14.1",
		"Linux":                       "Linux",
		"Firefox/1.0":                 "Firefox/1.0",
		"something <b>of its own</b>": "something <b>of its own</b>",
		"  ":                          "Unknown device",
		"":                            "Unknown device",
	} {
		body := page(t, yours(pages.Overview{Visits: []pages.Visit{{Device: agent}}})).Body.String()
		_, got, _ := strings.Cut(body, `<h2 id="device-0"`)
		_, got, _ = strings.Cut(got, "<bdi>")
		got, _, _ = strings.Cut(got, "</bdi>")
		if got = html.UnescapeString(got); got != want {
			t.Errorf("%q is shown as %q, want %q", agent, got, want)
		}
	}
}
