package structure

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

const dependencies = "docs/dependencies.md"

var documentRules = []rule{
	{
		name: "every dependency has its reason",
		why: "a dependency is code that we answer for. " + dependencies + " has a table row for each direct one of every go.mod here, " +
			"starting with the module in backticks: what it is for, and why this one. A row whose module has gone goes too.",
		check: dependencyReasons,
		sample: map[string]string{
			"go.mod": "module " + modulePath + "\n\nrequire example.org/one v1.0.0\n\nrequire (\n\texample.org/two/v2 v2.0.0\n" +
				"\texample.org/three v1.0.0 // indirect\n\texample.org/lint v1.0.0 // indirect\n)\n\ntool example.org/lint/cmd/lint\n",
			"e2e/x/go.mod": "module x\n\nrequire example.org/four v1.0.0\n",
			dependencies:   "| module | for |\n|---|---|\n| `example.org/one` | it |\n| `example.org/two` | it |\n",
		},
		want: []string{
			"docs/dependencies.md: `example.org/two` is required by no go.mod",
			"e2e/x/go.mod: example.org/four has no row in docs/dependencies.md",
			"go.mod: example.org/lint/cmd/lint has no row in docs/dependencies.md",
			"go.mod: example.org/two/v2 has no row in docs/dependencies.md",
		},
	},
	{
		name: "the README names what is there",
		why: "the README is what a newcomer types. Every path in it (in backticks, as a link, or in a command that starts with a " +
			"folder of this repository) and every make target exists; bin/ is what the build makes. Correct whichever is wrong.",
		check: readme,
		sample: map[string]string{
			"Makefile":   "build: shim\n\tgo build\nshim images:\n\ttrue\n.PHONY: build\n",
			"docs/a.md":  "",
			"e2e/run.go": source(),
			"README.md": "See [a](docs/a.md), [b](docs/b.md#part), [web](https://example.org/docs/c.md), [top](#top).\n" +
				"`docs/`, `e2e/none/`, `shared/`, `k8s.io/api`, `/etc/holt/x`, `--images bin/images`, `e2e` and `LICENSE`, `Makefile`.\n" +
				"```sh\nmake build images  # and make away\nmake fly\nbin/holt up\nkubectl apply -f e2e/gone.yaml\n" +
				"kubectl get deployment/web\ncurl http://host/\n```\n`make shim` makes it; `make swim` does not. We make mistakes.\n",
		},
		want: []string{
			"README.md:11: the Makefile has no target swim",
			"README.md:1: docs/b.md does not exist",
			"README.md:2: LICENSE does not exist",
			"README.md:2: e2e/none/ does not exist",
			"README.md:2: shared/ does not exist",
			"README.md:5: the Makefile has no target fly",
			"README.md:7: e2e/gone.yaml does not exist",
		},
	},
}

func dependencyReasons(tr *tree) []string {
	var rows []string
	for line := range strings.Lines(tr.read(dependencies)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			module, _, _ := strings.Cut(rest, "`")
			rows = append(rows, module)
		}
	}
	var out, required []string
	for _, dir := range tr.modules {
		name := path.Join(dir, "go.mod")
		m := parseMod(tr.read(name))
		required = append(required, m.all...)
		for _, module := range slices.Concat(m.direct, m.tools) {
			covers := func(row string) bool { return row == module || slices.Contains(m.tools, module) && below(module, row) }
			if !slices.ContainsFunc(rows, covers) {
				out = append(out, fmt.Sprintf("%s: %s has no row in %s", name, module, dependencies))
			}
		}
	}
	for _, row := range rows {
		if !slices.Contains(required, row) {
			out = append(out, fmt.Sprintf("%s: `%s` is required by no go.mod", dependencies, row))
		}
	}
	return out
}

// mod is what the rules need of a go.mod.
type mod struct {
	direct []string // modules required without "// indirect"
	all    []string // every required module
	tools  []string // packages, not modules
}

// parseMod reads require and tool directives; go itself has checked the syntax.
func parseMod(content string) mod {
	var m mod
	block := ""
	for line := range strings.Lines(content) {
		code, comment, _ := strings.Cut(line, "//")
		words := strings.Fields(code)
		switch {
		case len(words) == 0:
			continue
		case words[0] == ")":
			block = ""
			continue
		case len(words) == 2 && words[1] == "(":
			block = words[0]
			continue
		case block != "":
			words = append([]string{block}, words...)
		}
		switch {
		case words[0] == "tool" && len(words) == 2:
			m.tools = append(m.tools, words[1])
		case words[0] == "require" && len(words) == 3:
			m.all = append(m.all, words[1])
			if strings.TrimSpace(comment) != "indirect" {
				m.direct = append(m.direct, words[1])
			}
		}
	}
	return m
}

var (
	links      = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	spans      = regexp.MustCompile("`([^`]+)`")
	fileNames  = regexp.MustCompile(`^[A-Z][A-Za-z]*(\.md)?$`) // LICENSE, Makefile, README.md
	targetName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	targets    = regexp.MustCompile(`(?m)^([a-z][a-z0-9 -]*):([^=]|$)`)
)

func readme(tr *tree) []string {
	made := makeTargets(tr.read("Makefile"))
	var out []string
	fenced, number := false, 0
	for line := range strings.Lines(tr.read("README.md")) {
		number++
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		paths, wanted := named(tr, line, fenced)
		for _, p := range paths {
			if !tr.exists(p) {
				out = append(out, fmt.Sprintf("README.md:%d: %s does not exist", number, p))
			}
		}
		for _, target := range wanted {
			if !slices.Contains(made, target) {
				out = append(out, fmt.Sprintf("README.md:%d: the Makefile has no target %s", number, target))
			}
		}
	}
	return out
}

func makeTargets(makefile string) []string {
	var out []string
	for _, match := range targets.FindAllStringSubmatch(makefile, -1) {
		out = append(out, strings.Fields(match[1])...)
	}
	return out
}

// named returns the paths of this repository and the make targets that a line of the README names.
func named(tr *tree, line string, fenced bool) (paths, wanted []string) {
	if fenced {
		command, _, _ := strings.Cut(line, "#")
		for _, word := range strings.Fields(command) {
			if strings.Contains(word, "/") && ours(tr, word) {
				paths = append(paths, word)
			}
		}
		return paths, goals(command)
	}
	for _, match := range links.FindAllStringSubmatch(line, -1) {
		if !strings.Contains(match[1], "://") {
			paths = append(paths, match[1])
		}
	}
	for _, match := range spans.FindAllStringSubmatch(line, -1) {
		if word := match[1]; !strings.Contains(word, " ") && (ours(tr, word) || fileNames.MatchString(word)) {
			paths = append(paths, word)
		}
		wanted = append(wanted, goals(match[1])...)
	}
	return paths, wanted
}

// ours tells whether a word is meant as a path of this repository, other than that of built files: it starts with one of
// its folders, or is written as a folder, with a slash at the end.
func ours(tr *tree, word string) bool {
	first, _, isPath := strings.Cut(strings.TrimPrefix(word, "./"), "/")
	isPath = isPath && !strings.Contains(word, "://")
	return isPath && first != "" && first != "bin" && (tr.exists(first) || strings.HasSuffix(word, "/"))
}

// goals returns what a command line asks make for.
func goals(command string) []string {
	words := strings.Fields(command)
	if len(words) < 2 || words[0] != "make" {
		return nil
	}
	var out []string
	for _, word := range words[1:] {
		if targetName.MatchString(word) {
			out = append(out, word)
		}
	}
	return out
}
