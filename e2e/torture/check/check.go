package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/holt-project/holt/e2e/torture/history"
)

// Violation is one thing that must not have happened.
type Violation struct {
	// Kind names the promise that was broken, Text the evidence.
	Kind, Text string
}

func (v Violation) String() string { return v.Kind + ": " + v.Text }

// Kinds of violations.
const (
	NotLinearizable = "not linearizable"
	Undecided       = "linearizability undecided"
	Backwards       = "revision goes back"
	FromNowhere     = "nobody wrote it"
	FromTheFuture   = "seen before it was written"
	RefusedApplied  = "refused and applied"
	AppliedTwice    = "applied twice"
	TwoObjects      = "one revision, two changes"
	WrongList       = "list is not the state at its revision"
	WrongRevision   = "list is of another revision than asked for"
	LostWrite       = "acknowledged write is in no watch"
	LostEvent       = "event lost"
	ExtraEvent      = "event of no change"
	WrongEvent      = "event tells another change"
	RepeatedEvent   = "event repeated"
	DisorderedEvent = "event out of order"
	WrongStart      = "watch begins with another state"
)

// tellAtMost bounds what is told of one kind: one cause has many effects.
const tellAtMost = 20

// violations collects what was found.
type violations struct {
	list   []Violation
	counts map[string]int
}

func (v *violations) add(kind, format string, args ...any) {
	if v.counts == nil {
		v.counts = map[string]int{}
	}
	if v.counts[kind]++; v.counts[kind] <= tellAtMost {
		v.list = append(v.list, Violation{kind, fmt.Sprintf(format, args...)})
	}
}

// Result is a judgement.
type Result struct {
	Violations []Violation
	// Counts has the number of violations of each kind, also of those that Violations leaves out.
	Counts map[string]int
	// Broken are the keys whose calls are not linearizable, or could not be decided in time.
	Broken []string
}

// History judges a whole history. A key that cannot be decided in
// half a minute is a violation of kind Undecided.
func History(h *history.History) Result {
	v := &violations{}
	t := newTruth(h, v)
	checkOrder(h, v)
	checkLists(h, t, v)
	checkCached(h, v)
	checkWatches(h, t, v)
	broken := checkModel(h, t, v)
	return Result{v.list, v.counts, broken}
}

// Kinds lists the kinds of violations that there were, sorted.
func (r Result) Kinds() []string {
	var kinds []string
	for kind := range r.Counts {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// describe is a call in one line.
func describe(c *history.Call) string {
	text := fmt.Sprintf("client %d at %s: %s %s", c.Client, c.Server, c.Verb, c.Key)
	if c.Verb == history.List {
		text += fmt.Sprintf("%+v resourceVersion=%q %s", c.Scope, c.Version, c.Match)
	}
	if c.Content != (history.Content{}) {
		text += " " + c.Content.Token()
	}
	if c.IfRevision != 0 || c.IfUID != "" {
		text += fmt.Sprintf(" if %d %s", c.IfRevision, c.IfUID)
	}
	text += " -> " + string(c.Outcome)
	if c.Object != nil {
		text += fmt.Sprintf(" %s@%d", c.Object.Content.Token(), c.Object.Revision)
	}
	return fmt.Sprintf("%s [%s, %s]", text, c.Begin.Round(time.Microsecond), c.End.Round(time.Microsecond))
}
