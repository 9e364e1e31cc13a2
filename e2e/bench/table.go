package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// row is one line of the table.
type row struct {
	what string
	// columns are the figures; a line of many values has its median and its worst.
	columns []string
}

// durations makes a row of several values of one time.
func durations(what string, values []time.Duration) row {
	slices.Sort(values)
	return row{what, []string{
		seconds(percentile(values, 50)), seconds(percentile(values, 99)), fmt.Sprint(len(values)),
	}}
}

// percentile is by nearest rank; values are sorted, and there is at least one.
func percentile(values []time.Duration, p int) time.Duration {
	rank := (len(values)*p + 99) / 100
	return values[max(rank, 1)-1]
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

// machine says what the figures were taken on.
func machine() string {
	kernel := "an unknown kernel"
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	memory := "unknown memory"
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		memory = fmt.Sprintf("%.0f GB memory", float64(info.Totalram)*float64(info.Unit)/1e9)
	}
	return fmt.Sprintf("%d cores (%s), %s, %s, %s/%s", runtime.NumCPU(), processor(), memory, kernel, runtime.GOOS, runtime.GOARCH)
}

func processor() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
