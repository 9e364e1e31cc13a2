package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReportSaysWhatIsReached(t *testing.T) {
	r := newReport()
	for _, v := range []struct {
		section, row string
		theirs, ours []float64
	}{
		{single, rowCreate, []float64{100, 300, 200}, []float64{799, 800, 900}},
		{single, rowCreate + rowCPU, []float64{1e-3}, []float64{3e-4}},
		{single, rowIdleMemory, []float64{300e6}, []float64{50e6}},
		{single, rowGet, nil, []float64{7}},
		{triple, rowCreate, []float64{10}, []float64{20}},
		{triple, rowLeader, []float64{3}, []float64{0.1, 0.2, 1.5}},
	} {
		for _, value := range v.theirs {
			r.add(v.section, v.row, theirs, value)
		}
		for _, value := range v.ours {
			r.add(v.section, v.row, ours, value)
		}
	}
	r.size(rowListJSON, theirs, 3_000_000)
	r.size(rowListJSON, ours, 1_500_000)
	r.note("a %s", "note")
	var out bytes.Buffer
	if err := r.write(&out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		single + " theirs ours ours/theirs to reach reached",
		rowIdleMemory + " 300 MB 50 MB 0.17 ≤ 1/6 yes",
		rowCreate + " 200 800 4.00 ≥ 4 yes",
		rowCreate + rowCPU + " 1000 µs 300 µs 0.30 ≤ 1/5 no",
		rowGet + " - 7 - ≥ 2.5",
		"",
		triple + " theirs ours ours/theirs to reach reached",
		rowCreate + " 10 20 2.00",
		rowLeader + " 3.00 s 1.50 s 0.50 < 1 s no",
		"",
		rowListJSON + ": 3.0 MB of theirs, 1.5 MB of ours",
		"",
		"a note",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReportKeepsWhatNobodyExpects(t *testing.T) {
	r := newReport()
	r.add(single, "songs a second", ours, 3)
	var out bytes.Buffer
	if err := r.write(&out); err != nil || !strings.Contains(out.String(), "songs a second") {
		t.Errorf("got %q, error %v", out.String(), err)
	}
}

func TestCommandLine(t *testing.T) {
	o, err := parse([]string{"-only", "get,write", "-servers", "3", "-side", "ours"})
	if err != nil || len(o.only) != 2 || o.servers != 3 || o.rounds != 3 || o.pods != usual.pods {
		t.Errorf("got %+v, error %v", o, err)
	}
	if o, err = parse([]string{"-quick"}); err != nil || o.rounds != 1 || o.pods != quick.pods {
		t.Errorf("-quick: got %+v, error %v", o, err)
	}
	for _, line := range []string{"-only sing", "-servers 2", "-rounds 0", "-side mine", "more"} {
		if _, err := parse(strings.Fields(line)); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
}
