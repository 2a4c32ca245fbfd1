package sessions

import "testing"

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"ada":                            "ada",
		"Ada L":                          "Ada L",
		"  ada\t":                        "ada",
		"a\r\nX-Evil: 1":                 "aX-Evil: 1",
		"\x00a\x1f\x7f\u0080\u009fb":     "ab",
		"\u00a0ada\u3000":                "ada",
		"Zo\xffë":                        "Zoë",
		"a\ufffdb":                       "ab",
		"\u202a\u202b\u202c\u202d\u202e": "",
		"\u2066x\u2067\u2068\u2069":      "x",
		"\u200ex\u200f\u061c":            "x",
		"x\u200dy":                       "x\u200dy",
		"日本 語":                           "日本 語",
		" \u202e ":                       "",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
