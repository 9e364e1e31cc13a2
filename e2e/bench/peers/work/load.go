package work

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
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
	Done    int64
	Elapsed time.Duration
	// CPU is the time that the servers took, Client the one that this process took.
	CPU, Client time.Duration
}

// PerSecond is how much was done in a second.
func (r Rate) PerSecond() float64 { return float64(r.Done) / r.Elapsed.Seconds() }

// Each is a part of such a time for each that was done, in seconds.
func (r Rate) Each(d time.Duration) float64 { return d.Seconds() / float64(max(r.Done, 1)) }

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
	if err == nil {
		err = <-failed // after the window; nil if there is none
	}
	return rate, min(next.Load(), limit), err
}

// sample takes what is done in the window, or until all is.
func (l Load) sample(ctx context.Context, done *atomic.Int64, over <-chan struct{}, failed chan error) (Rate, error) {
	if l.WarmUp > 0 {
		early, err := pause(ctx, l.WarmUp, over, failed)
		if err == nil && early {
			err = errTooQuick
		}
		if err != nil {
			return Rate{}, err
		}
	}
	begin, err := l.meter()
	if err != nil {
		return Rate{}, err
	}
	before := done.Load()
	if _, err := pause(ctx, l.Window, over, failed); err != nil {
		return Rate{}, err
	}
	after := done.Load()
	end, err := l.meter()
	return end.since(begin, after-before), err
}

// reading is what clocks show at one moment.
type reading struct {
	at          time.Time
	cpu, client time.Duration
}

// since is the rate of what was done since an earlier reading.
func (r reading) since(begin reading, done int64) Rate {
	return Rate{done, r.at.Sub(begin.at), r.cpu - begin.cpu, r.client - begin.client}
}

func (l Load) meter() (reading, error) {
	cpu, err := l.CPU()
	if err != nil {
		return reading{}, err
	}
	client, err := figures.Own()
	return reading{time.Now(), cpu, client}, err
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
