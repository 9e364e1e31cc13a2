package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestPercentilesAreByNearestRank(t *testing.T) {
	var thirty []time.Duration
	for i := range 30 {
		thirty = append(thirty, time.Duration(i+1))
	}
	for _, c := range []struct {
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{thirty, 50, 15}, {thirty, 99, 30}, {thirty[:1], 50, 1}, {thirty[:3], 50, 2}, {thirty[:3], 99, 3},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("p%d of %d values is %d, want %d", c.p, len(c.values), got, c.want)
		}
	}
}

func TestTableIsAligned(t *testing.T) {
	var b bytes.Buffer
	rows := []row{durations("a", []time.Duration{3 * time.Second, time.Second}), {"longer", []string{megabytes(1_500_000)}}}
	if err := writeTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"         median   p99      runs",
		"a        1.00 s   3.00 s   2",
		"longer   1.5 MB",
		"",
	}, "\n")
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}
