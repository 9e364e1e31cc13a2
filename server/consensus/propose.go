package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
)

const (
	// MaxProposal bounds the size of one proposal, in bytes.
	MaxProposal = 4 << 20
	// maxEntry bounds the size of an entry of several proposals: a slow follower gets entries one by one, and
	// must get each within messageTimeout.
	maxEntry = 1 << 20
	// maxOps bounds the number of ops of an entry, and so the time that applying it takes.
	maxOps = 4096
	// maxQueued bounds what waits for the next entry, in bytes.
	maxQueued = 32 << 20
	// opOverhead is what an op costs beyond its object and names.
	opOverhead = 64
)

// proposal is the ops of one caller.
type proposal struct {
	ops  []fsm.Op
	size int
	done chan result[[]fsm.Result] // has room for the answer
}

func newProposal(ops []fsm.Op) *proposal {
	p := &proposal{ops: ops, done: make(chan result[[]fsm.Result], 1)}
	for _, op := range ops {
		p.size += opOverhead + len(op.Raw) + len(op.Resource) + len(op.Namespace) + len(op.Name)
	}
	return p
}

func (p *proposal) answer(results []fsm.Result, err error) {
	p.done <- result[[]fsm.Result]{results, err}
}

// queue holds the proposals that wait for the next entry.
type queue struct {
	wake chan struct{} // has room for one

	mu      sync.Mutex
	waiting []*proposal // guarded by mu, like the rest
	size    int
	closed  bool
}

func (q *queue) put(p *proposal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case q.size > 0 && q.size+p.size > maxQueued:
		return ErrOverloaded
	}
	q.waiting = append(q.waiting, p)
	q.size += p.size
	select {
	case q.wake <- struct{}{}:
	default: // the loop knows already
	}
	return nil
}

// take removes as many proposals as fit into one entry, at least one if there is one.
func (q *queue) take() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	count, size, ops := 0, 0, 0
	for _, p := range q.waiting {
		if count > 0 && (size+p.size > maxEntry || ops+len(p.ops) > maxOps) {
			break
		}
		count, size, ops = count+1, size+p.size, ops+len(p.ops)
	}
	taken := slices.Clone(q.waiting[:count])
	q.waiting = slices.Delete(q.waiting, 0, count)
	q.size -= size
	return taken
}

// remove takes p back, and reports whether it was still in the queue: not sent, and never to be.
func (q *queue) remove(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, p)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.size -= p.size
	return true
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, p := range q.waiting {
		p.answer(nil, ErrClosed)
	}
	q.waiting, q.size = nil, 0
}

// Propose has ops applied on all servers, in order and in one entry, and returns one result for each. A failed
// precondition is in its op's result, and stops none of the others. Only the leader can do it.
//
// The caller must not change ops until Propose returns. See doc.go for what each error promises.
func (n *Node) Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	if !n.leads() {
		return nil, n.notLeader()
	}
	p := newProposal(slices.Clone(ops)) // the entry may be encoded after the caller has given up
	if p.size > MaxProposal {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, p.size, MaxProposal)
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.proposals.put(p); err != nil {
		return nil, err
	}
	select {
	case r := <-p.done:
		return r.value, r.err
	case <-ctx.Done():
	}
	if n.proposals.remove(p) {
		return nil, noQuorum(ctx, nil)
	}
	select {
	case r := <-p.done:
		return r.value, r.err
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	}
}

// proposeLoop sends one entry after the other; what arrives meanwhile travels in the next.
func (n *Node) proposeLoop() {
	for {
		select {
		case <-n.proposals.wake:
		case <-n.life.Done():
			return
		}
		for batch := n.proposals.take(); len(batch) > 0; batch = n.proposals.take() {
			n.send(batch)
		}
	}
}

func (n *Node) send(batch []*proposal) {
	var ops []fsm.Op
	for _, p := range batch {
		ops = append(ops, p.ops...)
	}
	results, err := n.commit(ops)
	for _, p := range batch {
		if err != nil {
			p.answer(nil, err)
			continue
		}
		p.answer(results[:len(p.ops):len(p.ops)], nil)
		results = results[len(p.ops):]
	}
}

func (n *Node) commit(ops []fsm.Op) ([]fsm.Result, error) {
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		return nil, err
	}
	ctx, cancel := n.bounded(context.Background())
	defer cancel()
	var applied raft.ApplyFuture
	err = n.await(ctx, func() raft.Future {
		applied = n.raft.ApplyLog(raft.Log{Data: data, Extensions: checksum(data)}, n.cfg.Timing.Request)
		return applied
	})
	if err != nil {
		return nil, n.outcome(err)
	}
	results, ok := applied.Response().([]fsm.Result)
	if !ok || len(results) != len(ops) {
		return nil, ErrUnknownOutcome // the machine has failed, and the process is about to end
	}
	return results, nil
}

// outcome says what the library's error means for a command.
func (n *Node) outcome(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrOverloaded
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}
