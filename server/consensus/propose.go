package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus/disk"
)

// Propose has ops applied on all servers, in order and in one entry, and returns one result for each. A failed
// precondition is in its op's result, and stops none of the others. Only the leader can do it.
//
// The caller must not change ops until Propose returns. See doc.go for what each error promises.
func (n *Node) Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	return n.proposer.propose(ctx, ops)
}

// proposer turns proposals into entries of the log, and their results into answers.
type proposer struct {
	life       *lifetime
	leadership *leadership
	raft       *raft.Raft
	queue      *queue

	sending sync.Mutex // held while an entry is on its way
}

// hold waits for the entry that is on its way, and keeps the next one back until release.
func (p *proposer) hold() (release func()) {
	p.sending.Lock()
	return p.sending.Unlock
}

func newProposer(l *leadership) *proposer {
	return &proposer{life: l.life, leadership: l, raft: l.raft, queue: newQueue()}
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
	if p.queue.remove(mine) {
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
	p.sending.Lock()
	defer p.sending.Unlock()
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
	ctx, cancel := p.life.bounded(context.Background())
	defer cancel()
	var applied raft.ApplyFuture
	err = p.life.await(ctx, func() raft.Future {
		applied = p.raft.ApplyLog(disk.Entry(data), p.life.request)
		return applied
	})
	if err != nil {
		return nil, p.outcome(err)
	}
	results, ok := applied.Response().([]fsm.Result)
	if !ok || len(results) != len(ops) {
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
