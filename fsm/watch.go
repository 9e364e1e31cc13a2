package fsm

import (
	"context"
	"errors"
	"sort"
)

// EventType is the type of a change, spelled as on the wire.
type EventType string

// The types of changes.
const (
	Added    EventType = "ADDED"
	Modified EventType = "MODIFIED"
	Deleted  EventType = "DELETED"
)

// Event is one change. It is immutable and shared.
type Event struct {
	Type EventType
	// Object is the object after the change; for Deleted its last state, at the deletion's revision.
	Object *Object
	// Prev is the object before the change; nil for Added.
	Prev *Object
}

// ErrCompacted says that events a watcher has not seen are gone: it must list again.
var ErrCompacted = errors.New("the requested history is no longer available")

// eventOverhead is what an event takes itself.
const eventOverhead = 64

// keeps is what the event keeps in memory, in bytes: the object before the change. That after the change is in the
// state or is the one before a later event, unless it was deleted.
func (e Event) keeps() int64 {
	n := eventOverhead + e.Prev.footprint()
	if e.Type == Deleted {
		n += e.Object.footprint()
	}
	return n
}

// eventLog is the bounded history of one resource, in order of revision.
type eventLog struct {
	cap     int
	events  []Event
	bytes   int64  // what events keep
	evicted uint64 // revision of the newest event that is gone
}

// append returns the events that had to go for e.
func (l *eventLog) append(e Event) (gone []Event) {
	if len(l.events) >= 2*l.cap {
		gone = l.evict(l.cap)
	}
	l.events = append(l.events, e)
	l.bytes += e.keeps()
	return gone
}

// shrink drops the oldest eighth of the events, and at least one.
func (l *eventLog) shrink() (gone []Event) { return l.evict(max(1, len(l.events)/8)) }

// evict drops the n oldest events and returns them. The rest moves to a new array, because readers hold the old one.
func (l *eventLog) evict(n int) []Event {
	gone := l.events[:n:n]
	for _, e := range gone {
		l.bytes -= e.keeps()
	}
	l.evicted = gone[n-1].Object.Revision
	l.events = append(make([]Event, 0, 2*(len(l.events)-n)), l.events[n:]...)
	return gone
}

func (l *eventLog) reset(revision uint64) { l.events, l.bytes, l.evicted = nil, 0, revision }

func (l *eventLog) last() uint64 {
	if n := len(l.events); n > 0 {
		return l.events[n-1].Object.Revision
	}
	return l.evicted
}

// after returns the events after revision. The slice is append-only storage: it may be read without a lock.
func (l *eventLog) after(revision uint64) ([]Event, error) {
	if revision < l.evicted {
		return nil, ErrCompacted
	}
	i := sort.Search(len(l.events), func(i int) bool { return l.events[i].Object.Revision > revision })
	return l.events[i:len(l.events):len(l.events)], nil
}

// Watch follows the changes of one resource. It holds no goroutine and needs no closing. It is used by one
// goroutine at a time.
type Watch struct {
	s         *Store
	resource  string
	namespace string
	at        uint64
}

// Watch starts after revision. It fails with ErrCompacted if events after it are gone already.
func (s *Store) Watch(resource, namespace string, revision uint64) (*Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.log(resource).after(revision); err != nil {
		return nil, err
	}
	return &Watch{s, resource, namespace, revision}, nil
}

// Next returns the next events, at least one, waiting for them if need be. It fails with ErrCompacted when the
// watcher was too slow, and with ctx's error.
func (w *Watch) Next(ctx context.Context) ([]Event, error) {
	for {
		events, wake, err := w.poll()
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Poll is Next without waiting: it may return no events.
func (w *Watch) Poll() ([]Event, error) {
	events, _, err := w.poll()
	return events, err
}

// Revision is the revision up to which everything was returned by Next: a bookmark.
func (w *Watch) Revision() uint64 { return w.at }

// poll takes what is there. State and log change together under mu, so everything up to the state's revision has
// been seen afterwards: a quiet resource's watcher keeps up with a busy cluster.
func (w *Watch) poll() ([]Event, <-chan struct{}, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	all, err := w.s.log(w.resource).after(w.at)
	if err != nil {
		return nil, nil, err
	}
	w.at = max(w.at, w.s.state.Load().revision)
	return w.mine(all), w.s.changed, nil
}

func (w *Watch) mine(all []Event) []Event {
	if w.namespace == "" {
		return all
	}
	var mine []Event
	for _, e := range all {
		if e.Object.Namespace == w.namespace {
			mine = append(mine, e)
		}
	}
	return mine
}
