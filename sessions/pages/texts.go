package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// texts are the texts of one language by key, such as "logout.title".
type texts map[string]string

// parseTexts reads a file of texts: YAML whose nested keys are joined by dots.
// It returns what it understood together with every fault, and the line of each
// text.
func parseTexts(file string, content []byte) (texts, map[string]int, []error) {
	p := textParser{file: file, texts: make(texts), lines: make(map[string]int)}
	var document, second yaml.Node
	reader := yaml.NewDecoder(bytes.NewReader(content))
	if err := reader.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, []error{yamlFault(file, err)}
	}
	for _, root := range document.Content {
		p.read("", root)
	}
	if reader.Decode(&second) == nil {
		p.fault(&second, "a second document begins, which nobody would read: take away the ---")
	}
	return p.texts, p.lines, p.faults
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// yamlFault puts the line that the parser names behind the file.
func yamlFault(file string, err error) error {
	match := yamlLine.FindStringSubmatch(err.Error())
	if match == nil || match[1] == "" {
		return fmt.Errorf("pages: %s: is no YAML: %w", file, err)
	}
	return fmt.Errorf("pages: %s:%s: is no YAML: %s (a text with a colon in it goes into quotes)", file, match[1], match[2])
}

type textParser struct {
	file   string
	texts  texts
	lines  map[string]int
	faults []error
}

func (p *textParser) fault(n *yaml.Node, what string) {
	p.faults = append(p.faults, faultAt(p.file, n.Line, what))
}

func faultAt(file string, line int, what string) error {
	return errors.New("pages: " + file + ":" + strconv.Itoa(line) + ": " + what)
}

// read takes a node for the texts below key.
func (p *textParser) read(key string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, value := n.Content[i], n.Content[i+1]
			if name.Kind != yaml.ScalarNode {
				p.fault(name, "a key is not a name")
				continue
			}
			p.read(strings.TrimPrefix(key+"."+name.Value, "."), value)
		}
	case n.Kind != yaml.ScalarNode || key == "":
		p.fault(n, "is neither a text nor a group of them: write it like \"logout:\" and below it, indented, \"title: Goodbye?\"")
	case n.Tag != "!!str":
		p.fault(n, key+" is no text to YAML: put it into quotes")
	case strings.TrimSpace(n.Value) == "":
		p.fault(n, key+" is empty: leave it out to have it as it was")
	case p.lines[key] != 0:
		p.fault(n, fmt.Sprintf("%s has a text already, in line %d", key, p.lines[key]))
	default:
		p.texts[key], p.lines[key] = strings.TrimSpace(n.Value), n.Line
	}
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// placeholders lists what a text leaves open, sorted.
func placeholders(text string) []string {
	found := placeholder.FindAllString(text, -1)
	slices.Sort(found)
	return found
}

// bracesOf says what a text must leave open.
func bracesOf(text string) string {
	open := placeholders(text)
	if len(open) == 0 {
		return "can have nothing in braces"
	}
	return "must have " + strings.Join(open, ", ") + " in it, each once, and nothing else in braces"
}

// ownKey begins the keys of texts that only a folder's own templates use.
const ownKey = "own."

// check compares a language's texts with those that there must be.
func (t texts) check(file string, lines map[string]int, wanted texts) (faults []error) {
	for _, key := range sortedKeys(t) {
		want, known := wanted[key]
		switch {
		case strings.HasPrefix(key, ownKey):
		case !known:
			faults = append(faults, faultAt(file, lines[key], "there is no text "+key+
				": see docs/pages.md for those there are; one for a template of yours begins with "+ownKey))
		case !slices.Equal(placeholders(t[key]), placeholders(want)):
			faults = append(faults, faultAt(file, lines[key], key+" "+bracesOf(want)))
		}
	}
	return faults
}
