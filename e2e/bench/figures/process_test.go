package figures_test

import (
	"os"
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
)

func TestCPUGrowsWithWork(t *testing.T) {
	begun := cpu(t)
	for sum := 0; cpu(t) < begun+50*time.Millisecond; sum++ { // ends because the work is counted
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	d, err := figures.CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMemoryOfThisProcess(t *testing.T) {
	rss, pss, err := figures.Memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if rss < 1<<20 || pss <= 0 || pss > rss {
		t.Errorf("resident %d bytes, proportional %d", rss, pss)
	}
}

func TestProcessesThatAreNotThere(t *testing.T) {
	if _, err := figures.CPU(0); err == nil {
		t.Error("process 0 has CPU time")
	}
	if _, _, err := figures.Memory(0); err == nil {
		t.Error("process 0 has memory")
	}
}

func TestOwnWorkIsPartOfAllWork(t *testing.T) {
	all, err := figures.Busy()
	if err != nil {
		t.Fatal(err)
	}
	own, err := figures.Own()
	if err != nil {
		t.Fatal(err)
	}
	if own <= 0 || all <= 0 {
		t.Errorf("this process took %s of %s", own, all)
	}
}

func TestSyncLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if took, err := figures.Sync(dir); err != nil || took <= 0 {
		t.Fatal(took, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, error %v", left, err)
	}
}
