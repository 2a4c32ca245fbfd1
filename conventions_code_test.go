package curfew_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// partsOfTests are packages that only tests import, and that run in their time.
var partsOfTests = []string{"events/natslog/natstest", "events/logtest", "sessions/rp/optest/realop"}

func timeIsGiven(t *tree) []string {
	return t.each(func(p *pkg, file *source, n ast.Node) string {
		e, ok := n.(*ast.SelectorExpr)
		if !ok || file.test || inCmd(p.dir) || slices.Contains(partsOfTests, p.dir) || !p.names(e, "time", "Now", "Since", "Until") {
			return ""
		}
		return "time." + e.Sel.Name + " outside cmd"
	})
}

func noSleepingTests(t *tree) []string {
	return t.each(func(p *pkg, file *source, n ast.Node) string {
		if e, ok := n.(*ast.SelectorExpr); ok && file.test && p.names(e, "time", "Sleep") {
			return "a test sleeps"
		}
		return ""
	})
}

// mayStart are the packages outside cmd that may start goroutines: the small
// provider, a server for tests and the demo, beside the parts of tests.
var mayStart = append([]string{"sessions/rp/optest"}, partsOfTests...)

func goroutinesStartInCmd(t *tree) []string {
	return t.each(func(p *pkg, file *source, n ast.Node) string {
		if file.test || inCmd(p.dir) || slices.Contains(mayStart, p.dir) {
			return ""
		}
		switch n := n.(type) {
		case *ast.GoStmt:
			return "a go statement"
		case *ast.CallExpr:
			// context.AfterFunc may stand: it joins contexts, and runs no longer
			// than a cancel does.
			if p.names(n.Fun, "time", "AfterFunc") {
				return "time.AfterFunc, which runs in a goroutine of its own"
			}
			// errgroup's and sync.WaitGroup's way of saying go.
			if call, ok := n.Fun.(*ast.SelectorExpr); ok && call.Sel.Name == "Go" && len(n.Args) == 1 {
				return "a call of Go"
			}
		}
		return ""
	})
}

func noInit(t *tree) []string {
	return t.each(func(_ *pkg, _ *source, n ast.Node) string {
		if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			return "an init function"
		}
		return ""
	})
}

// noMutableGlobals takes every package-level variable for a constant that Go
// cannot write as one, and so finds those that are born unset, or are made to
// be filled, or are written to.
func noMutableGlobals(t *tree) []string {
	return t.each(func(p *pkg, file *source, n ast.Node) string {
		if file.test {
			return ""
		}
		switch n := n.(type) {
		case *ast.File:
			return bornMutable(p, n)
		case *ast.AssignStmt:
			return firstWritten(p, n.Tok != token.DEFINE, n.Lhs...)
		case *ast.IncDecStmt:
			return firstWritten(p, true, n.X)
		case *ast.UnaryExpr:
			return firstWritten(p, n.Op == token.AND, n.X)
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") {
				return firstWritten(p, true, n.Args[0])
			}
		}
		return ""
	})
}

func firstWritten(p *pkg, writes bool, targets ...ast.Expr) string {
	for _, target := range targets {
		if v := p.variable(target); writes && v != nil {
			return "the package's variable " + v.Name() + " is written to"
		}
	}
	return ""
}

// bornMutable returns the first variable of a file that cannot be meant as a
// constant.
func bornMutable(p *pkg, file *ast.File) string {
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		for _, spec := range d.Specs {
			s := spec.(*ast.ValueSpec)
			if len(s.Values) == 0 && !embeds(d, s) {
				return "the package's variable " + s.Names[0].Name + " is born unset"
			}
			for i, value := range s.Values {
				if s.Names[i].Name != "_" && madeToBeFilled(p, value) {
					return "the package's variable " + s.Names[i].Name + " is made to be filled"
				}
			}
		}
	}
	return ""
}

// embeds reports whether a variable is set by a go:embed comment.
func embeds(d *ast.GenDecl, s *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, s.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// madeToBeFilled recognises make, new, pointers to literals, empty maps, and
// the locks and counters of sync.
func madeToBeFilled(p *pkg, value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.CallExpr:
		f, ok := v.Fun.(*ast.Ident)
		return ok && (f.Name == "make" || f.Name == "new")
	case *ast.UnaryExpr:
		return v.Op == token.AND
	case *ast.CompositeLit:
		if selector, ok := v.Type.(*ast.SelectorExpr); ok {
			return p.names(selector, "sync", selector.Sel.Name) || p.names(selector, "sync/atomic", selector.Sel.Name)
		}
		_, isMap := v.Type.(*ast.MapType)
		return isMap && len(v.Elts) == 0
	}
	return false
}

// skippingAsksForCI wants each package whose tests may skip to look at CI.
func skippingAsksForCI(t *tree) (findings []string) {
	for dir, p := range t.packages {
		skips, asks := "", false
		p.walk(func(file *source, n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok || !file.test {
				return
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method.Sel.Name) {
				skips = file.at(n.Pos())
			}
			if p.names(call.Fun, "os", "Getenv", "LookupEnv") && len(call.Args) == 1 {
				name, ok := call.Args[0].(*ast.BasicLit)
				asks = asks || ok && name.Value == `"CI"`
			}
		})
		if skips != "" && !asks {
			findings = append(findings, fmt.Sprintf("%s: %s skips without asking for CI", skips, dir))
		}
	}
	return findings
}
