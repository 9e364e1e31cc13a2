package trial

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holt-project/holt/e2e/torture/check"
	"github.com/holt-project/holt/e2e/torture/fault"
	"github.com/holt-project/holt/e2e/torture/history"
)

// Report is what a run has found.
type Report struct {
	Seed           uint64
	Took           time.Duration
	Steps, Digests int
	// Faults counts by kind what has struck, Ended tells which servers ended by themselves.
	Faults  map[string]int
	Ended   []fault.End
	History *history.History
	Result  check.Result
}

// Write prints the report as tables, and every violation.
func (r *Report) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "seed\t%d\n", r.Seed)
	fmt.Fprintf(w, "time\t%s\n", r.Took.Round(time.Second))
	r.operations(w)
	r.watches(w)
	fmt.Fprintf(w, "steps\t%d\tstates compared: %d\n", r.Steps, r.Digests)
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, "  %s\t%d\n", kind, r.Faults[kind])
	}
	fmt.Fprintf(w, "ended by themselves\t%d\n", len(r.Ended))
	total := 0
	for _, kind := range r.Result.Kinds() {
		total += r.Result.Counts[kind]
	}
	fmt.Fprintf(w, "violations\t%d\n", total)
	for _, kind := range r.Result.Kinds() {
		fmt.Fprintf(w, "  %s\t%d\n", kind, r.Result.Counts[kind])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, one := range r.Ended {
		clearly := "clearly"
		if !one.Clear {
			clearly = "without a word"
		}
		fmt.Fprintf(out, "\n%s ended by itself, %s:\n    %s\n", one.Server, clearly, strings.ReplaceAll(one.Words, "\n", "\n    "))
	}
	for _, v := range r.Result.Violations {
		if _, err := fmt.Fprintf(out, "\n%s\n", v); err != nil {
			return err
		}
	}
	return nil
}

// operations counts calls by verb and by what became of them.
func (r *Report) operations(w io.Writer) {
	verbs := []string{history.Get, history.List, history.Create, history.Update, history.Patch, history.Delete}
	outcomes := []history.Outcome{history.Done, history.NotFound, history.Exists, history.Conflict, history.Failed, history.Unknown}
	counts := map[string]map[history.Outcome]int{}
	for i := range r.History.Calls {
		c := &r.History.Calls[i]
		if counts[c.Verb] == nil {
			counts[c.Verb] = map[history.Outcome]int{}
		}
		counts[c.Verb][c.Outcome]++
	}
	fmt.Fprintf(w, "operations\t%d", len(r.History.Calls))
	for _, o := range outcomes {
		fmt.Fprintf(w, "\t%s", o)
	}
	fmt.Fprintln(w)
	for _, verb := range verbs {
		fmt.Fprintf(w, "  %s\t", verb)
		for _, o := range outcomes {
			fmt.Fprintf(w, "\t%d", counts[verb][o])
		}
		fmt.Fprintln(w)
	}
}

func (r *Report) watches(w io.Writer) {
	events, connections := 0, 0
	for _, run := range r.History.Runs {
		events += len(run.Events)
		connections += run.Connections
	}
	fmt.Fprintf(w, "watches\t%d\tconnections: %d\tevents: %d\n", len(r.History.Runs), connections, events)
}

// Failed tells whether anything was found.
func (r *Report) Failed() bool {
	silent := slices.ContainsFunc(r.Ended, func(e fault.End) bool { return !e.Clear })
	return silent || len(r.Result.Violations) > 0
}

// keptPages bounds how many keys' pages are written.
const keptPages = 5

// Save writes the history, and porcupine's page of each key that has no linearization, and returns the files' names.
func (r *Report) Save(folder string) (files []string, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, fmt.Sprintf("torture-%d.json", r.Seed))
	if err := r.History.Write(file); err != nil {
		return nil, err
	}
	files = append(files, file)
	for _, key := range r.Result.Broken[:min(keptPages, len(r.Result.Broken))] {
		page := filepath.Join(folder, fmt.Sprintf("torture-%d-%s.html", r.Seed, key))
		if err := writePage(r.History, key, page); err != nil {
			return files, err
		}
		files = append(files, page)
	}
	return files, nil
}

func writePage(h *history.History, key, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	err = check.Visualize(h, key, f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}
