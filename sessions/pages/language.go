package pages

import (
	"embed"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// tongue is a language with all of its texts.
type tongue struct {
	tag       language.Tag
	direction string // how it is written: ltr or rtl
	texts     texts
}

func newTongue(tag language.Tag, all texts) tongue {
	script, _ := tag.Script()
	direction := "ltr"
	if slices.Contains([]string{"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm"}, script.String()) {
		direction = "rtl"
	}
	return tongue{tag: tag, direction: direction, texts: all}
}

//go:embed texts
var textFiles embed.FS

// english and german are complete. Of others there is what a folder brings.
var english, german = embedded(language.English), embedded(language.German)

// embedded reads a language of the program's own, whose files its tests hold to
// be whole.
func embedded(tag language.Tag) tongue {
	file := "texts/" + tag.String() + ".yaml"
	content, err := textFiles.ReadFile(file)
	if err != nil {
		panic(err)
	}
	all, _, faults := parseTexts(file, content)
	if len(faults) > 0 {
		panic(fmt.Sprint(faults))
	}
	return newTongue(tag, all)
}

func sortedKeys(t texts) []string { return slices.Sorted(maps.Keys(t)) }

// longestAccept is more than any browser says about languages.
const longestAccept = 1 << 10

// speaks picks the language for a request by Accept-Language (RFC 9110 section
// 12.5.4): English where none fits, or where the header cannot be read.
func (l *look) speaks(r *http.Request) tongue {
	accept := strings.Join(r.Header.Values("Accept-Language"), ",")
	if len(accept) > longestAccept {
		return l.tongues[0]
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return l.tongues[0]
	}
	_, i, _ := l.matcher.Match(wanted...)
	return l.tongues[i]
}
