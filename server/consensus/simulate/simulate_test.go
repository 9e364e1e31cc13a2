package simulate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/holt-project/holt/server/consensus/simulate"
)

var (
	seed   = flag.Uint64("simulate.seed", uint64(time.Now().UnixNano()%1e9), "the first seed")
	hours  = flag.Float64("simulate.hours", 0.3, "how long to simulate, in hours of simulated time")
	wall   = flag.Duration("simulate.for", 0, "how long to simulate, in real time, instead of simulate.hours")
	length = flag.Duration("simulate.length", 10*time.Minute, "how long faults last in one run, in simulated time")
	again  = flag.Int("simulate.repeat", 1, "how often to run each seed")

	// For the processes that do the work.
	stride = flag.Uint64("simulate.stride", 0, "not for people: every how manieth seed to run in this process")
	report = flag.String("simulate.report", "", "not for people: the file to write the report to")
)

// TestSimulate runs clusters in several processes: one for each core, because a cluster runs faster on one core than on
// two, and because a library that panics must not take the report with it.
func TestSimulate(t *testing.T) {
	if *stride > 0 {
		work(t)
		return
	}
	limit := limits{hours: *hours, wall: *wall}
	sum := newFleet(t, runtime.NumCPU(), limit, "").run()
	t.Logf("first seed %d: %s", *seed, sum)
	if len(sum.Violations) > 0 {
		for _, l := range sum.Schedule {
			t.Log(l)
		}
		for _, v := range sum.Violations {
			t.Error(v)
		}
	}
}

// work runs one seed after the other in this process, until there is a violation or enough is simulated.
func work(t *testing.T) {
	var sum simulate.Report
	began := time.Now()
	for s := *seed; ; s += *stride {
		for range *again {
			fmt.Fprintln(os.Stderr, begins, s)
			sum.Add(simulate.Run(t, simulate.Options{
				Seed: s, Servers: 3 + 2*int(s%2), Length: *length, Dir: t.TempDir(),
				Trace: func(what string) { fmt.Fprintln(os.Stderr, what) },
			}))
			publish(t, sum)
			enough := sum.Simulated.Hours() >= *hours && *wall == 0 || *wall > 0 && time.Since(began) > *wall
			if len(sum.Violations) > 0 || enough {
				return
			}
		}
	}
}

// publish writes the report so far.
func publish(t *testing.T, r simulate.Report) {
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(*report, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
