package simulate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holt-project/holt/server/consensus/simulate"
)

// begins is the line that a process writes before each run.
const begins = "begins: seed"

// limits say how long to simulate: wall if it is not zero, else hours.
type limits struct {
	hours float64
	wall  time.Duration
}

// fleet is the processes that simulate side by side.
type fleet struct {
	t     *testing.T
	size  int
	limit limits
	bug   string // the one that the processes have; only in builds with the tag seededbugs
}

func newFleet(t *testing.T, size int, limit limits, bug string) *fleet {
	limit.hours /= float64(size)
	return &fleet{t, size, limit, bug}
}

// run returns what all processes have found.
func (f *fleet) run() (sum simulate.Report) {
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	var wg sync.WaitGroup
	reports := make([]simulate.Report, f.size)
	for i := range f.size {
		wg.Go(func() {
			reports[i] = f.process(ctx, uint64(i))
			if len(reports[i].Violations) > 0 {
				cancel() // one is enough
			}
		})
	}
	wg.Wait()
	for _, r := range reports {
		sum.Add(r)
	}
	return sum
}

// process runs one process until it ends.
func (f *fleet) process(ctx context.Context, i uint64) (r simulate.Report) {
	file := filepath.Join(f.t.TempDir(), fmt.Sprint("report", i))
	args := []string{
		"-test.run=^TestSimulate$", "-test.timeout=0", "-simulate.report=" + file,
		fmt.Sprint("-simulate.seed=", *seed+i), fmt.Sprint("-simulate.stride=", f.size),
		fmt.Sprint("-simulate.hours=", f.limit.hours), fmt.Sprint("-simulate.for=", f.limit.wall),
		fmt.Sprint("-simulate.length=", *length), fmt.Sprint("-simulate.repeat=", *again),
	}
	if f.bug != "" {
		args = append(args, "-simulate.bug="+f.bug)
	}
	said := &lastRun{}
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	c.Stderr = said
	out, err := c.Output()
	if data, readErr := os.ReadFile(file); readErr == nil {
		_ = json.Unmarshal(data, &r) // what is cut short stands for nothing
	}
	if err != nil && ctx.Err() == nil && len(r.Violations) == 0 {
		r.Schedule = said.lines()
		r.Violations = []string{fmt.Sprintf("the process ends: %v: %s%s", err, out, said.end())}
	}
	return r
}

// lastRun keeps what a process says of its last run.
type lastRun struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

// Write implements io.Writer.
func (l *lastRun) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.HasPrefix(p, []byte(begins)) {
		l.text = nil
	}
	l.text = append(l.text, p...)
	return len(p), nil
}

// lines returns what happened in the run, at most as many lines as anybody reads.
func (l *lastRun) lines() []string {
	happened, _ := l.split()
	all := strings.Split(happened, "\n")
	return all[max(0, len(all)-200):]
}

// end returns how the process has ended: the beginning of what the runtime says, without the goroutines that only wait as
// all of them do in a bubble.
func (l *lastRun) end() string {
	_, end := l.split()
	stacks := slices.DeleteFunc(strings.Split(end, "\n\n"), func(s string) bool { return strings.Contains(s, "(durable)") })
	end = strings.Join(stacks, "\n\n")
	return end[:min(len(end), 8000)]
}

func (l *lastRun) split() (happened, end string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.text)
	for _, word := range []string{"\npanic: ", "\nfatal error: "} {
		if at := strings.Index(text, word); at >= 0 {
			return text[:at], text[at:]
		}
	}
	return text, ""
}
