package fsm

import (
	"errors"
	"iter"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// ErrFuture says that a revision was asked for that the state has not reached.
var ErrFuture = errors.New("the requested revision has not been reached")

// Past is one resource as it was at a revision, the present one included. Like a View it is a value, never changes,
// and may be read by any number of goroutines.
type Past struct {
	resource string
	revision uint64
	objects  *iradix.Tree[*Object]
}

// At returns the resource as it was at revision: the present state with the resource's later events undone, newest
// first. It costs one insertion for each of them, and holds on every server alike. It fails with ErrCompacted if not all
// of them are kept, and with ErrFuture.
func (s *Store) At(resource string, revision uint64) (Past, error) {
	now, later, err := s.since(resource, revision)
	switch {
	case err != nil:
		return Past{}, err
	case revision > now.revision:
		return Past{}, ErrFuture
	}
	t := now.objects.Txn()
	for _, e := range slices.Backward(later) {
		if e.Prev == nil {
			t.Delete(objectKey(e.Object.Key))
		} else {
			t.Insert(objectKey(e.Object.Key), e.Prev)
		}
	}
	return Past{resource, revision, t.Commit()}, nil
}

// since returns the present state, and the resource's events from revision up to exactly that.
func (s *Store) since(resource string, revision uint64) (*state, []Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	later, err := s.log(resource).after(revision)
	return s.state.Load(), later, err
}

// Revision is the one that was asked for.
func (p Past) Revision() uint64 { return p.revision }

// Get returns one object. Those of other resources are not there.
func (p Past) Get(k Key) (*Object, bool) {
	if k.Resource != p.resource {
		return nil, false
	}
	return p.objects.Get(objectKey(k))
}

// ListFrom is View.ListFrom. Other resources are empty.
func (p Past) ListFrom(resource, namespace string, from Key) iter.Seq[*Object] {
	if resource != p.resource {
		return func(func(*Object) bool) {}
	}
	return listFrom(p.objects, resource, namespace, from)
}
