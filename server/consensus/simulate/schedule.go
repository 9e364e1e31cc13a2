package simulate

import (
	"math/rand/v2"
	"time"
)

// step is one fault of a schedule.
type step struct {
	after  time.Duration // since the step before
	fault  *fault
	victim int           // a server by number; leaderVictim stands for whoever leads then
	other  int           // another one, where a fault needs two
	lasts  time.Duration // for faults that end
	amount float64       // from 0 to 1: how bad it is
}

const (
	leaderVictim = -1
	shortest     = 50 * time.Millisecond
)

// plan makes the schedule of a run: every seed has its own mixture of faults, because two faults that seldom meet in an
// even mixture meet often in an uneven one.
func plan(rng *rand.Rand, servers int, length time.Duration) []step {
	weights := make([]int, len(faults))
	total := 0
	for i := range faults {
		weights[i] = faults[i].weight * []int{0, 1, 1, 4}[rng.IntN(4)]
		total += weights[i]
	}
	if total == 0 {
		return plan(rng, servers, length)
	}
	pace := 500*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second)))
	var steps []step
	for at := time.Duration(0); ; {
		s := step{
			after: time.Duration(rng.Int64N(int64(2 * pace))), fault: pick(rng, weights, total),
			victim: rng.IntN(servers), amount: rng.Float64(),
			lasts: shortest + time.Duration(rng.ExpFloat64()*float64(1500*time.Millisecond)),
		}
		s.other = (s.victim + 1 + rng.IntN(servers-1)) % servers
		if rng.IntN(2) == 0 {
			s.victim = leaderVictim
		}
		if at += s.after; at > length {
			return steps
		}
		steps = append(steps, s)
	}
}

func pick(rng *rand.Rand, weights []int, total int) *fault {
	n := rng.IntN(total)
	for i, w := range weights {
		if n -= w; n < 0 {
			return &faults[i]
		}
	}
	return nil // weights add up to total
}
