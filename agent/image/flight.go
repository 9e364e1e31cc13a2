package image

import (
	"context"

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
	waiters int // guarded by Store.mu
	done    chan struct{}
	img     Image // set before done is closed, as is err
	err     error
}

// board joins the flight for key, starting it if there is none.
func (s *Store) board(key flightKey, fly func(context.Context) (Image, error)) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if f := s.flights[key]; f != nil {
		f.waiters++
		return f, nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	f := &flight{cancel: cancel, waiters: 1, done: make(chan struct{})}
	s.flights[key] = f
	s.work.Go(func() {
		defer cancel()
		f.img, f.err = fly(ctx)
		s.mu.Lock()
		s.forget(key, f)
		s.mu.Unlock()
		close(f.done)
	})
	return f, nil
}

// wait gives the flight's result, or leaves it when ctx ends; the last to leave cancels it.
func (s *Store) wait(ctx context.Context, key flightKey, f *flight) (Image, error) {
	select {
	case <-f.done:
		return f.img, f.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		s.forget(key, f) // who asks from now on gets a new one
	}
	return Image{}, context.Cause(ctx)
}

// forget needs mu held.
func (s *Store) forget(key flightKey, f *flight) {
	if s.flights[key] == f {
		delete(s.flights, key)
	}
}
