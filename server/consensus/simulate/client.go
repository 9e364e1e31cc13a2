package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

const (
	keysPerResource = 6
	thinkTime       = 500 * time.Millisecond // at most, between two operations of a client
)

// client talks to one server, which passes writes on to the leader as a release does.
type client struct {
	server *server
	rng    *rand.Rand
	ops    int
	name   string
}

// run works until ctx ends.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(c.rng.Int64N(int64(thinkTime))))
		p := c.server.up()
		switch {
		case p == nil:
		case c.rng.IntN(3) == 0:
			c.read(p)
		default:
			c.write(p, c.batch(p))
		}
	}
}

func (c *client) key() fsm.Key {
	return fsm.Key{
		Resource: resources[c.rng.IntN(len(resources))], Namespace: "pond",
		Name: fmt.Sprintf("k%d", c.rng.IntN(keysPerResource)),
	}
}

// batch makes the ops of one proposal.
func (c *client) batch(p *process) []fsm.Op {
	n := 1
	if c.rng.IntN(3) == 0 {
		n += c.rng.IntN(5)
	}
	var ops []fsm.Op
	view := p.store.View()
	for range n {
		ops = append(ops, c.op(view))
	}
	return ops
}

// op makes one op; view, which may be old, is where its preconditions come from.
func (c *client) op(view fsm.View) fsm.Op {
	key := c.key()
	old, exists := view.Get(key)
	c.ops++
	id := fmt.Sprintf("%s-%d", c.name, c.ops)
	op := fsm.Op{Verb: fsm.Update, Resource: key.Resource, Namespace: key.Namespace, Name: key.Name}
	uid := id
	if exists {
		uid = string(old.Value.GetUID())
	}
	switch dice := c.rng.IntN(10); {
	case !exists || dice == 0:
		op.Verb, uid = fsm.Create, id
	case dice < 3:
		op.Verb = fsm.Delete
	}
	if exists && op.Verb != fsm.Create {
		c.require(&op, old, uid)
	}
	op.Raw = encode(uid, id)
	return op
}

// require gives an op preconditions, now and then wrong ones.
func (c *client) require(op *fsm.Op, old *fsm.Object, uid string) {
	if c.rng.IntN(2) == 0 {
		op.IfRevision = old.Revision
		if c.rng.IntN(8) == 0 {
			op.IfRevision--
		}
	}
	if c.rng.IntN(3) == 0 {
		op.IfUID = uid
		if c.rng.IntN(8) == 0 {
			op.IfUID = "another"
		}
	}
}

// read is a linearizable read of one key.
func (c *client) read(p *process) {
	h := p.history()
	key, floor := c.key(), h.known()
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Second)
	defer cancel()
	err := p.node.Linearize(ctx)
	view := p.store.View()
	switch {
	case p.isDead():
	case err == nil:
		p.observe(view)
		h.read(p.server.name, view, key, floor)
		h.count("reads")
	case errors.Is(err, consensus.ErrNoQuorum), errors.Is(err, consensus.ErrClosed):
		h.count("reads refused")
	default:
		h.violation("%s: a read fails with %v", p.server.name, err)
	}
}

// write proposes ops to the leader that the server knows.
func (c *client) write(p *process, ops []fsm.Op) {
	name, _, self := p.node.Leader()
	to := p
	if !self {
		s := c.server.cluster.server(name)
		if s == nil {
			return
		}
		if to = s.up(); to == nil || !c.travel(p, to) {
			return
		}
	}
	results, err := c.propose(to, ops)
	h := p.history()
	switch lost := !self && !c.travel(to, p); {
	case lost || to.isDead() || p.isDead() || errors.Is(err, consensus.ErrUnknownOutcome):
		h.count("writes unknown")
	case err == nil:
		h.acknowledge(to.server.name, ops, results)
		h.count("writes")
	case isRefusal(err):
		h.refuse(ops, err)
		h.count("writes refused")
	default:
		h.violation("%s: a write fails with %v", to.server.name, err)
	}
}

func (c *client) propose(to *process, ops []fsm.Op) ([]fsm.Result, error) {
	patience := 5 * time.Second
	if c.rng.IntN(5) == 0 {
		patience = time.Duration(c.rng.Int64N(int64(300 * time.Millisecond)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return to.node.Propose(ctx, ops)
}

// isRefusal tells whether an error promises that nothing was applied.
func isRefusal(err error) bool {
	for _, promise := range []error{consensus.ErrNotLeader, consensus.ErrOverloaded, consensus.ErrNoQuorum,
		consensus.ErrTooLarge, consensus.ErrClosed} {
		if errors.Is(err, promise) {
			return true
		}
	}
	return false
}

// travel takes as long as a message from one process to another; it is false if the message is lost.
func (c *client) travel(from, to *process) bool {
	delay, ok := c.server.cluster.net.reach(from.server.address, to.server.address)
	if !ok {
		return false
	}
	time.Sleep(delay)
	return !from.isDead() && !to.isDead()
}
