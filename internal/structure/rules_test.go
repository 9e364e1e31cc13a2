package structure

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rule is one thing that must hold for the whole tree.
type rule struct {
	name string
	// why is what a person reads who broke it: the reason, and what to do instead.
	why string
	// check returns one line for each violation, starting with the place.
	check func(*tree) []string
	// sample is a small tree (path to content) that breaks the rule, next to things that are allowed; want is exactly
	// what check finds there. A go.mod for the root is added to it.
	sample map[string]string
	want   []string
}

// rules are all of them; TestRules holds the repository to each.
var rules = slices.Concat(importRules, shapeRules, habitRules, documentRules)

func TestRules(t *testing.T) {
	tr := load(t, filepath.Join("..", ".."))
	if len(tr.files) == 0 || !tr.exists("go.mod") {
		t.Fatal("the root of the repository is not two folders up; mend the path in this test")
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, violation := range r.check(tr) {
				t.Error(violation)
			}
			if t.Failed() {
				t.Log("Why: " + r.why)
			}
		})
	}
}

func TestRulesCatch(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if len(r.want) == 0 {
				t.Fatal("this rule's sample breaks nothing, so nothing shows that the rule can fail")
			}
			got := r.check(load(t, plant(t, r.sample)))
			slices.Sort(got)
			if diff := cmp.Diff(r.want, got); diff != "" {
				t.Errorf("violations found in the sample (-want +got):\n%s", diff)
			}
		})
	}
}

// plant writes a tree of files to a folder of its own and returns that.
func plant(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module "+modulePath+"\n")
	for name, content := range files {
		write(name, content)
	}
	return root
}

// source makes a Go file of a package clause and the given lines.
func source(lines ...string) string {
	return "package p\n\n" + strings.Join(lines, "\n") + "\n"
}

// importing makes a Go file that imports the given paths.
func importing(paths ...string) string {
	var b strings.Builder
	b.WriteString("package p\n")
	for _, p := range paths {
		b.WriteString("\nimport _ \"" + strings.Replace(p, "HOLT", modulePath, 1) + "\"\n")
	}
	return b.String()
}
