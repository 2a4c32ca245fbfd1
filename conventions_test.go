// Package curfew_test holds the rules that the whole project keeps, as tests.
package curfew_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// rule is one convention with the reason for it.
type rule struct {
	name  string
	why   string
	check func(*tree) []string
}

var rules = []rule{
	{"Imports run one way", "a package that knows nothing of what is built on it can be read, tested and changed by itself", importsRunOneWay},
	{"The core does no I/O", "sessions and events decide who is signed in: that must be testable in memory and the same on every replica, so it reaches no network, disk or broker", coreDoesNoIO},
	{"Prometheus stays in cmd", "what is measured is the program's business; a package that counts for itself needs a global registry", prometheusInCmd},
	{"Only cmd wires", "a package that needs more than five of ours is doing the wiring, which belongs in one place", onlyCmdWires},
	{"Dependencies are chosen", "each further dependency is code that everyone who runs curfew trusts with their sessions: it needs a sentence here", dependenciesAreChosen},
	{"The time is given", "a struct that takes Now can be tested at any time of day, and a rule that takes now cannot forget to ask for it once", timeIsGiven},
	{"Goroutines start in cmd", "whoever starts a goroutine must wait for its end, and only App.Run knows when that is; packages offer a Run that blocks", goroutinesStartInCmd},
	{"No init", "code that runs because it was imported runs in every test and in no order that can be read", noInit},
	{"No mutable globals", "two replicas in one process, as in the tests and the demo, must share nothing", noMutableGlobals},
	{"No sleeping tests", "a sleep is too short on a slow machine and too long on all others: wait for what you mean, or use testing/synctest", noSleepingTests},
	{"Skipping is for want of parts", "a test that skips where it should not is a test that is not there: with CI=true a missing part must fail", skippingAsksForCI},
	{"Errors say what", "an error is read behind others, so \"failed to\" says nothing: say package: thing: cause", errorsSayWhat},
	{"Functions are short", "a function of more than 60 lines does more than one thing", functionsAreShort},
	{"Files are short", "a file of more than 400 lines holds more than one subject", filesAreShort},
	{"Interfaces are small", "an interface of more than four methods is a class of its own making: take what you use", interfacesAreSmall},
	{"Exported names are documented", "what a name means, and what it does not check, cannot be read off its type", exportedAreDocumented},
	{"Names mean something", "a package called utils, helpers or common says nothing of what it holds, and so ends up holding everything", namesMeanSomething},
	{"The house has these rooms", "a new folder at the top is a decision: write it into docs/architecture.md and here", houseHasTheseRooms},
	{"Settings are documented", "a setting that no page names does not exist for those who run curfew, and one that only a page names misleads them", settingsAreDocumented},
	{"Links lead somewhere", "a page that is linked to and not there was moved without its readers", linksLead},
	{"Nothing is left for later", "a note to do something is done, or is an issue: in the code nobody finds it", nothingIsLeftForLater},
	{"Texts stand anywhere", "a path on one machine or the host of a registry works for one person, and tells the rest about them", textsStandAnywhere},
}

// tiers says how far up each package is. A package imports only what is
// further down. A folder that is not here needs a place first.
var tiers = map[string]int{
	"events":                    0,
	"events/memlog":             1,
	"events/logtest":            1,
	"sessions":                  1,
	"events/natslog":            2,
	"events/natslog/natstest":   2,
	"sessions/rp":               3,
	"sessions/rp/optest":        2,
	"sessions/rp/optest/realop": 3,
	"sessions/guard":            2,
	"sessions/pages":            2,
	"backchannel":               2,
	"store":                     2,
	"cmd/curfew":                4,
	"cmd/curfew/demo":           3,
	"cmd/curfew/proof":          4,
	"deploy/subscribers/in-go":  0, // an example of somebody else's application: it knows nothing of ours
}

// testHelpers may be imported by the tests of any package.
var testHelpers = []string{"events/memlog", "events/logtest", "events/natslog/natstest", "sessions/rp/optest", "sessions/rp/optest/realop"}

func importsRunOneWay(t *tree) (findings []string) {
	for dir, p := range t.packages {
		if dir == "." {
			continue
		}
		tier, known := tiers[dir]
		if !known {
			findings = append(findings, dir+" has no place among the tiers of conventions_test.go")
			continue
		}
		for _, file := range p.files {
			for _, imported := range file.ours() {
				helps := file.test && (slices.Contains(testHelpers, imported) || imported == dir)
				if below, known := tiers[imported]; !helps && (!known || below >= tier) {
					findings = append(findings, fmt.Sprintf("%s imports %s, which is not below it", file.path, imported))
				}
			}
		}
	}
	return findings
}

func coreDoesNoIO(t *tree) (findings []string) {
	for _, dir := range []string{"events", "sessions"} {
		p := t.packages[dir]
		if p == nil {
			continue
		}
		for _, file := range p.files {
			for _, imported := range file.imports() {
				if doesIO(imported) && !file.test {
					findings = append(findings, fmt.Sprintf("%s imports %s", file.path, imported))
				}
			}
		}
	}
	return findings
}

// doesIO recognises the packages that reach out. Of net's, two only handle text.
func doesIO(imported string) bool {
	switch {
	case imported == "net/url", imported == "net/netip":
		return false
	case imported == "os", imported == "net", strings.HasPrefix(imported, "net/"):
		return true
	default:
		return strings.Contains(imported, "bbolt") || strings.Contains(imported, "nats-io")
	}
}

func inCmd(dir string) bool { return dir == "cmd" || strings.HasPrefix(dir, "cmd/") }

func prometheusInCmd(t *tree) (findings []string) {
	for dir, p := range t.packages {
		for _, file := range p.files {
			for _, imported := range file.imports() {
				if strings.HasPrefix(imported, "github.com/prometheus/") && !inCmd(dir) {
					findings = append(findings, fmt.Sprintf("%s imports %s", file.path, imported))
				}
			}
		}
	}
	return findings
}

func onlyCmdWires(t *tree) (findings []string) {
	for dir, p := range t.packages {
		used := make(map[string]bool)
		for _, file := range p.files {
			if !file.test {
				for _, imported := range file.ours() {
					used[imported] = true
				}
			}
		}
		if len(used) > 5 && !inCmd(dir) {
			findings = append(findings, fmt.Sprintf("%s imports %d of our packages: %s", dir, len(used), strings.Join(slices.Sorted(maps.Keys(used)), ", ")))
		}
	}
	return findings
}

// dependencies are the modules our code may import, each with what it is for.
var dependencies = map[string]string{
	"github.com/nats-io/nats.go":          "the log's client",
	"github.com/nats-io/nats-server/v2":   "the embedded log, in serve and in tests",
	"github.com/coreos/go-oidc/v3":        "verifies ID and logout tokens",
	"golang.org/x/oauth2":                 "exchanges codes and refresh tokens",
	"github.com/go-jose/go-jose/v4":       "parses tokens where go-oidc does not reach",
	"github.com/fernet/fernet-go":         "seals tokens and claims in a form other tools can open",
	"go.etcd.io/bbolt":                    "the store",
	"github.com/spf13/cobra":              "the command line",
	"github.com/knadh/koanf/v2":           "merges flags, environment and file",
	"github.com/knadh/koanf/parsers/yaml": "reads --config",
	"github.com/knadh/koanf/providers/":   "koanf's sources: flags, environment, file",
	"github.com/prometheus/client_golang": "metrics",
	"github.com/google/uuid":              "time-ordered ids",
	"golang.org/x/sys":                    "CLOCK_BOOTTIME, on which a lease is measured",
	"golang.org/x/text":                   "matches Accept-Language with the languages that the pages speak",
	"go.yaml.in/yaml/v3":                  "reads the pages' texts, with the line of each; koanf brings it anyway",
	"golang.org/x/time":                   "rations fresh looks at an OP's keys",
	"github.com/rogpeppe/go-internal":     "testscript, in tests only",
	"github.com/anishathalye/porcupine":   "linearizability, in tests only",
	"github.com/coder/websocket":          "websockets, in the example of deploy/subscribers and in tests of it",
	"github.com/chromedp/chromedp":        "a browser that looks at the pages, in tests only",
	"github.com/chromedp/cdproto":         "what chromedp has no words of its own for, in tests only",
}

func dependenciesAreChosen(t *tree) (findings []string) {
	for _, p := range t.packages {
		for _, file := range p.files {
			for _, imported := range file.imports() {
				if strings.Contains(strings.Split(imported, "/")[0], ".") && !chosen(imported, file.test) {
					findings = append(findings, fmt.Sprintf("%s imports %s", file.path, imported))
				}
			}
		}
	}
	return append(findings, unchosenModules(t.texts["go.mod"])...)
}

func chosen(imported string, test bool) bool {
	for known := range dependencies {
		if imported == known || strings.HasPrefix(imported, strings.TrimSuffix(known, "/")+"/") {
			return test || !strings.HasSuffix(dependencies[known], "in tests only")
		}
	}
	return false
}

var requirement = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+) v\S+$`)

func unchosenModules(gomod string) (findings []string) {
	for _, match := range requirement.FindAllStringSubmatch(gomod, -1) {
		if !chosen(match[1], true) {
			findings = append(findings, "go.mod requires "+match[1]+" directly")
		}
	}
	return findings
}

// rooms are the folders at the top, after docs/architecture.md.
var rooms = []string{"cmd", "events", "sessions", "backchannel", "store", "deploy", "docs"}

func houseHasTheseRooms(t *tree) (findings []string) {
	for _, folder := range t.folders {
		if !strings.HasPrefix(folder, ".") && !slices.Contains(rooms, folder) {
			findings = append(findings, folder+"/ is not one of "+strings.Join(rooms, ", "))
		}
	}
	return findings
}

func namesMeanSomething(t *tree) (findings []string) {
	for dir := range t.packages {
		if slices.Contains([]string{"util", "utils", "helper", "helpers", "common", "misc", "shared", "base", "internal"}, path.Base(dir)) {
			findings = append(findings, dir)
		}
	}
	return findings
}

// anywhere is grep's for all files.
func anywhere(string) bool { return true }

// later and machine are found by plain words first: a regular expression over
// all texts takes a second.
var (
	later      = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	laterHints = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}

	// machine matches paths that exist on one machine and hosts of package
	// registries.
	machine = regexp.MustCompile(`/(?:work/(?:main|shared)|root|Users|home/\w+|tmp)/\w` +
		`|registry\.(?:npmjs|yarnpkg|npmmirror)\.|proxy\.golang\.org|sum\.golang\.org|deb\.debian\.org|pypi\.org`)
	machineHints = []string{"/work/", "/root/", "/Users/", "/home/", "/tmp/", "registry.", "golang.org", "debian.org", "pypi."}

	resolved = regexp.MustCompile(`"resolved"\s*:`)
)

func nothingIsLeftForLater(t *tree) []string { return t.grep(later, laterHints, anywhere) }

func textsStandAnywhere(t *tree) []string {
	isLock := func(name string) bool { return path.Base(name) == "package-lock.json" }
	return append(t.grep(machine, machineHints, anywhere), t.grep(resolved, []string{"resolved"}, isLock)...)
}

// grep finds the lines of all texts, code included, that hold one of the hints
// and match.
func (t *tree) grep(pattern *regexp.Regexp, hints []string, in func(name string) bool) (findings []string) {
	hinted := func(text string) bool {
		return slices.ContainsFunc(hints, func(hint string) bool { return strings.Contains(text, hint) })
	}
	look := func(name, text string) {
		if !in(name) || !hinted(text) {
			return
		}
		for i, line := range strings.Split(text, "\n") {
			if !hinted(line) {
				continue
			}
			if found := pattern.FindString(line); found != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s", name, i+1, found))
			}
		}
	}
	for name, text := range t.texts {
		look(name, text)
	}
	for _, p := range t.packages {
		for _, file := range p.files {
			look(file.path, file.text)
		}
	}
	return findings
}

func filesAreShort(t *tree) (findings []string) {
	for _, p := range t.packages {
		for _, file := range p.files {
			if lines := strings.Count(file.text, "\n"); lines > 400 {
				findings = append(findings, fmt.Sprintf("%s has %d lines", file.path, lines))
			}
		}
	}
	return findings
}

func functionsAreShort(t *tree) (findings []string) {
	return t.each(func(_ *pkg, file *source, n ast.Node) string {
		f, ok := n.(*ast.FuncDecl)
		if !ok || file.test || f.Body == nil {
			return ""
		}
		if lines := file.line(f.End()) - file.line(f.Pos()) + 1; lines > 60 {
			return fmt.Sprintf("%s has %d lines", f.Name.Name, lines)
		}
		return ""
	})
}

// each collects what look finds wrong with the nodes of all code.
func (t *tree) each(look func(*pkg, *source, ast.Node) string) (findings []string) {
	for _, dir := range slices.Sorted(maps.Keys(t.packages)) {
		p := t.packages[dir]
		p.walk(func(file *source, n ast.Node) {
			if wrong := look(p, file, n); wrong != "" {
				findings = append(findings, file.at(n.Pos())+": "+wrong)
			}
		})
	}
	return findings
}

func interfacesAreSmall(t *tree) []string {
	return t.each(func(_ *pkg, _ *source, n ast.Node) string {
		i, ok := n.(*ast.InterfaceType)
		if !ok || len(i.Methods.List) <= 4 {
			return ""
		}
		return fmt.Sprintf("an interface of %d methods", len(i.Methods.List))
	})
}

func exportedAreDocumented(t *tree) (findings []string) {
	for _, p := range t.packages {
		for _, file := range p.files {
			for _, decl := range file.ast.Decls {
				if name := undocumented(decl); name != "" && !file.test {
					findings = append(findings, fmt.Sprintf("%s: %s says nothing", file.at(decl.Pos()), name))
				}
			}
		}
	}
	return findings
}

// undocumented returns the first exported name in decl that has no comment.
func undocumented(decl ast.Decl) string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiver(d))) {
			return d.Name.Name
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
					return s.Name.Name
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					return s.Names[0].Name
				}
			}
		}
	}
	return ""
}

func receiver(d *ast.FuncDecl) string {
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return true
	})
	return name
}

var noise = regexp.MustCompile(`^["\x60](?:\w+: )*(?i:failed to|could not|unable to|cannot) `)

func errorsSayWhat(t *tree) []string {
	return t.each(func(_ *pkg, file *source, n ast.Node) string {
		if text, ok := n.(*ast.BasicLit); ok && !file.test && text.Kind == token.STRING && noise.MatchString(text.Value) {
			return "a text begins " + noise.FindString(text.Value)
		}
		return ""
	})
}
