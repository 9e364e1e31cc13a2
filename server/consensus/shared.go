package consensus

import (
	"context"
	"sync"
)

// shared lets many callers share one answer. A caller's answer comes from a call that began after the caller came,
// so an answer is never older than its question.
type shared[T any] struct {
	call  func() (T, error) // has its own deadline
	spawn func(func()) bool // starts a goroutine that the owner joins, or refuses

	mu      sync.Mutex
	running bool             // guarded by mu
	waiting []chan result[T] // guarded by mu; each has room for its answer
}

type result[T any] struct {
	value T
	err   error
}

// do returns the answer, or ctx's error.
func (s *shared[T]) do(ctx context.Context) (T, error) {
	var none T
	mine := make(chan result[T], 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, mine)
	start := !s.running
	s.running = true
	s.mu.Unlock()
	if start && !s.spawn(s.run) {
		return none, ErrClosed
	}
	select {
	case r := <-mine:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func (s *shared[T]) run() {
	for {
		s.mu.Lock()
		waiting := s.waiting
		s.waiting = nil
		s.running = len(waiting) > 0
		s.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		value, err := s.call()
		for _, w := range waiting {
			w <- result[T]{value, err}
		}
	}
}

// signal wakes everyone who waits, each time something changes.
type signal struct {
	mu   sync.Mutex
	next chan struct{} // guarded by mu; nil if nobody waits
}

// wait is closed at the next raise.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// turn is a mutex whose holder may wait for others. While a goroutine waits for a sync.Mutex, virtual time stands still,
// and so would a test whose holder waits for a clock or for the network.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits until it is the caller's turn, and returns what ends it.
func (t turn) take() (end func()) {
	t <- struct{}{}
	return func() { <-t }
}
