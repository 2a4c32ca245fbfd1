package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shape is what one provider says, as its sources, its documentation or a run of
// it have it. testdata/quirks/README.md says what the members mean.
type shape struct {
	Provider string            `json:"provider"`
	Version  string            `json:"version"`
	Sources  []string          `json:"sources"`
	Settings map[string]string `json:"settings"`
	Issuer   string            `json:"issuer"`
	People   map[string]struct {
		Sub string `json:"sub"`
		Sid string `json:"sid"`
	} `json:"people"`
	Discovery    map[string]any `json:"discovery"`
	IDToken      signed         `json:"id_token"`
	Answer       map[string]any `json:"answer"`
	Userinfo     map[string]any `json:"userinfo"`
	Refreshed    map[string]any `json:"refreshed"`
	Refusals     []refusal      `json:"refusals"`
	LogoutTokens []logoutShape  `json:"logout_tokens"`
	// Told is what the guard tells an application about ada.
	Told map[string]string `json:"told"`
}

// signed is a token before it is signed.
type signed struct {
	Header map[string]any `json:"header"`
	Claims map[string]any `json:"claims"`
}

// refusal is how a provider says that a refresh token is no good.
type refusal struct {
	When   string `json:"when"`
	Status int    `json:"status"`
	Type   string `json:"type"`
	Body   string `json:"body"`
	// Unheard has it say so in words that no standard has: the session goes on.
	Unheard bool `json:"unheard"`
}

// logoutShape is a logout token and the request that brings it.
type logoutShape struct {
	When   string            `json:"when"`
	Header map[string]any    `json:"header"`
	Claims map[string]any    `json:"claims"`
	Type   string            `json:"type"`
	Fields map[string]string `json:"fields"`
	// Again is how many times more the same token is sent.
	Again int `json:"again"`
	// Waits has it sent while the browser waits at the end-session endpoint.
	Waits bool `json:"waits"`
}

const quirksFolder = "testdata/quirks"

// readShapes reads the recorded shapes, by file name.
func readShapes(t *testing.T) map[string]*shape {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(quirksFolder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", quirksFolder, len(files), err)
	}
	shapes := make(map[string]*shape, len(files))
	for _, file := range files {
		shapes[strings.TrimSuffix(filepath.Base(file), ".json")] = readShape(t, file)
	}
	return shapes
}

func readShape(t *testing.T, file string) *shape {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	s := new(shape)
	if err := decoder.Decode(s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, named := range []string{s.Provider, s.Version, s.People["ada"].Sub, s.People["grace"].Sub} {
		if named == "" {
			t.Fatalf("%s: it lacks its provider, version or people", file)
		}
	}
	if len(s.Sources) == 0 {
		t.Fatalf("%s: it does not say where it is from", file)
	}
	return s
}

// fill puts values in the place of a shape's $names, wherever they stand alone,
// and the provider's origin in the place of $origin inside of texts. $now, $now+N
// and $now-N are seconds since 1970. A member whose name stands for nothing is
// left out.
func fill(members, values map[string]any) map[string]any {
	filled := make(map[string]any, len(members))
	for name, member := range members {
		if value := fillOne(member, values); value != nil {
			filled[name] = value
		}
	}
	return filled
}

func fillOne(member any, values map[string]any) any {
	switch member := member.(type) {
	case nil:
		return json.RawMessage("null") // it is there and is null, where nil means that it is not
	case map[string]any:
		return fill(member, values)
	case []any:
		list := make([]any, len(member))
		for i := range member {
			list[i] = fillOne(member[i], values)
		}
		return list
	case string:
		return fillText(member, values)
	default:
		return member
	}
}

func fillText(text string, values map[string]any) any {
	if offset, timed := strings.CutPrefix(text, "$now"); timed {
		seconds, err := strconv.Atoi("0" + strings.TrimPrefix(strings.TrimPrefix(offset, "+"), "-"))
		if err != nil {
			return text
		}
		if strings.HasPrefix(offset, "-") {
			seconds = -seconds
		}
		return time.Now().Unix() + int64(seconds)
	}
	if name, is := strings.CutPrefix(text, "$"); is && !strings.Contains(name, "/") {
		return values[name]
	}
	origin, _ := values["origin"].(string)
	return strings.ReplaceAll(text, "$origin", origin)
}

// become makes members what a shape has, out of what they were.
func become(members, shape, values map[string]any) {
	values = maps.Clone(values)
	maps.Copy(values, map[string]any{
		"nonce": members["nonce"], "at_hash": members["at_hash"],
		"access_token": members["access_token"], "refresh_token": members["refresh_token"], "id_token": members["id_token"],
	})
	clear(members)
	maps.Copy(members, fill(shape, values))
}

// path is where one of the provider's endpoints is; empty if it has none.
func (s *shape) path(endpoint string) string {
	at, _ := s.Discovery[endpoint].(string)
	u, err := url.Parse(strings.Replace(at, "$origin", "http://op", 1))
	if err != nil {
		return ""
	}
	return u.Path
}
