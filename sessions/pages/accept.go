package pages

import (
	"net/http"
	"strconv"
	"strings"
)

// wantsPage reports whether a request is answered with HTML. It is not where
// Accept (RFC 9110 section 12.5.1) leaves HTML out, nor where it names JSON
// and takes HTML only for want of it, as scripts do with
// "application/json, */*".
func wantsPage(r *http.Request) bool {
	ranges := r.Header.Values("Accept")
	if len(ranges) == 0 {
		return true
	}
	var html, json, anything bool
	for mediaRange := range strings.SplitSeq(strings.Join(ranges, ","), ",") {
		kind, parameters, _ := strings.Cut(mediaRange, ";")
		if refused(parameters) {
			continue
		}
		switch kind = strings.ToLower(strings.TrimSpace(kind)); {
		case kind == "text/html", kind == "application/xhtml+xml":
			html = true
		case kind == "application/json", strings.HasSuffix(kind, "+json"):
			json = true
		case kind == "*/*", kind == "text/*":
			anything = true
		}
	}
	return html || anything && !json
}

// refused reports whether a media range's weight is zero.
func refused(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(name, "q") {
			weight, err := strconv.ParseFloat(value, 64)
			return err == nil && weight == 0
		}
	}
	return false
}
