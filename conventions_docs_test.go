package curfew_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"curfew/events"
)

var setting = regexp.MustCompile(`^"((?:OIDC|CURFEW)_[A-Z_]+)"$`)

// settingsAreDocumented compares the names of settings in the program with those
// that docs/configuration.md has, both ways.
func settingsAreDocumented(t *tree) (findings []string) {
	const page = "docs/configuration.md"
	p := t.packages["cmd/curfew"]
	if p == nil {
		return nil
	}
	known := map[string]bool{}
	p.walk(func(file *source, n ast.Node) {
		text, ok := n.(*ast.BasicLit)
		if !ok || file.test || text.Kind != token.STRING || !setting.MatchString(text.Value) {
			return
		}
		name := setting.FindStringSubmatch(text.Value)[1]
		if known[name] {
			return
		}
		known[name] = true
		if !strings.Contains(t.texts[page], "`"+name+"`") {
			findings = append(findings, file.at(n.Pos())+": "+name+" is not in "+page)
		}
	})
	for _, match := range regexp.MustCompile("(?m)^\\| `((?:OIDC|CURFEW)_[A-Z_]+)`").FindAllStringSubmatch(t.texts[page], -1) {
		if !known[match[1]] {
			findings = append(findings, page+": there is no "+match[1])
		}
	}
	return findings
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// linksLead looks at the links from one page of the project to another.
func linksLead(t *tree) (findings []string) {
	for name, text := range t.texts {
		if !strings.HasSuffix(name, ".md") || strings.Contains(name, "testdata/") {
			continue
		}
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if target := join(name, match[1]); !t.has(target) {
				findings = append(findings, name+" links to "+target+", which is not there")
			}
		}
	}
	return findings
}

// TestWireFormatExamples compares the examples of docs/wire-format.md with the
// golden files of package events, which say what they mean and hold them still.
func TestWireFormatExamples(t *testing.T) {
	page, err := os.ReadFile("docs/wire-format.md")
	if err != nil {
		t.Fatal(err)
	}
	golden := goldenMessages(t)
	kinds := map[events.Type]bool{}
	for _, kind := range []events.Type{
		events.TypeStarted, events.TypeRefreshed, events.TypeClaimed, events.TypeSeen, events.TypeEnded,
		events.TypeLogoutReceived, events.TypeAlive, events.TypeLeft,
	} {
		kinds[kind] = true
	}
	for _, block := range regexp.MustCompile("(?s)```event\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		got := parseExample(t, block[1])
		if !slices.ContainsFunc(golden, func(want events.Message) bool { return reflect.DeepEqual(got, want) }) {
			t.Errorf("docs/wire-format.md: no golden file holds this:\n%s", block[1])
		}
		event, err := events.Decode(got)
		if err != nil {
			t.Error(err)
			continue
		}
		delete(kinds, event.Fact.Type())
	}
	for kind := range kinds {
		t.Errorf("docs/wire-format.md has no example of %s", kind)
	}
}

func goldenMessages(t *testing.T) []events.Message {
	t.Helper()
	files, err := filepath.Glob("events/testdata/v1/*.json")
	if err != nil {
		t.Fatal(err)
	}
	messages := make([]events.Message, 0, len(files))
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var golden struct {
			Subject string
			Header  map[string]string
			Body    string
		}
		if err := json.Unmarshal(content, &golden); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		message := events.Message{Subject: golden.Subject, Header: map[string][]string{}, Body: []byte(golden.Body)}
		for header, value := range golden.Header {
			message.Header[header] = []string{value}
		}
		messages = append(messages, message)
	}
	return messages
}

// parseExample reads a subject, headers, an empty line and a body.
func parseExample(t *testing.T, text string) events.Message {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	message := events.Message{Subject: lines[0], Header: map[string][]string{}}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		message.Header[name] = []string{value}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(body)); err != nil {
		t.Fatalf("%s: %v", message.Subject, err)
	}
	message.Body = compact.Bytes()
	return message
}
