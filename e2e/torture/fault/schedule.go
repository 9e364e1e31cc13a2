package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kinds of faults.
const (
	KillProcess = "kill -9"       // and start again
	PowerCut    = "power cut"     // silent, and start again
	Stop        = "stop"          // SIGTERM, and start again
	Pause       = "pause"         // every process of the host
	Isolate     = "isolate"       // from the other servers; clients still reach it
	Cut         = "cut"           // from everybody
	OneWay      = "one way"       // it hears the others, and they do not hear it
	Bridge      = "bridge"        // two servers do not hear each other; both hear the third
	Deaf        = "deaf"          // clients do not reach it; the servers do
	Transfer    = "transfer"      // of leadership
	FullDisk    = "full disk"     // of the server that has a disk of its own
	KillAll     = "kill -9 all"   // at one moment, and start again
	PowerCutAll = "power cut all" // as above
)

// Fault is one fault of a step.
type Fault struct {
	Kind string
	// Target is the number of the server that is struck; Leader for the one that leads then.
	Target int
	// After is how long after the step's begin it strikes, Hold how long it lasts.
	After, Hold time.Duration
}

// Leader is the Target that leads.
const Leader = -1

func (f Fault) String() string {
	target := fmt.Sprintf(" of server %d", f.Target+1)
	switch {
	case f.Kind == KillAll || f.Kind == PowerCutAll || f.Kind == Transfer || f.Kind == FullDisk:
		target = ""
	case f.Target == Leader:
		target = " of the leader"
	}
	return fmt.Sprintf("+%s %s%s for %s", f.After, f.Kind, target, f.Hold)
}

// Step is one or several faults that overlap.
type Step struct {
	// Calm is the time before.
	Calm   time.Duration
	Faults []Fault
}

func (s Step) String() string {
	var faults []string
	for _, f := range s.Faults {
		faults = append(faults, f.String())
	}
	return fmt.Sprintf("after %s: %s", s.Calm, strings.Join(faults, ", "))
}

// Schedule makes steps.
type Schedule struct {
	random  *rand.Rand
	servers int
	kinds   []weighted
	// several makes every third step have several faults.
	several bool
	calm    time.Duration
}

// weighted is a kind and how often it comes.
type weighted struct {
	kind    string
	weight  int
	longest time.Duration
}

// shortestHold and the longest of each kind bound how long a fault lasts.
const shortestHold = 100 * time.Millisecond

var mixture = []weighted{
	{KillProcess, 5, 6 * time.Second},
	{PowerCut, 3, 6 * time.Second},
	{Stop, 2, 3 * time.Second},
	{Pause, 4, 20 * time.Second},
	{Isolate, 5, 8 * time.Second},
	{Cut, 2, 8 * time.Second},
	{OneWay, 3, 8 * time.Second},
	{Bridge, 3, 8 * time.Second},
	{Deaf, 1, 4 * time.Second},
	{Transfer, 4, shortestHold},
	{FullDisk, 3, 6 * time.Second},
	{KillAll, 1, 2 * time.Second},
}

// Mixed is a schedule of all kinds of faults, one or several at a time; of one kind, if only names it.
func Mixed(seed uint64, servers int, only string) (*Schedule, error) {
	kinds := slices.Clone(mixture)
	if only != "" {
		kinds = slices.DeleteFunc(kinds, func(k weighted) bool { return k.kind != only })
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("there is no fault of kind %q", only)
	}
	return &Schedule{rand.New(rand.NewPCG(seed, 0)), servers, kinds, true, 3 * time.Second}, nil
}

// Blackouts is a schedule that ends all servers at once, again and again.
func Blackouts(seed uint64, servers int) *Schedule {
	kinds := []weighted{{KillAll, 4, time.Second}, {PowerCutAll, 1, time.Second}}
	return &Schedule{rand.New(rand.NewPCG(seed, 0)), servers, kinds, false, 2 * time.Second}
}

// Next makes the next step.
func (s *Schedule) Next() Step {
	step := Step{Calm: s.between(0, s.calm)}
	n := 1
	if s.several && s.random.IntN(3) == 0 {
		n = 2 + s.random.IntN(2)
	}
	for i := range n {
		f := s.fault()
		if i > 0 {
			f.After = s.between(0, 2*time.Second)
		}
		step.Faults = append(step.Faults, f)
	}
	return step
}

// fault strikes the leader half the time: that is where it hurts.
func (s *Schedule) fault() Fault {
	total := 0
	for _, k := range s.kinds {
		total += k.weight
	}
	dice := s.random.IntN(total)
	for _, k := range s.kinds {
		if dice -= k.weight; dice < 0 {
			f := Fault{Kind: k.kind, Target: s.random.IntN(s.servers), Hold: s.between(shortestHold, k.longest)}
			if s.random.IntN(2) == 0 {
				f.Target = Leader
			}
			return f
		}
	}
	return Fault{Kind: KillProcess}
}

// between prefers short times: most of what is of interest happens in the first seconds.
func (s *Schedule) between(shortest, longest time.Duration) time.Duration {
	part := s.random.Float64()
	return (shortest + time.Duration(part*part*float64(longest-shortest))).Round(10 * time.Millisecond)
}
