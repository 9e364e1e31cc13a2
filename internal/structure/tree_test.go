package structure

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// file is one parsed Go file of a tree.
type file struct {
	path   string // slash-separated, relative to the root
	dir    string // of path; "." for the root
	module string // folder of the go.mod that it belongs to; "." for the root's
	ast    *ast.File
	lines  int
}

func (f *file) test() bool      { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) generated() bool { return ast.IsGenerated(f.ast) }

// tree is a checkout: its Go files, sorted by path, and where they are.
type tree struct {
	root    string
	fset    *token.FileSet
	files   []*file
	modules []string // folders with a go.mod
}

// load parses every Go file below root that a build could see: not testdata, not hidden or built folders.
func load(t *testing.T, root string) *tree {
	t.Helper()
	tr := &tree{root: root, fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && rel != "." && skipped(rel):
			return fs.SkipDir
		case d.Name() == "go.mod":
			tr.modules = append(tr.modules, path.Dir(rel))
		case !d.IsDir() && strings.HasSuffix(rel, ".go"):
			return tr.add(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tr.files {
		f.module = tr.moduleOf(f.dir)
	}
	return tr
}

func skipped(dir string) bool {
	base := path.Base(dir)
	return base[0] == '.' || base[0] == '_' || base == "testdata" || dir == "bin"
}

func (tr *tree) add(rel string) error {
	source, err := os.ReadFile(filepath.Join(tr.root, rel))
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(tr.fset, rel, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	tr.files = append(tr.files, &file{
		path: rel, dir: path.Dir(rel), ast: parsed,
		lines: strings.Count(string(source), "\n"),
	})
	return nil
}

// moduleOf returns the nearest folder at or above dir that has a go.mod.
func (tr *tree) moduleOf(dir string) string {
	for !slices.Contains(tr.modules, dir) && dir != "." {
		dir = path.Dir(dir)
	}
	return dir
}

// at renders a position as file:line.
func (tr *tree) at(pos token.Pos) string {
	p := tr.fset.Position(pos)
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// read returns a file of the tree that is not Go, or "" if there is none: rules about documents then say what is missing.
func (tr *tree) read(rel string) string {
	content, err := os.ReadFile(filepath.Join(tr.root, rel))
	if err != nil {
		return ""
	}
	return string(content)
}

// exists tells whether rel is a file or folder of the tree.
func (tr *tree) exists(rel string) bool {
	_, err := os.Stat(filepath.Join(tr.root, rel))
	return err == nil
}

// below tells whether p is prefix or lies in it, by whole path elements.
func below(p, prefix string) bool {
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}

func belowAny(p string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return below(p, prefix) })
}

const modulePath = "github.com/holt-project/holt"

// local turns an import path into the folder that it names; ok is false if it is not of this module.
func local(importPath string) (dir string, ok bool) {
	if importPath == modulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has already refused such a file
	}
	return p
}

// importName is the name under which f uses a package, or "" if it does not import it.
func importName(f *file, wanted string) string {
	for _, spec := range f.ast.Imports {
		if importPath(spec) != wanted {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(wanted)
	}
	return ""
}
