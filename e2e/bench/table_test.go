package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

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
