package main

import (
	"runtime"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
)

// others is who works on the machine beside the benchmark.
type others struct {
	begun     time.Time
	busy, own time.Duration // so far, when it began
}

func newOthers() (*others, error) {
	busy, err := figures.Busy()
	if err != nil {
		return nil, err
	}
	own, err := figures.Own()
	return &others{time.Now(), busy, own}, err
}

// share is what others took of all cores, 1 being all of them; the servers have ended before.
func (o *others) share() (float64, error) {
	now, err := newOthers()
	if err != nil {
		return 0, err
	}
	theirs := (now.busy - o.busy) - (now.own - o.own)
	return max(0, theirs.Seconds()) / (time.Since(o.begun).Seconds() * float64(runtime.NumCPU())), nil
}
