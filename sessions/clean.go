package sessions

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean drops from a text what an application must not be told of in a header:
// control characters, broken UTF-8, the characters that turn the direction of
// writing round, and the space around. Where that changes a name, it may have
// become somebody else's.
func Clean(text string) string {
	if strings.IndexFunc(text, unfit) >= 0 {
		text = strings.Map(func(c rune) rune {
			if unfit(c) {
				return -1
			}
			return c
		}, text)
	}
	return strings.TrimSpace(text)
}

func unfit(c rune) bool {
	return c == utf8.RuneError || unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)
}
