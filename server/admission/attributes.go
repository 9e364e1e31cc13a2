package admission

import (
	"context"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/kinds"
)

// Operation is what a write does to its object.
type Operation string

// The operations.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
	Delete Operation = "DELETE"
)

// Outcome says what became of an attempt to write.
type Outcome int

// The outcomes.
const (
	// Abandoned: never proposed, or refused for certain.
	Abandoned Outcome = iota
	// Committed: the store's present view shows it.
	Committed
	// Unknown: proposed, and it may still come into force.
	Unknown
)

// Step is one admission step. A non-nil error refuses the write.
type Step func(ctx context.Context, a *Attributes) error

// Attributes describe one attempt to write one object.
type Attributes struct {
	User        auth.User
	Operation   Operation
	Kind        *kinds.Kind
	Namespace   string
	Name        string
	Subresource string
	DryRun      bool
	// Object is the object to be; nil for a deletion. A step may change it.
	Object fsm.Value
	// Old is the object as stored; nil for a creation. Shared: never changed.
	Old fsm.Value
	// View is the state that the attempt started from.
	View fsm.View

	decided []func(Outcome)
}

// OnDecided registers f to be called once the attempt's outcome is known, or known to stay unknown.
func (a *Attributes) OnDecided(f func(Outcome)) { a.decided = append(a.decided, f) }

// Decide calls what OnDecided registered, last first, and forgets it. The API calls it.
func (a *Attributes) Decide(o Outcome) {
	for i := len(a.decided) - 1; i >= 0; i-- {
		a.decided[i](o)
	}
	a.decided = nil
}

// Run carries out the steps in order until one refuses.
func Run(ctx context.Context, steps []Step, a *Attributes) error {
	for _, step := range steps {
		if err := step(ctx, a); err != nil {
			return err
		}
	}
	return nil
}
