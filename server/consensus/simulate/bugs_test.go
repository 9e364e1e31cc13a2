//go:build seededbugs

package simulate_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/internal/bugs"
)

var (
	bug   = flag.String("simulate.bug", "", "the bug that this process has; see internal/bugs")
	only  = flag.String("simulate.bugs", "", "the bugs to look for, with commas between; empty stands for all")
	limit = flag.Float64("simulate.within", 40, "how many simulated hours may pass until a bug is found")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := bugs.Enable(*bug); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// TestSeededBugs makes each mistake of internal/bugs, and fails if the simulator does not notice. The processes of
// TestSimulate, which have none, are the other half of the proof.
func TestSeededBugs(t *testing.T) {
	if *stride > 0 {
		t.Skip("this process has one bug already")
	}
	wanted := strings.Split(*only, ",")
	for _, b := range bugs.All {
		if *only == "" && b.Rare || *only != "" && !slices.Contains(wanted, b.Name) {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			began := time.Now()
			r := newFleet(t, runtime.NumCPU(), limits{hours: *limit}, b.Name).run()
			if len(r.Violations) == 0 {
				t.Fatalf("%s: not found in %.1f simulated hours", b.Does, r.Simulated.Hours())
			}
			t.Logf("%s: found within %.2f simulated hours, %v: %.300s", b.Does, r.Simulated.Hours(),
				time.Since(began).Round(time.Second/10), r.Violations[0])
		})
	}
}
