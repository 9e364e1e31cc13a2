package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/bugs"
	"github.com/holt-project/holt/server/consensus/disk"
)

// Propose has ops applied on all servers, in order and in one entry, and returns one result for each. A failed
// precondition is in its op's result, and stops none of the others. Only the leader can do it.
//
// The caller must not change ops until Propose returns. See doc.go for what each error promises.
func (n *Node) Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	return n.proposer.propose(ctx, ops)
}

// ProposeCommand has a command that has one result applied on all servers, in an entry of its own that waits for no
// other. Only the leader can do it. Its errors promise what those of Propose do.
func (n *Node) ProposeCommand(ctx context.Context, c fsm.Encoder) (fsm.Result, error) {
	return n.proposer.command(ctx, c)
}

// proposer turns proposals into entries of the log, and their results into answers.
type proposer struct {
	life       *lifetime
	leadership *leadership
	raft       *raft.Raft
	queue      *queue

	sending turn // taken while an entry is on its way, or kept back
}

// hold waits for the entry that is on its way, and keeps the next one back until release.
func (p *proposer) hold() (release func()) { return p.sending.take() }

func newProposer(l *leadership) *proposer {
	return &proposer{life: l.life, leadership: l, raft: l.raft, queue: newQueue(), sending: newTurn()}
}

func (p *proposer) propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	if !p.leadership.leads() {
		return nil, p.leadership.notLeader()
	}
	mine := newProposal(slices.Clone(ops)) // the entry may be encoded after the caller has given up
	if mine.size > MaxProposal {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, mine.size, MaxProposal)
	}
	ctx, cancel := p.life.bounded(ctx)
	defer cancel()
	if err := p.queue.put(mine); err != nil {
		return nil, err
	}
	select {
	case r := <-mine.done:
		return r.value, r.err
	case <-ctx.Done():
	}
	if p.queue.remove(mine) || bugs.On(bugs.RefusedButSent) {
		return nil, noQuorum(ctx, nil)
	}
	select {
	case r := <-mine.done:
		return r.value, r.err
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	}
}

// loop sends one entry after the other; what arrives meanwhile travels in the next.
func (p *proposer) loop() {
	for {
		select {
		case <-p.queue.wake:
		case <-p.life.ctx.Done():
			return
		}
		for batch := p.queue.take(); len(batch) > 0; batch = p.queue.take() {
			p.send(batch)
		}
	}
}

func (p *proposer) send(batch []*proposal) {
	defer p.hold()()
	var ops []fsm.Op
	for _, one := range batch {
		ops = append(ops, one.ops...)
	}
	results, err := p.commit(ops)
	for _, one := range batch {
		if err != nil {
			one.answer(nil, err)
			continue
		}
		one.answer(results[:len(one.ops):len(one.ops)], nil)
		results = results[len(one.ops):]
	}
}

func (p *proposer) commit(ops []fsm.Op) ([]fsm.Result, error) {
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		return nil, err
	}
	return p.apply(context.Background(), data, len(ops))
}

func (p *proposer) command(ctx context.Context, c fsm.Encoder) (fsm.Result, error) {
	data, err := c.Encode()
	switch {
	case err != nil:
		return fsm.Result{}, err
	case len(data) > MaxProposal:
		return fsm.Result{}, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(data), MaxProposal)
	case !p.leadership.leads():
		return fsm.Result{}, p.leadership.notLeader()
	}
	results, err := p.apply(ctx, data, 1)
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], nil
}

// apply commits an entry and returns what it came to, which must be as many results as want says.
func (p *proposer) apply(ctx context.Context, data []byte, want int) ([]fsm.Result, error) {
	ctx, cancel := p.life.bounded(ctx)
	defer cancel()
	var applied raft.ApplyFuture
	err := p.life.await(ctx, func() raft.Future {
		applied = p.raft.ApplyLog(disk.Entry(data), p.life.request)
		return applied
	})
	if err != nil {
		return nil, p.outcome(err)
	}
	results, ok := applied.Response().([]fsm.Result)
	if !ok || len(results) != want {
		return nil, ErrUnknownOutcome // the machine has failed, and the process is about to end
	}
	return results, nil
}

// outcome says what the library's error means for a command.
func (p *proposer) outcome(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return p.leadership.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrOverloaded
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}
