package backchannel

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxBody is how many bytes a request may have.
const maxBody = 64 << 10

const formKind = "application/x-www-form-urlencoded"

// readForm returns the logout_token of a request (section 2.5). The error is a
// *FlawError. A body that breaks off is no token either.
func readForm(w http.ResponseWriter, r *http.Request) (string, error) {
	// A parameter of the type that does not parse is no concern of ours.
	said := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(said)
	switch {
	case said == "":
		return "", flawed(Malformed, "Content-Type is missing, want %s", formKind)
	case err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter):
		return "", flawed(Malformed, "Content-Type is %s, want %s", quote(said), formKind)
	case kind != formKind:
		return "", flawed(Malformed, "Content-Type is %s, want %s", quote(kind), formKind)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, big := errors.AsType[*http.MaxBytesError](err); big {
		return "", flawed(Malformed, "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return "", flawed(Malformed, "the body breaks off")
	}
	return formToken(string(body))
}

// formToken finds the one logout_token of a form. Other parameters are ignored,
// even those that do not decode: nobody reads them.
func formToken(body string) (string, error) {
	found, count := "", 0
	for pair := range strings.SplitSeq(body, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err != nil || name != "logout_token" {
			continue
		}
		token, err := url.QueryUnescape(value)
		if err != nil {
			return "", flawed(Malformed, "logout_token does not decode")
		}
		found = token
		count++
	}
	if count != 1 {
		return "", flawed(Malformed, "the body has %d logout_token, want one", count)
	}
	return found, nil
}
