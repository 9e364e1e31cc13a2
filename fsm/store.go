package fsm

import (
	"context"
	"sync"
	"sync/atomic"
)

// DefaultEventLog is how many events of each resource a store keeps for watchers.
const DefaultEventLog = 8192

// Store is the state machine of one server.
type Store struct {
	schema   *Schema
	eventCap int
	state    atomic.Pointer[state]

	mu      sync.Mutex
	logs    map[string]*eventLog // by resource; guarded by mu
	floor   uint64               // events up to this revision were never in logs; guarded by mu
	changed chan struct{}        // closed and replaced at each publication; guarded by mu
}

// New makes an empty store. eventCap bounds the events kept for each resource; zero means DefaultEventLog.
func New(schema *Schema, eventCap int) *Store {
	if eventCap <= 0 {
		eventCap = DefaultEventLog
	}
	s := &Store{schema: schema, eventCap: eventCap, logs: map[string]*eventLog{}, changed: make(chan struct{})}
	s.state.Store(emptyState())
	return s
}

// View returns the present state. It never changes and needs no release.
func (s *Store) View() View { return View{s.state.Load()} }

// publish makes next the present state and tells the watchers. They see the events only after mu is released, so
// that a read is never older than an event seen.
func (s *Store) publish(next *state, events []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Store(next)
	for _, e := range events {
		s.log(e.Object.Resource).append(e)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// reset makes next the present state and cuts every watch, because the events between are not known.
func (s *Store) reset(next *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Store(next)
	s.floor = next.revision
	for _, l := range s.logs {
		l.reset(next.revision)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// log returns the resource's event log. The caller holds mu.
func (s *Store) log(resource string) *eventLog {
	l, ok := s.logs[resource]
	if !ok {
		l = &eventLog{cap: s.eventCap, evicted: s.floor}
		s.logs[resource] = l
	}
	return l
}

// WaitApplied returns once the entry at index is applied, or with ctx's error.
func (s *Store) WaitApplied(ctx context.Context, index uint64) error {
	return s.waitUntil(ctx, func() bool { return s.state.Load().index >= index })
}

// WaitRevision returns once the state has reached revision, or with ctx's error.
func (s *Store) WaitRevision(ctx context.Context, revision uint64) error {
	return s.waitUntil(ctx, func() bool { return s.state.Load().revision >= revision })
}

// WaitChange returns once an object of one of the resources has changed after revision, or with ctx's error.
// Control loops use it: it carries no events, so a slow loop misses nothing.
func (s *Store) WaitChange(ctx context.Context, revision uint64, resources ...string) error {
	return s.waitUntil(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range resources {
			if s.log(r).last() > revision {
				return true
			}
		}
		return false
	})
}

func (s *Store) waitUntil(ctx context.Context, done func() bool) error {
	for {
		next := s.next()
		if done() {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next is closed at the next publication.
func (s *Store) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
