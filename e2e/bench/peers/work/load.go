package work

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Load is how work is measured: each client sends one request after the other; what is done in the window counts, and
// the CPU time that the servers took for it.
type Load struct {
	Clients []*Client
	// WarmUp goes before Window.
	WarmUp, Window time.Duration
	// CPU is the CPU time of the servers so far.
	CPU func() (time.Duration, error)
}

// Rate is what was done in a window.
type Rate struct {
	Done         int64
	Elapsed, CPU time.Duration
}

// PerSecond is how much was done in a second.
func (r Rate) PerSecond() float64 { return float64(r.Done) / r.Elapsed.Seconds() }

// CPUEach is the servers' CPU time for each that was done, in seconds.
func (r Rate) CPUEach() float64 { return r.CPU.Seconds() / float64(max(r.Done, 1)) }

// errTooQuick means that all work was done before its rate could be taken.
var errTooQuick = errors.New("all was done while it warmed up")

// Run calls op with numbers from 0 until the window is over or limit is reached, at any time once for each client. It
// returns how many calls were begun, too.
func (l Load) Run(ctx context.Context, limit int64, op func(ctx context.Context, c *Client, n int64) error) (Rate, int64, error) {
	var done atomic.Int64
	return l.run(ctx, limit, &done, func(ctx context.Context, c *Client, n int64) error {
		defer done.Add(1)
		return op(ctx, c, n)
	})
}

// run is Run for work whose results are counted elsewhere.
func (l Load) run(ctx context.Context, limit int64, done *atomic.Int64,
	op func(ctx context.Context, c *Client, n int64) error) (Rate, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var stopped atomic.Bool
	var wg sync.WaitGroup
	failed := make(chan error, len(l.Clients))
	for _, c := range l.Clients {
		wg.Go(func() {
			for !stopped.Load() {
				n := next.Add(1) - 1
				if n >= limit {
					return
				}
				if err := op(ctx, c, n); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	rate, err := l.sample(ctx, done, over, failed)
	stopped.Store(true)
	if err != nil {
		cancel()
	}
	<-over
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
		break // the first; others follow from it
	}
	return rate, min(next.Load(), limit), err
}

// sample takes what is done in the window, or until all is.
func (l Load) sample(ctx context.Context, done *atomic.Int64, over <-chan struct{}, failed chan error) (Rate, error) {
	if early, err := pause(ctx, l.WarmUp, over, failed); err != nil || early {
		if err == nil {
			err = errTooQuick
		}
		return Rate{}, err
	}
	cpu, err := l.CPU()
	if err != nil {
		return Rate{}, err
	}
	begun, before := time.Now(), done.Load()
	if _, err := pause(ctx, l.Window, over, failed); err != nil {
		return Rate{}, err
	}
	r := Rate{Done: done.Load() - before, Elapsed: time.Since(begun)}
	after, err := l.CPU()
	r.CPU = after - cpu
	return r, err
}

// pause waits for a time, or until all is over.
func pause(ctx context.Context, d time.Duration, over <-chan struct{}, failed chan error) (early bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, nil
	case <-over:
		return true, nil
	case err := <-failed:
		return true, err
	case <-ctx.Done():
		return true, ctx.Err()
	}
}
