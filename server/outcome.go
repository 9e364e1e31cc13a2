package server

import (
	"context"
	"errors"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// replicated is consensus as the API sees it: with errors that tell by their methods what became of a write.
type replicated struct{ *consensus.Node }

// Propose is the node's, with the errors of the API.
func (r replicated) Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	results, err := r.Node.Propose(ctx, ops)
	return results, outcomeOf(err)
}

// Linearize is the node's, with the errors of the API.
func (r replicated) Linearize(ctx context.Context) error { return outcomeOf(r.Node.Linearize(ctx)) }

// outcome is an error of consensus. Its methods are those that the API looks for.
type outcome struct{ error }

func (o outcome) Unwrap() error { return o.error }

func (o outcome) NotLeader() bool { return errors.Is(o.error, consensus.ErrNotLeader) }

func (o outcome) NoQuorum() bool {
	return errors.Is(o.error, consensus.ErrNoQuorum) || errors.Is(o.error, consensus.ErrClosed)
}

func (o outcome) TooLarge() bool { return errors.Is(o.error, consensus.ErrTooLarge) }

func (o outcome) Overloaded() bool { return errors.Is(o.error, consensus.ErrOverloaded) }

func (o outcome) UnknownOutcome() bool { return errors.Is(o.error, consensus.ErrUnknownOutcome) }

func outcomeOf(err error) error {
	if err == nil {
		return nil
	}
	return outcome{err}
}
