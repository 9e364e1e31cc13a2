package structure

import (
	"fmt"
	"go/ast"
)

// mayPanic lists the functions that may, as "folder function", each with its reason.
var mayPanic = map[string]string{
	"server/kinds init":        "two registrations that contradict each other are a bug that every start of every test shows",
	"server/kinds NewRegistry": "as above",
	"fsm NewSchema":            "as above: a schema is made from the registrations alone",
	"fsm mustMode":             "constant options of a library, checked when the package is initialised",
	"server/api recovered":     "passes http.ErrAbortHandler on, which is net/http's way to break off a stream",
	"server/api relay":         "http.ErrAbortHandler: the client must see that the answer broke off",
	"server/api stream":        "http.ErrAbortHandler, as above",
}

var habitRules = []rule{
	{
		name: "tests do not sleep",
		why: "a sleep is too short on a busy machine and too long on every other. Wait for the condition: a channel, an event, " +
			"a watch; for an outside process poll with a deadline on a ticker. Inside testing/synctest, time is virtual and " +
			"sleeping is free; e2e/ waits for real hosts.",
		check: func(tr *tree) []string {
			var out []string
			for _, f := range tr.files {
				if f.test() && !below(f.dir, "e2e") && importName(f, "testing/synctest") == "" {
					out = append(out, sleeps(tr, f)...)
				}
			}
			return out
		},
		sample: map[string]string{
			"a/a.go":        source(`import "time"`, `func f() { time.Sleep(1) }`),
			"a/a_test.go":   source(`import "time"`, `func f() { time.Sleep(1); time.Now() }`),
			"a/b_test.go":   source(`import clock "time"`, `func f() { clock.Sleep(1) }`),
			"a/c_test.go":   source(`import ("time"; "testing/synctest")`, `func f() { synctest.Wait(); time.Sleep(1) }`),
			"a/d_test.go":   source(`import time "x/y"`, `func f() { time.Sleep(1) }`),
			"e2e/a_test.go": source(`import "time"`, `func f() { time.Sleep(1) }`),
		},
		want: []string{"a/a_test.go:4: sleeps", "a/b_test.go:4: sleeps"},
	},
	{
		name: "nothing panics",
		why: "bad input, a lost peer or a full disk is an error to return: a panic takes every other pod and client of the process " +
			"with it. Return an error that names the next thing to do; a registration at start may panic, see mayPanic.",
		check: panics,
		sample: map[string]string{
			"a/a.go":            source(`func f() { panic("x") }`, `func (t T) panic() { t.panic() }`),
			"a/a_test.go":       source(`func f() { panic("x") }`),
			"server/kinds/a.go": source(`func init() { panic("twice") }`, `func other() { panic("x") }`),
			"server/kinds/b.go": source(`var x = func() int { panic("x") }()`),
		},
		want: []string{
			"a/a.go:3: f panics",
			"server/kinds/a.go:4: other panics",
			"server/kinds/b.go:3: a package variable panics",
		},
	},
}

func sleeps(tr *tree, f *file) []string {
	var out []string
	clock := importName(f, "time")
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.SelectorExpr); ok && clock != "" && call.Sel.Name == "Sleep" {
			if pkg, ok := call.X.(*ast.Ident); ok && pkg.Name == clock {
				out = append(out, tr.at(call.Pos())+": sleeps")
			}
		}
		return true
	})
	return out
}

func panics(tr *tree) []string {
	var out []string
	for _, f := range tr.files {
		if f.test() || f.generated() {
			continue
		}
		for _, decl := range f.ast.Decls {
			name := "a package variable"
			if fn, ok := decl.(*ast.FuncDecl); ok {
				name = fn.Name.Name
			}
			if mayPanic[f.dir+" "+name] != "" {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if fn, ok := call.Fun.(*ast.Ident); ok && fn.Name == "panic" {
					out = append(out, fmt.Sprintf("%s: %s panics", tr.at(call.Pos()), name))
				}
				return true
			})
		}
	}
	return out
}
