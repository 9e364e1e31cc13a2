package backup

import (
	"context"
	"io"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
)

// State is what is saved.
type State interface {
	View() fsm.View
	// Linearize returns once View shows everything that was committed before the call.
	Linearize(ctx context.Context) error
}

// Saver writes the state to files.
type Saver struct {
	state State
	ring  func() seal.Ring
	here  Header
}

// NewSaver makes a saver. here is what the headers of all its files have in common.
func NewSaver(state State, ring func() seal.Ring, here Header) *Saver {
	return &Saver{state, ring, here}
}

// Begin returns a file of the present state, ready to be written: everything that was acknowledged before the call is in
// it. It is sealed with the cluster's key ring, if there is one, unless plain is true.
func (s *Saver) Begin(ctx context.Context, plain bool) (*Saved, error) {
	if err := s.state.Linearize(ctx); err != nil {
		return nil, err
	}
	saved := &Saved{Header: s.here, view: s.state.View().Unstaged()}
	if !plain {
		saved.ring = s.ring()
	}
	saved.Created = time.Now().UTC().Truncate(time.Second)
	saved.Revision, saved.Index = saved.view.Revision(), saved.view.Index()
	saved.Objects, saved.Digest = saved.view.Len(), saved.view.Digest()
	return saved, nil
}

// Saved is a file that is about to be written. It holds the state as it was.
type Saved struct {
	Header
	view fsm.View
	ring seal.Ring
}

// Write writes the file. It needs little memory, and stops no writes.
func (s *Saved) Write(w io.Writer) error { return Write(w, s.Header, s.ring, s.view) }
