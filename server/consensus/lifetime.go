package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// lifetime is how long a node runs. It owns the node's goroutines, and every wait of the node ends with it.
type lifetime struct {
	request time.Duration // Timing.Request: bounds every wait that has no other deadline

	ctx context.Context // ends with Close
	end context.CancelFunc
	wg  sync.WaitGroup // everything that spawn started

	mu     sync.Mutex
	closed bool // guarded by mu; spawn refuses then
}

func newLifetime(request time.Duration) *lifetime {
	l := &lifetime{request: request}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l
}

// close ends the waits, and lets nothing new begin. It is false if it was called before.
func (l *lifetime) close() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.closed = true
	l.end()
	return true
}

// join waits for the goroutines. It is called after close.
func (l *lifetime) join() { l.wg.Wait() }

// spawn starts a goroutine that Close joins. It refuses once Close has begun.
func (l *lifetime) spawn(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(do)
	return true
}

// bounded ends with ctx, with Close, and at the latest after Timing.Request if ctx has no deadline.
func (l *lifetime) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, l.request)
	}
	ctx, end := context.WithCancelCause(ctx)
	detach := context.AfterFunc(l.ctx, func() { end(ErrClosed) })
	return ctx, func() {
		detach()
		end(nil)
		cancel()
	}
}

// await waits for a future of the library, which may never come, or for ctx.
func (l *lifetime) await(ctx context.Context, start func() raft.Future) error {
	done := make(chan error, 1)
	if !l.spawn(func() { done <- start().Error() }) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// noQuorum is the error of a wait that ctx has ended; last is what went wrong before, or nil.
func noQuorum(ctx context.Context, last error) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	if last == nil || errors.Is(last, context.Cause(ctx)) {
		return fmt.Errorf("%w: %w", ErrNoQuorum, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w: %w", ErrNoQuorum, context.Cause(ctx), last)
}
