package backchannel

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuoted is how many bytes of a claim are shown.
const maxQuoted = 128

// quote makes what a stranger wrote fit to be shown: short, of one line, without
// control characters.
func quote(text string) string {
	short := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, text[:min(len(text), maxQuoted)])
	switch {
	case text == "":
		return "empty"
	case len(text) > maxQuoted:
		return short + "..."
	default:
		return short
	}
}

// plain holds a text to the characters of an error_description (RFC 6749
// section 5.2).
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < ' ' || r > '~':
			return '?'
		default:
			return r
		}
	}, text)
}
