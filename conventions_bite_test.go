package curfew_test

import (
	"strings"
	"testing"
)

// bites are texts that break a rule, and their twins that come close and keep
// it.
var bites = []struct {
	rule  string
	path  string
	wrong string
	right string
}{
	{
		rule: "Imports run one way", path: "sessions/x.go",
		wrong: `package sessions; import _ "curfew/sessions/guard"`,
		right: `package sessions; import _ "curfew/events"`,
	},
	{
		rule: "Imports run one way", path: "sessions/guard/x.go",
		wrong: `package guard; import _ "curfew/sessions/rp"`,
		right: `package guard; import _ "curfew/sessions"`,
	},
	{
		rule: "Imports run one way", path: "store/x_test.go",
		wrong: `package store; import _ "curfew/backchannel"`,
		right: `package store; import _ "curfew/events/memlog"`,
	},
	{
		rule: "The core does no I/O", path: "sessions/x.go",
		wrong: `package sessions; import _ "net/http"`,
		right: `package sessions; import _ "net/url"`,
	},
	{
		rule: "The core does no I/O", path: "events/x.go",
		wrong: `package events; import _ "github.com/nats-io/nats.go"`,
		right: `package events; import _ "github.com/google/uuid"`,
	},
	{
		rule: "Prometheus stays in cmd", path: "sessions/guard/x.go",
		wrong: `package guard; import _ "github.com/prometheus/client_golang/prometheus"`,
		right: `package guard; import _ "expvar"`,
	},
	{
		rule: "Only cmd wires", path: "store/x.go",
		wrong: `package store; import (_ "curfew/a"; _ "curfew/b"; _ "curfew/c"; _ "curfew/d"; _ "curfew/e"; _ "curfew/f")`,
		right: `package store; import (_ "curfew/a"; _ "curfew/b"; _ "curfew/c"; _ "curfew/d"; _ "curfew/e")`,
	},
	{
		rule: "Dependencies are chosen", path: "store/x.go",
		wrong: `package store; import _ "github.com/stretchr/testify/require"`,
		right: `package store; import _ "go.etcd.io/bbolt"`,
	},
	{
		rule: "Dependencies are chosen", path: "cmd/curfew/x.go",
		wrong: `package main; import _ "github.com/rogpeppe/go-internal/testscript"`,
		right: `package main; import _ "golang.org/x/sys/unix"`,
	},
	{
		rule: "Dependencies are chosen", path: "go.mod",
		wrong: "require (\n\texample.com/left/pad v1.0.0\n)\n",
		right: "require (\n\texample.com/left/pad v1.0.0 // indirect\n\tgo.etcd.io/bbolt v1.5.0\n)\n",
	},
	{
		rule: "The time is given", path: "store/x.go",
		wrong: `package store; import clock "time"; var _ = func() bool { return clock.Now().IsZero() }`,
		right: `package store; import "time"; type S struct{ Now func() time.Time }; func (s S) f() time.Time { return s.Now() }`,
	},
	{
		rule: "The time is given", path: "store/x.go",
		wrong: `package store; import "time"; func f(t time.Time) time.Duration { return time.Since(t) }`,
		right: `package store; import "time"; func f(t, u time.Time) time.Duration { return t.Sub(u) }`,
	},
	{
		rule: "Goroutines start in cmd", path: "store/x.go",
		wrong: `package store; func f() { go f() }`,
		right: `package store; func f() { f() }`,
	},
	{
		rule: "Goroutines start in cmd", path: "store/x.go",
		wrong: `package store; import "sync"; func f() { var w sync.WaitGroup; w.Go(f) }`,
		right: `package store; import "sync"; func f() { var w sync.WaitGroup; w.Wait() }`,
	},
	{
		rule: "Goroutines start in cmd", path: "store/x.go",
		wrong: `package store; import "time"; func f() { time.AfterFunc(1, f) }`,
		right: `package store; import "time"; func f() { time.NewTimer(1) }`,
	},
	{
		rule: "No init", path: "store/x.go",
		wrong: `package store; func init() {}`,
		right: `package store; type s struct{}; func (s) init() {}`,
	},
	{
		rule: "No mutable globals", path: "store/x.go",
		wrong: `package store; var count int`,
		right: `package store; import "errors"; var errGone = errors.New("store: gone")`,
	},
	{
		rule: "No mutable globals", path: "store/x.go",
		wrong: `package store; var seen = map[string]bool{}`,
		right: `package store; var known = map[string]bool{"a": true}`,
	},
	{
		rule: "No mutable globals", path: "store/x.go",
		wrong: `package store; var known = map[string]bool{"a": true}; func f() { known["b"] = true }`,
		right: `package store; var known = map[string]bool{"a": true}; func f() { known := map[string]bool{}; known["b"] = true }`,
	},
	{
		rule: "No mutable globals", path: "store/x.go",
		wrong: `package store; import "sync"; var mu = sync.Mutex{}`,
		right: "package store; import _ \"embed\"\n//go:embed x.html\nvar page string",
	},
	{
		rule: "No mutable globals", path: "store/x.go",
		wrong: `package store; var page = "x"; func f() *string { return &page }`,
		right: `package store; var page = "x"; func f() string { return page }`,
	},
	{
		rule: "No sleeping tests", path: "store/x_test.go",
		wrong: `package store; import "time"; func f() { time.Sleep(1) }`,
		right: `package store; import "time"; func f() { <-time.After(1) }`,
	},
	{
		rule: "Skipping is for want of parts", path: "store/x_test.go",
		wrong: `package store; import "testing"; func TestX(t *testing.T) { t.Skip("no nginx") }`,
		right: `package store; import ("os"; "testing"); func TestX(t *testing.T) { if os.Getenv("CI") == "" { t.Skip("no nginx") } }`,
	},
	{
		rule: "Errors say what", path: "store/x.go",
		wrong: `package store; import "fmt"; var _ = fmt.Errorf("store: fai` + `led to open: %w", nil)`,
		right: `package store; import "fmt"; var _ = fmt.Errorf("store: open: %w", nil)`,
	},
	{
		rule: "Functions are short", path: "store/x.go",
		wrong: "package store; func f() {" + strings.Repeat("\n", 60) + "}",
		right: "package store; func f() {" + strings.Repeat("\n", 59) + "}",
	},
	{
		rule: "Files are short", path: "store/x.go",
		wrong: "package store" + strings.Repeat("\n", 401),
		right: "package store" + strings.Repeat("\n", 400),
	},
	{
		rule: "Interfaces are small", path: "store/x.go",
		wrong: `package store; type i interface{ a(); b(); c(); d(); e() }`,
		right: `package store; type i interface{ a(); b(); c(); d() }`,
	},
	{
		rule: "Exported names are documented", path: "store/x.go",
		wrong: "package store\n\ntype Store struct{}\n",
		right: "package store\n\n// Store is one.\ntype Store struct{}\n",
	},
	{
		rule: "Exported names are documented", path: "store/x.go",
		wrong: "package store\n\ntype Store[T any] struct{}\n\nfunc (s *Store[T]) Open() {}\n",
		right: "package store\n\ntype store struct{}\n\nfunc (s *store) Open() {}\n",
	},
	{
		rule: "Names mean something", path: "store/utils/x.go",
		wrong: `package utils`,
	},
	{
		rule: "The house has these rooms", path: "pkg/x.txt",
		wrong: "x",
	},
	{
		rule: "Settings are documented", path: "cmd/curfew/x.go",
		wrong: `package main; const name = "CURFEW_COLOUR"`,
		right: `package main; const name = "HOME"`,
	},
	{
		rule: "Links lead somewhere", path: "docs/x.md",
		wrong: "see [there](y.md)",
		right: "see [here](x.md#top) and [there](https://example.com)",
	},
	{
		rule: "Nothing is left for later", path: "store/x.go",
		wrong: "package store // TO" + "DO: close it",
		right: "package store // todos are another matter",
	},
	{
		rule: "Texts stand anywhere", path: "docs/x.md",
		wrong: "see /ho" + "me/ann/curfew",
		right: "see /var/lib/curfew",
	},
	{
		rule: "Texts stand anywhere", path: "docs/x.md",
		wrong: "fetched from registry." + "npmjs.org",
		right: "fetched from the package registry",
	},
	{
		rule: "Texts stand anywhere", path: "cmd/curfew/testdata/op/package-lock.json",
		wrong: `{"resolved": "x"}`,
		right: `{"version": "1.0.0"}`,
	},
}

// TestConventionsBite shows that each rule can fail.
func TestConventionsBite(t *testing.T) {
	byName := make(map[string]rule)
	untried := make(map[string]bool)
	for _, rule := range rules {
		byName[rule.name], untried[rule.name] = rule, true
	}
	for _, bite := range bites {
		delete(untried, bite.rule)
		if got := findings(t, byName[bite.rule], bite.path, bite.wrong); len(got) == 0 {
			t.Errorf("%s: found nothing in %s:\n%s", bite.rule, bite.path, bite.wrong)
		}
		if bite.right == "" {
			continue
		}
		if got := findings(t, byName[bite.rule], bite.path, bite.right); len(got) != 0 {
			t.Errorf("%s: found %q in %s:\n%s", bite.rule, got, bite.path, bite.right)
		}
	}
	for name := range untried {
		t.Errorf("%s: no text here breaks it", name)
	}
}

func findings(t *testing.T, rule rule, path, text string) []string {
	t.Helper()
	made, err := newTree(map[string]string{path: text})
	if err != nil {
		t.Fatal(err)
	}
	return rule.check(made)
}
