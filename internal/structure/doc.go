// Package structure holds the rules of docs/design.md that a compiler does not: who may import whom, how large a
// file or a type may grow, what every package has to say about itself, and which documents have to keep up.
//
// It has tests only. They parse the tree (nothing is built or type-checked) and run in a second or two. Each rule is
// one value in one of the files here: its name, why it exists and what to do about a violation, the check, and a small
// tree that breaks it, with what the check must find there. A rule that can no longer fail is itself a failing test.
//
// To add a rule, add a value to rules. To make an exception, add it to that rule's table together with its reason;
// where the reason is hard to write, the code is what should change.
package structure
