package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"curfew/events"
	"curfew/sessions/rp"
)

// logoutRequest says whose sessions an operator wants ended.
type logoutRequest struct {
	// Issuer may be left out where there is one provider.
	Issuer string `json:"issuer,omitempty"`
	Sub    string `json:"sub,omitempty"`
	Sid    string `json:"sid,omitempty"`
	All    bool   `json:"all,omitempty"`
	// Reason is a note for the replica's own log.
	Reason string `json:"reason,omitempty"`
}

// logoutAnswer says what became of it.
type logoutAnswer struct {
	Fence string `json:"fence"`
	// ID is the logout's jti, by which the log's followers know it.
	ID string `json:"id"`
}

const (
	maxLogoutBody = 64 << 10
	maxReason     = 500
)

// logout ends every session that a request names, by the same rules as a
// provider's logout token does.
func (api *adminAPI) logout(w http.ResponseWriter, r *http.Request) error {
	if kind := r.Header.Get("Content-Type"); kind != "" && !isJSON(kind) {
		return problemf(http.StatusUnsupportedMediaType, "the body is %.100q, want application/json", kind)
	}
	asked, err := readLogout(http.MaxBytesReader(w, r.Body, maxLogoutBody))
	if err != nil {
		return err
	}
	if asked.Issuer, err = api.issuerOf(asked.Issuer); err != nil {
		return err
	}
	logout := events.LogoutReceived{
		Issuer: asked.Issuer, Sub: asked.Sub, Sid: asked.Sid, All: asked.All,
		JTI: events.NewID(), IssuedAt: api.now().UTC(), Reason: events.Admin,
	}
	fence, err := api.logouts.Receive(r.Context(), logout)
	if err != nil {
		return untaken(err)
	}
	api.logger.InfoContext(r.Context(), "logout by an operator", "issuer", asked.Issuer, "sub", asked.Sub, "sid", asked.Sid,
		"all", asked.All, "reason", asked.Reason, "jti", logout.JTI, "fence", fence.String())
	w.Header().Set(rp.HeaderFence, fence.String())
	writeJSON(w, http.StatusOK, "application/json", logoutAnswer{fence.String(), logout.JTI})
	return nil
}

// issuerOf is the issuer that is meant. A sub or a sid means nothing without one,
// and whoever wants all of several providers out says so for each.
func (api *adminAPI) issuerOf(asked string) (string, error) {
	switch {
	case asked == "" && len(api.issuers) == 1:
		return api.issuers[0], nil
	case asked == "":
		return "", problemf(http.StatusBadRequest, "issuer is missing: there are several providers, %s", strings.Join(api.issuers, " and "))
	case !slices.Contains(api.issuers, asked):
		return "", problemf(http.StatusBadRequest, "issuer is %.200q, want %s", asked, strings.Join(api.issuers, " or "))
	default:
		return asked, nil
	}
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json"
}

// readLogout takes nothing that it does not understand, or could understand in
// two ways: what was meant by a member with a typing error would otherwise go
// unheeded.
func readLogout(body io.Reader) (asked logoutRequest, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return asked, problemf(http.StatusBadRequest, "the body is no logout: %v", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return asked, problemf(http.StatusBadRequest, "the body is no logout: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return asked, problemf(http.StatusBadRequest, "there is more behind the logout")
	}
	if err := checkMembers(text); err != nil {
		return asked, err
	}
	switch named := asked.Sub != "" || asked.Sid != ""; {
	case !named && !asked.All:
		return asked, problemf(http.StatusBadRequest, "it names nobody: give sub, sid, or all")
	case named && asked.All:
		return asked, problemf(http.StatusBadRequest, "it names all and somebody: give one of them")
	case len(asked.Reason) > maxReason:
		return asked, problemf(http.StatusBadRequest, "reason is longer than %d bytes", maxReason)
	}
	return asked, nil
}

// checkMembers looks at the names in a logout that has been read: encoding/json
// takes each in any case, and of a name that stands there twice the last value.
func checkMembers(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	// What has been read once can be read again.
	if first, _ := decoder.Token(); first != json.Delim('{') {
		return nil // null
	}
	left := map[string]bool{"issuer": true, "sub": true, "sid": true, "all": true, "reason": true}
	for decoder.More() {
		name, _ := decoder.Token()
		_, _ = decoder.Token() // no value is nested
		member, _ := name.(string)
		first, known := left[member]
		switch {
		case !known:
			return problemf(http.StatusBadRequest, "the body is no logout: unknown field %q", member)
		case !first:
			return problemf(http.StatusBadRequest, "the body is no logout: %s stands there twice", member)
		}
		left[member] = false
	}
	return nil
}
