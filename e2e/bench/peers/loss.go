package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/holt-project/holt/e2e/bench/peers/side"
	"github.com/holt-project/holt/e2e/bench/peers/work"
)

const (
	// attemptTimeout bounds one attempt at a write: it may have gone to who has died.
	attemptTimeout = 500 * time.Millisecond
	// settle is the time between a server's return and the next loss.
	settle = time.Second
)

// loseLeader kills the leader and tries to write at the servers that are left until one accepts it; then it brings the
// dead one back.
func (v *visit) loseLeader(ctx context.Context, name string) (time.Duration, error) {
	// The clients' connections are there before, as those of any client that works.
	for _, c := range v.oneEach() {
		if _, err := c.Do(ctx, work.Request{Method: http.MethodGet, Path: "/readyz"}); err != nil {
			return 0, err
		}
	}
	if err := v.cluster.KillLeader(ctx); err != nil {
		return 0, err
	}
	lost := time.Now()
	if err := v.writeAgain(ctx, name); err != nil {
		return 0, err
	}
	took := time.Since(lost)
	if err := v.cluster.Start(ctx); err != nil {
		return 0, err
	}
	if err := v.cluster.Ready(ctx); err != nil {
		return 0, err
	}
	return took, pause(ctx, settle)
}

// oneEach is a client of each server of the API that runs.
func (v *visit) oneEach() []*work.Client {
	living := v.cluster.APIs()
	var out []*work.Client
	for _, c := range v.load.Clients {
		if i := slices.Index(living, c.Base()); i >= 0 {
			living = slices.Delete(living, i, i+1)
			out = append(out, c)
		}
	}
	return out
}

// writeAgain asks the servers that live in turn until one accepts a write.
func (v *visit) writeAgain(ctx context.Context, name string) error {
	living := v.oneEach()
	for try := 0; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
		_, err := living[try%len(living)].Do(bounded, work.CreateNamespace(fmt.Sprintf("%s-%d", name, try)))
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no write was accepted after the leader was lost: %w", err)
		case <-time.After(side.Pause):
		}
	}
}
