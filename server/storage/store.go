package storage

import (
	"context"
	"strconv"
	"time"

	"github.com/holt-project/holt/fsm"
)

// State is this server's copy of the cluster's state.
type State interface {
	View() fsm.View
	// At returns one resource as it was at a revision; it fails with fsm.ErrCompacted and fsm.ErrFuture.
	At(resource string, revision uint64) (fsm.Past, error)
	// Watch follows a resource's changes after a revision; it fails with fsm.ErrCompacted.
	Watch(resource, namespace string, revision uint64) (*fsm.Watch, error)
	// WaitRevision returns once the state has reached revision, or with ctx's error.
	WaitRevision(ctx context.Context, revision uint64) error
}

// Log is the log of changes that all servers share.
type Log interface {
	// Propose returns one result for each op, in order, after this server's State has applied them. A failed
	// precondition is in its op's result, and stops none of the others.
	Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error)
	// Linearize returns once State shows everything that was committed before the call. It waits out an election.
	Linearize(ctx context.Context) error
}

const (
	// revisionWait bounds how long a read waits for a revision that this server has not reached, as in Kubernetes.
	revisionWait = 3 * time.Second
	// defaultBookmarkEvery is Kubernetes' interval, too.
	defaultBookmarkEvery = time.Minute
)

// Store is the store of one server.
type Store struct {
	state         State
	log           Log
	bookmarkEvery time.Duration
}

// New makes a store. bookmarkEvery is the time between the bookmarks of a watch; zero stands for one minute.
func New(state State, log Log, bookmarkEvery time.Duration) *Store {
	if bookmarkEvery <= 0 {
		bookmarkEvery = defaultBookmarkEvery
	}
	return &Store{state: state, log: log, bookmarkEvery: bookmarkEvery}
}

// View is this server's present state, which may lag behind. A write that is based on it needs a precondition.
func (s *Store) View() fsm.View { return s.state.View() }

// Linearize makes View show every write that was answered before the call.
func (s *Store) Linearize(ctx context.Context) error { return s.log.Linearize(ctx) }

// Propose carries out writes, as Log does.
func (s *Store) Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	return s.log.Propose(ctx, ops)
}

// Get returns one object, or fsm.ErrNotFound, from a state that satisfies resourceVersion.
func (s *Store) Get(ctx context.Context, key fsm.Key, resourceVersion string) (*fsm.Object, error) {
	v, err := s.present(ctx, resourceVersion)
	if err != nil {
		return nil, err
	}
	o, ok := v.Get(key)
	if !ok {
		return nil, fsm.ErrNotFound
	}
	return o, nil
}

// present returns a state for a read: without a resource version the newest, for "0" the one that is here, and for N
// one that is not older.
func (s *Store) present(ctx context.Context, resourceVersion string) (fsm.View, error) {
	revision, err := parseRevision(resourceVersion)
	switch {
	case err != nil:
	case resourceVersion == "":
		err = s.log.Linearize(ctx)
	default:
		err = s.reach(ctx, revision)
	}
	return s.state.View(), err
}

// reach waits until this server has reached revision.
func (s *Store) reach(ctx context.Context, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, revisionWait)
	defer cancel()
	if err := s.state.WaitRevision(ctx, revision); err != nil {
		return &TooLargeError{Want: revision, Have: s.state.View().Revision()}
	}
	return nil
}

// parseRevision reads a resource version; empty is zero.
func parseRevision(resourceVersion string) (uint64, error) {
	if resourceVersion == "" {
		return 0, nil
	}
	revision, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0, errBadOptions("invalid resource version: %q is not a decimal number", resourceVersion)
	}
	return revision, nil
}
