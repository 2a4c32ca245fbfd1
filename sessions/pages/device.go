package pages

import (
	"slices"
	"strings"
)

// sign is a part of a User-Agent header that gives something away.
type sign struct{ part, name string }

// browsers are told by the first sign that is there: whoever is built on
// another names that one too.
var browsers = []sign{
	{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"},
	{"OPR/", "Opera"}, {"OPT/", "Opera"}, {"Vivaldi/", "Vivaldi"}, {"YaBrowser/", "Yandex Browser"},
	{"SamsungBrowser/", "Samsung Internet"}, {"DuckDuckGo/", "DuckDuckGo"},
	{"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
	{"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chromium/", "Chromium"}, {"Chrome/", "Chrome"},
	{"Safari/", "Safari"},
}

// systems likewise: Android says that it is Linux, too.
var systems = []sign{
	{"Windows", "Windows"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"},
	{"CrOS", "ChromeOS"}, {"Macintosh", "macOS"}, {"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"}, {"Linux", "Linux"},
}

func firstSign(signs []sign, agent string) string {
	for _, s := range signs {
		if strings.Contains(agent, s.part) {
			return s.name
		}
	}
	return ""
}

// The kinds of device, which pages show by a picture.
const (
	phone    = "phone"
	computer = "computer"
	program  = "program"
)

// deviceOf says in words what a User-Agent header tells, and of which kind that
// is. It is the browser's own word, so it tells people their devices apart and
// proves nothing. A program's stays as it is.
func deviceOf(agent string, t texts) (words, kind string) {
	agent = strings.TrimSpace(agent)
	if agent == "" {
		return t["device.unknown"], program
	}
	browser, system := firstSign(browsers, agent), firstSign(systems, agent)
	if browser == "" || system == "" {
		return agent, program
	}
	kind = computer
	if slices.Contains([]string{"iPhone", "iPad", "Android"}, system) {
		kind = phone
	}
	return t.fill("device.both", "{browser}", browser, "{system}", system), kind
}
