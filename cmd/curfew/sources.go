package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// sources are where settings come from, the strongest first.
type sources struct {
	flags map[string]string // by the variable's name
	env   func(string) (string, bool)
	file  string // path of the YAML file; empty for none
}

// apply sets what list names, out of the sources or the defaults. file is what
// readFile has read.
func (from sources) apply(list []setting, file map[string]any, c *config, faults *configError) {
	set(list, from.merge(list, file, faults), c, faults)
}

// set sets what list names to what has been found for it.
func set(list []setting, values map[string]string, c *config, faults *configError) {
	for _, s := range list {
		value := values[s.name]
		if value == "" {
			if s.required && !faults.has(s.name) {
				faults.add(s.name, errors.New("is required: "+s.help))
			}
			continue
		}
		if err := s.set(c, value); err != nil {
			faults.add(s.name, err)
		}
	}
}

// merge returns the value of each setting of a list that has one. An empty text
// is none, wherever it comes from.
func (from sources) merge(list []setting, file map[string]any, faults *configError) map[string]string {
	k := koanf.New("\x00") // no name holds one: names are not paths
	defaults, env := map[string]any{}, map[string]any{}
	for _, s := range list {
		defaults[s.name] = s.value
		for _, name := range s.names() {
			if value, set := from.env(name); set && value != "" {
				env[name] = value
			}
		}
	}
	flags := map[string]any{}
	for name, value := range from.flags {
		if value != "" {
			flags[name] = value
		}
	}
	layers := []map[string]any{defaults, file, env, flags}
	for _, layer := range layers {
		// A map cannot be read wrongly.
		_ = k.Load(confmap.Provider(layer, ""), nil)
	}
	return from.readSecrets(list, k, layers, faults)
}

// document is what a YAML file says.
type document struct {
	settings map[string]any // by the variable's name
	// providers is the list of that name; nil if there is none.
	providers []map[string]any
}

// listOfProviders is the one key of a file that is no setting.
const listOfProviders = "providers"

// readFile reads the YAML file, whose keys are the variables' names in either
// case, and the list of providers.
func (from sources) readFile(faults *configError) (doc document) {
	if from.file == "" {
		return doc
	}
	k := koanf.New("\x00")
	if err := k.Load(file.Provider(from.file), yaml.Parser()); err != nil {
		faults.add("--config", err)
		faults.unread = true
		return doc
	}
	raw := k.Raw()
	if list, found := raw[listOfProviders]; found {
		delete(raw, listOfProviders)
		doc.providers = from.readProviders(list, faults)
	}
	doc.settings = from.readSettings(raw, settings(), "", faults)
	return doc
}

// readSettings reads what a file says of the settings in a list. Faults are told
// with place in front of the name.
func (from sources) readSettings(raw map[string]any, list []setting, place string, faults *configError) map[string]any {
	known := map[string]setting{}
	for _, s := range list {
		for _, name := range s.names() {
			known[name] = s
		}
	}
	layer, read := map[string]any{}, map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		name := strings.ToUpper(key)
		s, ok := known[name]
		if before, twice := read[name]; twice {
			faults.add(place+name, fmt.Errorf("%s: stands there twice, as %q and %q: keep one", from.file, before, key))
			continue
		}
		read[name] = key
		if !ok {
			faults.add("--config", fmt.Errorf("%s: %sno setting is called %q", from.file, place, key))
			continue
		}
		value, err := s.fromYAML(raw[key])
		if err != nil {
			faults.add(place+name, fmt.Errorf("%s: %w", from.file, err))
		}
		if value != "" {
			layer[name] = value
		}
	}
	return layer
}

var (
	errYAMLMap   = errors.New("want a value, not a map")
	errYAMLList  = errors.New("want one value, not a list")
	errYAMLQuote = errors.New("write it in quotes: without them YAML reads it as a number, a truth value or a date, and it may become another")
)

// fromYAML is the text of a value in a YAML file. YAML has read it already, and
// what it takes for a number is not what stands in the file any more: 0123 is 83.
func (s setting) fromYAML(value any) (string, error) {
	switch value := value.(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case int, bool:
		if !s.plain {
			return "", errYAMLQuote
		}
		return fmt.Sprint(value), nil
	case map[string]any:
		return "", errYAMLMap
	case []any:
		if s.between == "" {
			return "", errYAMLList
		}
		parts := make([]string, len(value))
		for i, part := range value {
			text, ok := part.(string)
			if !ok {
				return "", errYAMLQuote
			}
			parts[i] = text
		}
		return strings.Join(parts, s.between), nil
	default:
		return "", errYAMLQuote
	}
}

// readSecrets replaces each X_FILE by what the file holds. Between X and X_FILE
// the stronger source decides; both in one source is a fault.
func (from sources) readSecrets(list []setting, k *koanf.Koanf, layers []map[string]any, faults *configError) map[string]string {
	values := make(map[string]string)
	for _, s := range list {
		values[s.name] = k.String(s.name)
		if !s.secret {
			continue
		}
		for _, layer := range slices.Backward(layers) {
			path, fromFile := layer[s.name+"_FILE"]
			direct, _ := layer[s.name].(string)
			if fromFile && direct != "" {
				faults.add(s.name, fmt.Errorf("is set together with %s_FILE: keep one", s.name))
			}
			if fromFile {
				values[s.name] = readSecret(s.name, fmt.Sprint(path), faults)
			}
			if fromFile || direct != "" {
				break
			}
		}
	}
	return values
}

func readSecret(name, path string, faults *configError) string {
	content, err := os.ReadFile(path)
	if err != nil {
		faults.add(name+"_FILE", err)
		return ""
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		faults.add(name+"_FILE", fmt.Errorf("%s is empty", path))
	}
	return secret
}
