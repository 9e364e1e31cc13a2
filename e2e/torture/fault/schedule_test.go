package fault_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/e2e/torture/fault"
)

// A seed stands for one schedule, and every kind of fault comes.
func TestScheduleIsRepeatable(t *testing.T) {
	const servers, steps = 3, 400
	one, same, other := mixed(t, 1, servers), mixed(t, 1, servers), mixed(t, 2, servers)
	kinds := map[string]int{}
	differs := false
	for range steps {
		step := one.Next()
		if diff := cmp.Diff(step, same.Next()); diff != "" {
			t.Fatalf("the same seed makes another step:\n%s", diff)
		}
		differs = differs || !cmp.Equal(step, other.Next())
		for _, f := range step.Faults {
			kinds[f.Kind]++
			if f.Target != fault.Leader && (f.Target < 0 || f.Target >= servers) || f.Hold <= 0 || f.Hold > 20*time.Second {
				t.Errorf("%+v", f)
			}
		}
	}
	if !differs {
		t.Error("another seed makes the same steps")
	}
	for _, kind := range []string{fault.KillProcess, fault.PowerCut, fault.Stop, fault.Pause, fault.Isolate, fault.Cut,
		fault.OneWay, fault.Bridge, fault.Deaf, fault.Transfer, fault.FullDisk, fault.KillAll} {
		if kinds[kind] == 0 {
			t.Errorf("no %s in %d steps", kind, steps)
		}
	}
}

func mixed(t *testing.T, seed uint64, servers int) *fault.Schedule {
	t.Helper()
	s, err := fault.Mixed(seed, servers, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScheduleOfOneKind(t *testing.T) {
	s, err := fault.Mixed(1, 3, fault.Pause)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		for _, f := range s.Next().Faults {
			if f.Kind != fault.Pause {
				t.Errorf("%v", f)
			}
		}
	}
	if _, err := fault.Mixed(1, 3, "flood"); err == nil {
		t.Error("there are floods")
	}
}

func TestBlackoutsStrikeAllAtOnce(t *testing.T) {
	schedule := fault.Blackouts(1, 3)
	for range 100 {
		step := schedule.Next()
		if len(step.Faults) != 1 || step.Faults[0].Kind != fault.KillAll && step.Faults[0].Kind != fault.PowerCutAll {
			t.Errorf("%v", step)
		}
	}
}
