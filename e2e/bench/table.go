package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
)

// row is one line of the table.
type row struct {
	what string
	// columns are the figures; a line of many values has its median and its worst.
	columns []string
}

// durations makes a row of several values of one time.
func durations(what string, values []time.Duration) row {
	return row{what, []string{
		seconds(figures.Percentile(values, 50)), seconds(figures.Percentile(values, 99)), fmt.Sprint(len(values)),
	}}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

func writeTable(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\tmedian\tp99\truns")
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(append([]string{r.what}, r.columns...), "\t"))
	}
	return w.Flush()
}
