package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what one run, or several, have found.
type Report struct {
	Runs       int
	Simulated  time.Duration
	Faults     map[string]int
	Operations map[string]int
	Violations []string
	// Schedule says what happened when; of several runs, that of the first one with a violation.
	Schedule []string
}

func (c *cluster) report(seed uint64) Report {
	r := Report{Runs: 1, Simulated: time.Since(c.history.began), Faults: c.faults, Operations: c.history.operations}
	if len(c.history.violations) > 0 {
		r.Schedule = c.log
	}
	for _, v := range c.history.violations {
		r.violated("seed %d: %s", seed, v)
	}
	return r
}

func (r *Report) violated(format string, args ...any) {
	r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
}

// Add counts another report in.
func (r *Report) Add(o Report) {
	if len(r.Violations) == 0 && len(o.Violations) > 0 {
		r.Schedule = o.Schedule
	}
	r.Runs += o.Runs
	r.Simulated += o.Simulated
	r.Violations = append(r.Violations, o.Violations...)
	r.Faults, r.Operations = sum(r.Faults, o.Faults), sum(r.Operations, o.Operations)
}

func sum(a, b map[string]int) map[string]int {
	out := map[string]int{}
	for _, m := range []map[string]int{a, b} {
		for k, v := range m {
			out[k] += v
		}
	}
	return out
}

// String shows the report as a table.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs, %.1f simulated hours, %d violations\n", r.Runs, r.Simulated.Hours(), len(r.Violations))
	for _, table := range []struct {
		name   string
		counts map[string]int
	}{{"operations", r.Operations}, {"faults", r.Faults}} {
		fmt.Fprintf(&b, "%s:\n", table.name)
		for _, k := range slices.Sorted(maps.Keys(table.counts)) {
			fmt.Fprintf(&b, "  %10d  %s\n", table.counts[k], k)
		}
	}
	return b.String()
}
