package image

import (
	"context"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Auth is a set of credentials for a registry; the zero value means those of Options.Keychain.
type Auth = authn.AuthConfig

// flightKey tells which pulls may share a transfer. Credentials are part of it: who has none must not get what
// somebody else's fetched.
type flightKey struct {
	ref  string
	auth Auth
}

// flight is a pull that several callers wait for.
type flight struct {
	cancel  context.CancelFunc
	waiters int // guarded by flights.mu
	done    chan struct{}
	img     Image // set before done is closed, as is err
	err     error
}

// flights are the pulls in progress. Its methods may be called concurrently.
type flights struct {
	// ctx ends when the store closes; work joins the pulls.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // guards the rest
	closed bool
	byKey  map[flightKey]*flight
}

func newFlights() *flights {
	ctx, cancel := context.WithCancel(context.Background())
	return &flights{ctx: ctx, cancel: cancel, byKey: map[flightKey]*flight{}}
}

// close ends the flights and waits for them. It tells whether it was the first call.
func (a *flights) close() bool {
	a.mu.Lock()
	first := !a.closed
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.work.Wait()
	return first
}

// board joins the flight for key, starting it if there is none.
func (a *flights) board(key flightKey, fly func(context.Context) (Image, error)) (*flight, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	if f := a.byKey[key]; f != nil {
		f.waiters++
		return f, nil
	}
	ctx, cancel := context.WithCancel(a.ctx)
	f := &flight{cancel: cancel, waiters: 1, done: make(chan struct{})}
	a.byKey[key] = f
	a.work.Go(func() {
		defer cancel()
		f.img, f.err = fly(ctx)
		a.mu.Lock()
		a.forget(key, f)
		a.mu.Unlock()
		close(f.done)
	})
	return f, nil
}

// wait gives the flight's result, or leaves it when ctx ends; the last to leave cancels it.
func (a *flights) wait(ctx context.Context, key flightKey, f *flight) (Image, error) {
	select {
	case <-f.done:
		return f.img, f.err
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		a.forget(key, f) // who asks from now on gets a new one
	}
	return Image{}, context.Cause(ctx)
}

// forget needs mu held.
func (a *flights) forget(key flightKey, f *flight) {
	if a.byKey[key] == f {
		delete(a.byKey, key)
	}
}
