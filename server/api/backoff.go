package api

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces attempts, from 10 ms doubling up to 250 ms, with jitter: short enough that a write is through soon
// after an election, and long enough to leave the election alone.
type backoff struct{ next time.Duration }

const (
	backoffFirst = 10 * time.Millisecond
	backoffLast  = 250 * time.Millisecond
)

func newBackoff() *backoff { return &backoff{backoffFirst} }

// wait pauses, and reports false if ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	t := time.NewTimer(b.next/2 + rand.N(b.next))
	defer t.Stop()
	b.next = min(2*b.next, backoffLast)
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
