package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/holt-project/holt/e2e/bench/figures"
)

// unit prints a value.
type unit func(float64) string

func count(v float64) string        { return fmt.Sprintf("%.0f", v) }
func seconds(v float64) string      { return fmt.Sprintf("%.2f s", v) }
func milliseconds(v float64) string { return fmt.Sprintf("%.2f ms", v*1e3) }
func microseconds(v float64) string { return fmt.Sprintf("%.0f µs", v*1e6) }
func megabytes(v float64) string    { return fmt.Sprintf("%.0f MB", v/1e6) }

// goal is what a row has to reach. The zero goal is none.
type goal struct {
	text    string
	reached func(theirs, ours float64) bool
}

// atLeast wants a multiple of theirs.
func atLeast(times float64) goal {
	return goal{fmt.Sprintf("≥ %g", times), func(theirs, ours float64) bool { return ours >= times*theirs }}
}

// atMost wants a part of theirs.
func atMost(part float64) goal {
	return goal{fmt.Sprintf("≤ 1/%g", 1/part), func(theirs, ours float64) bool { return ours <= part*theirs }}
}

// under wants a value, whatever theirs is.
func under(value float64) goal {
	return goal{fmt.Sprintf("< %g s", value), func(_, ours float64) bool { return ours < value }}
}

// row is one line, of all rounds.
type row struct {
	section, name string
	unit          unit
	goal          goal
	percentile    int // of the values
	values        [sides][]float64
}

// report is what is printed at the end. It belongs to one goroutine.
type report struct {
	rows  []*row
	notes []string
	sizes map[string][sides]int64 // of a list, in bytes, by row
}

// expect adds a row, of medians.
func (r *report) expect(section, name string, u unit, g goal) *row {
	one := &row{section: section, name: name, unit: u, goal: g, percentile: 50}
	r.rows = append(r.rows, one)
	return one
}

// add adds a value to a row that is expected.
func (r *report) add(section, name string, side int, value float64) {
	for _, one := range r.rows {
		if one.section == section && one.name == name {
			one.values[side] = append(one.values[side], value)
			return
		}
	}
	r.note("%s: %s has no row: %g", section, name, value)
}

// note adds a line below the table.
func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// size says how large a side's answer was.
func (r *report) size(name string, side int, bytes int64) {
	both := r.sizes[name]
	both[side] = bytes
	r.sizes[name] = both
}

// write prints the rows of which there are values, section by section.
func (r *report) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	section := ""
	for _, one := range r.rows {
		if len(one.values[theirs])+len(one.values[ours]) == 0 {
			continue
		}
		if one.section != section {
			if section != "" {
				fmt.Fprintln(w)
			}
			section = one.section
			fmt.Fprintf(w, "%s\ttheirs\tours\tours/theirs\tto reach\treached\n", section)
		}
		one.write(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.writeNotes(out)
}

func (one *row) write(w io.Writer) {
	var text [sides]string
	var value [sides]float64
	for s := range sides {
		text[s] = "-"
		if len(one.values[s]) > 0 {
			value[s] = figures.Percentile(one.values[s], one.percentile)
			text[s] = one.unit(value[s])
		}
	}
	ratio, reached := "-", ""
	if value[theirs] > 0 && value[ours] > 0 {
		ratio = fmt.Sprintf("%.2f", value[ours]/value[theirs])
		if one.goal.reached != nil {
			reached = map[bool]string{true: "yes", false: "no"}[one.goal.reached(value[theirs], value[ours])]
		}
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", one.name, text[theirs], text[ours], ratio, one.goal.text, reached)
}

func (r *report) writeNotes(out io.Writer) error {
	var notes []string
	for _, name := range []string{rowListJSON, rowListProtobuf} {
		if both := r.sizes[name]; both[theirs]+both[ours] > 0 {
			notes = append(notes, fmt.Sprintf("%s: %.1f MB of theirs, %.1f MB of ours", name,
				float64(both[theirs])/1e6, float64(both[ours])/1e6))
		}
	}
	for _, note := range append(notes, r.notes...) {
		if _, err := fmt.Fprintf(out, "\n%s\n", note); err != nil {
			return err
		}
	}
	return nil
}
