package consensus

import (
	"slices"
	"sync"

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

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

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
