package curfew_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// module is our import path, under which our own packages are told from others'.
const module = "curfew"

// tree is the project as its rules see it: parsed, not built, so that the rules
// run in a moment and on code that does not compile yet.
type tree struct {
	fset     *token.FileSet
	packages map[string]*pkg   // by folder, "." for the root
	texts    map[string]string // every other tracked text, by path
	folders  []string          // at the top
}

// pkg is one folder of Go code.
type pkg struct {
	dir   string
	files []*source
	// info tells what a name stands for. It is as whole as it can be without
	// the packages that ours import.
	info *types.Info
}

// source is one Go file.
type source struct {
	path string
	test bool
	text string
	fset *token.FileSet
	ast  *ast.File
}

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (s *source) at(p token.Pos) string { return fmt.Sprintf("%s:%d", s.path, s.line(p)) }

// imports lists the import paths of a file.
func (s *source) imports() []string {
	list := make([]string, 0, len(s.ast.Imports))
	for _, spec := range s.ast.Imports {
		list = append(list, strings.Trim(spec.Path.Value, "`\""))
	}
	return list
}

// ours lists the folders of our own packages that a file imports.
func (s *source) ours() []string {
	var list []string
	for _, imported := range s.imports() {
		if dir, found := strings.CutPrefix(imported, module+"/"); found {
			list = append(list, dir)
		}
	}
	return list
}

// skipped are names of files and folders that are nobody's text: they are not
// tracked, or belong to others.
var skipped = []string{".git", "node_modules", "curfew-data", "bin", "coverage.out"}

// readTree reads the project in the current folder.
func readTree() (*tree, error) {
	contents := make(map[string]string)
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(skipped, d.Name()) && d.IsDir():
			return fs.SkipDir
		case !d.Type().IsRegular() || slices.Contains(skipped, d.Name()):
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !strings.Contains(string(content), "\x00") {
			contents[name] = string(content)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("conventions: read the tree: %w", err)
	}
	return newTree(contents)
}

// newTree makes a tree of files given by path.
func newTree(contents map[string]string) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), packages: make(map[string]*pkg), texts: make(map[string]string)}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		if top, _, nested := strings.Cut(name, "/"); nested && !slices.Contains(t.folders, top) {
			t.folders = append(t.folders, top)
		}
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			t.texts[name] = contents[name]
			continue
		}
		if err := t.parse(name, contents[name]); err != nil {
			return nil, err
		}
	}
	for _, p := range t.packages {
		p.resolve(t.fset)
	}
	return t, nil
}

func (t *tree) parse(name, text string) error {
	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("conventions: %w", err)
	}
	dir := path.Dir(name)
	if t.packages[dir] == nil {
		t.packages[dir] = &pkg{dir: dir}
	}
	t.packages[dir].files = append(t.packages[dir].files, &source{
		path: name, test: strings.HasSuffix(name, "_test.go"), text: text, fset: t.fset, ast: file,
	})
	return nil
}

// resolve finds what the names in each file stand for. Errors are no concern of
// ours: the compiler reports them.
func (p *pkg) resolve(fset *token.FileSet) {
	p.info = &types.Info{
		Uses:  make(map[*ast.Ident]types.Object),
		Defs:  make(map[*ast.Ident]types.Object),
		Types: make(map[ast.Expr]types.TypeAndValue),
	}
	config := types.Config{Error: func(error) {}, Importer: hollow{}}
	for name, files := range p.byClause() {
		_, _ = config.Check(name, fset, files, p.info)
	}
}

// byClause groups the files by package clause: a folder may hold an external
// test package beside its own.
func (p *pkg) byClause() map[string][]*ast.File {
	groups := make(map[string][]*ast.File)
	for _, file := range p.files {
		name := file.ast.Name.Name
		groups[name] = append(groups[name], file.ast)
	}
	return groups
}

// hollow imports every package as an empty one of the right path: enough to
// tell what an identifier before a dot is.
type hollow struct{}

func (hollow) Import(importPath string) (*types.Package, error) {
	p := types.NewPackage(importPath, path.Base(importPath))
	p.MarkComplete()
	return p, nil
}

// has reports whether there is a file or folder of this name.
func (t *tree) has(name string) bool {
	if _, found := t.texts[name]; found {
		return true
	}
	for _, p := range t.packages {
		for _, file := range p.files {
			if file.path == name {
				return true
			}
		}
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(t.texts)), func(text string) bool { return strings.HasPrefix(text, name+"/") })
}

// join is the path that a link on a page leads to.
func join(page, target string) string { return path.Join(path.Dir(page), target) }

// names reports whether an expression is name in the package at importPath.
func (p *pkg) names(expr ast.Expr, importPath string, names ...string) bool {
	selector, ok := expr.(*ast.SelectorExpr)
	if !ok || !slices.Contains(names, selector.Sel.Name) {
		return false
	}
	before, ok := selector.X.(*ast.Ident)
	if !ok {
		return false
	}
	imported, ok := p.info.Uses[before].(*types.PkgName)
	return ok && imported.Imported().Path() == importPath
}

// variable returns the package-level variable that an expression reads or
// writes at its root, and nil if there is none.
func (p *pkg) variable(expr ast.Expr) *types.Var {
	for {
		switch e := expr.(type) {
		case *ast.ParenExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.SelectorExpr:
			expr = e.X
		case *ast.StarExpr:
			expr = e.X
		case *ast.Ident:
			v, ok := p.info.Uses[e].(*types.Var)
			if !ok || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
				return nil
			}
			return v
		default:
			return nil
		}
	}
}

// walk calls visit for every node of a package's files.
func (p *pkg) walk(visit func(*source, ast.Node)) {
	for _, file := range p.files {
		ast.Inspect(file.ast, func(n ast.Node) bool {
			if n != nil {
				visit(file, n)
			}
			return true
		})
	}
}

// TestConventions holds the rules of this project. Each failure says why there
// is such a rule.
func TestConventions(t *testing.T) {
	whole, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, finding := range rule.check(whole) {
				t.Errorf("%s\nwhy: %s", finding, rule.why)
			}
		})
	}
}
