package fsm

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/holt-project/holt/internal/bugs"
)

// DefaultEventLog is how many events of each resource a store keeps for watchers, and DefaultEventBytes how much
// memory the events of all resources may take together.
const (
	DefaultEventLog   = 8192
	DefaultEventBytes = 64 << 20
)

// Store is the state machine of one server.
type Store struct {
	schema     *Schema
	eventCap   int
	eventBytes int64
	cache      *encodingCache
	state      atomic.Pointer[state]

	mu      sync.Mutex
	logs    map[string]*eventLog // by resource; guarded by mu
	kept    int64                // what the events in logs take, in bytes; guarded by mu
	floor   uint64               // events up to this revision were never in logs; guarded by mu
	changed chan struct{}        // closed and replaced at each publication; guarded by mu

	known map[RequestID]Outcome // the outcomes of state; only of the consensus loop
}

// Option bounds what a store keeps for speed. It changes nothing in what the store means, so servers may differ.
type Option func(*Store)

// EventBytes bounds the memory that the events of all resources take together; the default is DefaultEventBytes. The
// oldest of the resource that has most are dropped.
func EventBytes(n int64) Option { return func(s *Store) { s.eventBytes = n } }

// EncodingBytes bounds the memory of cached encodings; the default is DefaultEncodingBytes.
func EncodingBytes(n int64) Option { return func(s *Store) { s.cache.max = n } }

// New makes an empty store. eventCap bounds the events kept for each resource; zero means DefaultEventLog.
func New(schema *Schema, eventCap int, options ...Option) *Store {
	if eventCap <= 0 {
		eventCap = DefaultEventLog
	}
	s := &Store{
		schema: schema, eventCap: eventCap, eventBytes: DefaultEventBytes, cache: &encodingCache{max: DefaultEncodingBytes},
		logs: map[string]*eventLog{}, changed: make(chan struct{}), known: map[RequestID]Outcome{},
	}
	for _, o := range options {
		o(s)
	}
	s.state.Store(emptyState())
	return s
}

// View returns the present state. It never changes and needs no release.
func (s *Store) View() View { return View{s.state.Load()} }

// publish makes next the present state and tells the watchers. They see the events only after mu is released, so
// that a read is never older than an event seen.
func (s *Store) publish(next *state, events []Event, recorded, forgotten []Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Store(next)
	for _, o := range recorded {
		s.known[o.ID] = o
	}
	for _, o := range forgotten {
		delete(s.known, o.ID)
	}
	for _, e := range events {
		s.kept += e.keeps()
		s.discard(s.log(e.Object.Resource).append(e))
	}
	s.bound()
	close(s.changed)
	s.changed = make(chan struct{})
}

// bound drops events until they fit. The caller holds mu.
func (s *Store) bound() {
	for s.kept > s.eventBytes {
		var largest *eventLog
		for _, l := range s.logs {
			if largest == nil || l.bytes > largest.bytes {
				largest = l
			}
		}
		s.discard(largest.shrink())
	}
}

// discard lets go of what only these events, which no watcher can get any more, have kept. The caller holds mu.
func (s *Store) discard(events []Event) {
	for _, e := range events {
		s.kept -= e.keeps()
		if e.Prev != nil {
			s.cache.forget(e.Prev)
		}
		if e.Type == Deleted {
			s.cache.forget(e.Object)
		}
	}
}

// reset makes next the present state and cuts every watch, because the events between are not known.
func (s *Store) reset(next *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.reset()
	s.state.Store(next)
	s.known = make(map[RequestID]Outcome, len(next.outcomes.recent))
	for _, o := range next.outcomes.recent {
		s.known[o.ID] = o
	}
	if !bugs.On(bugs.UncutWatch) {
		s.cut(next.revision)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// cut forgets all events. The caller holds mu.
func (s *Store) cut(revision uint64) {
	s.floor, s.kept = revision, 0
	for _, l := range s.logs {
		l.reset(revision)
	}
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
