package backchannel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep the JSON of a token may be nested. Real ones need three.
const maxDepth = 32

// members are the members of a JSON object, by their exact names.
type members map[string]json.RawMessage

// readObject reads a JSON object that can be read in one way only: valid UTF-8,
// no name twice in an object at any depth, nothing behind it. encoding/json by
// itself lets the first two pass.
func readObject(data []byte) (members, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("invalid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	walk := walker{Decoder: decoder, replaced: !bytes.ContainsRune(data, utf8.RuneError)}
	if err := walk.value(0); err != nil {
		return nil, err
	}
	var object members
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, errors.New("not one JSON object and nothing else")
	}
	return object, nil
}

// walker goes through a JSON text once.
type walker struct {
	*json.Decoder
	// replaced says that a replacement character in a string stands for half a
	// surrogate pair, because the text itself holds none.
	replaced bool
}

func (w walker) value(depth int) error {
	token, err := w.Token()
	if err != nil {
		return errors.New("no valid JSON")
	}
	if depth > maxDepth {
		return fmt.Errorf("JSON nested deeper than %d", maxDepth)
	}
	switch token := token.(type) {
	case string:
		return w.text(token)
	case json.Delim:
		if token == '{' {
			return w.object(depth)
		}
		return w.array(depth)
	default:
		return nil
	}
}

func (w walker) object(depth int) error {
	seen := make(map[string]bool)
	for w.More() {
		token, err := w.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errors.New("no valid JSON")
		}
		if seen[name] {
			return errors.New("a JSON member stands there twice")
		}
		seen[name] = true
		if err := errors.Join(w.text(name), w.value(depth+1)); err != nil {
			return err
		}
	}
	return w.end()
}

func (w walker) array(depth int) error {
	for w.More() {
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	return w.end()
}

func (w walker) end() error {
	if _, err := w.Token(); err != nil {
		return errors.New("no valid JSON")
	}
	return nil
}

// text refuses half a surrogate pair, which two different texts would share
// after decoding.
func (w walker) text(s string) error {
	if w.replaced && strings.ContainsRune(s, utf8.RuneError) {
		return errors.New("half a surrogate pair in a JSON text")
	}
	return nil
}

var errType = errors.New("wrong type")

// text returns a member that must be a text if it is there; without it, "".
func (m members) text(name string) (string, error) {
	raw, found := m[name]
	if !found {
		return "", nil
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("%s: %w, want a text", name, errType)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("%s: %w", name, errType)
	}
	return text, nil
}

// textOrNull is text for a member that some write as null when they mean to
// leave it out.
func (m members) textOrNull(name string) (string, error) {
	if string(m[name]) == "null" {
		return "", nil
	}
	return m.text(name)
}

// texts returns a member that is a text or a list of texts.
func (m members) texts(name string) ([]string, error) {
	raw, found := m[name]
	if !found {
		return nil, nil
	}
	if raw[0] == '"' {
		text, err := m.text(name)
		return []string{text}, err
	}
	var list []*string
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, fmt.Errorf("%s: %w, want a text or a list of texts", name, errType)
	}
	texts := make([]string, len(list))
	for i, text := range list {
		if text == nil {
			return nil, fmt.Errorf("%s: %w, null in the list", name, errType)
		}
		texts[i] = *text
	}
	return texts, nil
}

// farOff is the last second of the year 9999. Times are held to it in both
// directions, so that no arithmetic on them overflows.
const farOff = 253402300799

// seconds returns a member that is a NumericDate (RFC 7519 section 2), rounded
// down and held to farOff.
func (m members) seconds(name string) (at int64, found bool, err error) {
	raw, found := m[name]
	if !found {
		return 0, false, nil
	}
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, true, fmt.Errorf("%s: %w, want a number", name, errType)
	}
	// The only error left is a number beyond all floats, which is an infinity.
	number, _ := strconv.ParseFloat(string(raw), 64)
	return int64(math.Floor(min(max(number, -farOff), farOff))), true, nil
}
