package consensus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/bugs"
)

// retryPause is how long a read waits before it asks again, unless the leader changes before.
const retryPause = 50 * time.Millisecond

// confirmation is what a leader knows when a majority has just confirmed it.
type confirmation struct {
	// Index is the last committed command when the confirmation began: a store that has applied it shows
	// everything that was acknowledged by then.
	Index uint64
	// Term is the leader's. Commit is its last committed entry and CommitTerm that one's term; zero if the entry
	// is only in a snapshot.
	Term, Commit, CommitTerm uint64
}

// Linearize returns when the local store has applied everything that was committed before the call, so that a read
// of it is linearizable. While there is no leader it waits for one. It fails with ErrNoQuorum or ErrClosed.
func (n *Node) Linearize(ctx context.Context) error { return n.reads.linearize(ctx) }

// reads makes reads of the local store linearizable.
type reads struct {
	life       *lifetime
	leadership *leadership
	members    *membership
	peers      *peers
	raft       *raft.Raft
	store      *fsm.Store
	entries    commandIndex
	confirm    *shared[confirmation] // asked as the leader
}

func newReads(members *membership, store *fsm.Store, logs raft.LogStore) *reads {
	r := &reads{
		life: members.life, leadership: members.leadership, members: members, peers: members.peers, raft: members.raft,
		store: store, entries: commandIndex{logs: logs},
	}
	r.confirm = &shared[confirmation]{call: r.confirmLeader, spawn: r.life.spawn}
	return r
}

func (r *reads) linearize(ctx context.Context) error {
	ctx, cancel := r.life.bounded(ctx)
	defer cancel()
	for {
		changed := r.leadership.changed.wait()
		index, err := r.readIndex(ctx)
		if err == nil && !bugs.On(bugs.ReadBeforeApplied) {
			err = r.store.WaitApplied(ctx, index)
		}
		if err == nil {
			return nil
		}
		if !sleep(ctx, changed, retryPause) {
			return noQuorum(ctx, err)
		}
	}
}

// sleep returns after d, or earlier when something changes. It is false when ctx has ended.
func sleep(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (r *reads) readIndex(ctx context.Context) (uint64, error) {
	_, address, self := r.leadership.leader()
	switch {
	case self:
		c, err := r.confirm.do(ctx)
		return c.Index, err
	case address == "":
		return 0, r.leadership.notLeader()
	}
	a, err := r.peers.ask(ctx, address, askIndex)
	return a.Index, err
}

// confirmLeader finds out whether this server leads still. The commit index is read before the majority is asked:
// what was acknowledged before is in it, and nobody else can have acknowledged anything until the majority answered.
func (r *reads) confirmLeader() (confirmation, error) {
	ctx, cancel := r.life.bounded(context.Background())
	defer cancel()
	term, err := r.leadership.settle(ctx)
	if err != nil {
		return confirmation{}, err
	}
	c := confirmation{Term: term, Commit: r.raft.CommitIndex()}
	if err := r.majorityIsIn(ctx, term); err != nil {
		return confirmation{}, err
	}
	if !r.leadership.leads() || r.raft.CurrentTerm() != term {
		return confirmation{}, r.leadership.notLeader()
	}
	if c.Index, err = r.entries.upTo(c.Commit, r.store); err != nil {
		return confirmation{}, err
	}
	c.CommitTerm, err = r.entries.term(c.Commit)
	return c, err
}

// majorityIsIn asks the voters for their terms. A majority still in term means that nobody was elected after it when
// they answered. The library's VerifyLeader does not show that, because it counts answers to older messages.
func (r *reads) majorityIsIn(ctx context.Context, term uint64) error {
	if bugs.On(bugs.StaleRead) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	voters := r.members.voters()
	votes := make(chan bool, len(voters))
	for _, v := range voters {
		if v.ID == r.leadership.self.id {
			votes <- true
			continue
		}
		asked := r.life.spawn(func() {
			a, err := r.peers.ask(ctx, string(v.Address), askState)
			votes <- err == nil && a.ID == string(v.ID) && a.Term == term
		})
		if !asked {
			return ErrClosed
		}
	}
	yes := 0
	for range voters {
		select {
		case vote := <-votes:
			if vote {
				yes++
			}
		case <-ctx.Done():
			return noQuorum(ctx, nil)
		}
		if yes > len(voters)/2 {
			return nil
		}
	}
	return ErrNoQuorum
}

// commandIndex finds the last command among committed entries: stores apply commands only, so waiting for any other
// entry would be waiting for ever.
type commandIndex struct {
	logs raft.LogStore

	mu   sync.Mutex
	seen uint64 // guarded by mu; entries up to here are looked at
	last uint64 // guarded by mu; the last command among them
}

// upTo returns the last command up to the committed entry at commit, or a later committed one. Entries that are no
// longer in the log are in a snapshot, and so in store.
func (c *commandIndex) upTo(commit uint64, store *fsm.Store) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := commit; i > c.seen; i-- {
		var l raft.Log
		err := c.logs.GetLog(i, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			c.last = max(c.last, store.View().Index())
			break
		}
		if err != nil {
			return 0, err
		}
		if l.Type == raft.LogCommand {
			c.last = i
			break
		}
	}
	c.seen = max(c.seen, commit)
	return c.last, nil
}

// term returns the term of the entry at index, or zero if it is no longer in the log.
func (c *commandIndex) term(index uint64) (uint64, error) {
	var l raft.Log
	err := c.logs.GetLog(index, &l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return 0, nil
	}
	return l.Term, err
}
