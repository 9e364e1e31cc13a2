package main

import (
	"context"
	"fmt"
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
	if err := v.cluster.KillLeader(ctx); err != nil {
		return 0, err
	}
	lost := time.Now()
	took, err := v.writeAgain(ctx, name, lost)
	if err != nil {
		return 0, err
	}
	if err := v.cluster.Start(ctx); err != nil {
		return 0, err
	}
	if err := v.cluster.Ready(ctx); err != nil {
		return 0, err
	}
	return took, pause(ctx, settle)
}

// writeAgain asks the servers that live in turn, each over a connection that there is already if it can be.
func (v *visit) writeAgain(ctx context.Context, name string, lost time.Time) (time.Duration, error) {
	var living []*work.Client
	defer func() {
		for _, c := range living {
			c.Close()
		}
	}()
	for _, url := range v.cluster.APIs() {
		c, err := work.NewClient(url, v.cluster.TLS())
		if err != nil {
			return 0, err
		}
		living = append(living, c)
	}
	for try := 0; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
		_, err := living[try%len(living)].Do(bounded, work.CreateNamespace(fmt.Sprintf("%s-%d", name, try)))
		cancel()
		if err == nil {
			return time.Since(lost), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("no write was accepted after the leader was lost: %w", err)
		case <-time.After(side.Pause):
		}
	}
}
