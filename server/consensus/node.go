package consensus

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus/disk"
)

// Node is one running server of the Raft group. What its methods do is in the parts that it holds.
type Node struct {
	cfg   Config
	store *fsm.Store
	life  *lifetime
	self  *incarnation // set by Open, before anything that others can reach

	// What Open opens, in this order, and release closes.
	storage disk.Storage
	sealed  *disk.Sealed // the same; nil if nothing is encrypted
	mux     *mux
	trans   *transport
	raft    *raft.Raft

	// The parts that need a running raft; nil if Open has failed before. They are complete once assembled is true.
	assembled  atomic.Bool
	leadership *leadership
	members    *membership
	reads      *reads
	proposer   *proposer
	auditor    *auditor
	handover   *handover
}

// Status describes a server at one moment.
type Status struct {
	Name   string
	ID     string // the name with the incarnation
	Role   string // "leader", "follower" or "candidate"
	Voter  bool
	Leader string // the leader's name; empty if none is known
	Term   uint64
	// CommitIndex is the last entry that this server knows to be committed, AppliedIndex the last command that
	// its store has applied; they differ by entries that are no commands.
	CommitIndex, AppliedIndex uint64
	// Revision and Digest are the store's at AppliedIndex.
	Revision uint64
	Digest   string
}

// Status returns the present state.
func (n *Node) Status() Status {
	view := n.store.View()
	leader, _, _ := n.Leader()
	return Status{
		Name:         n.cfg.Name,
		ID:           string(n.self.id),
		Role:         role(n.raft.State()),
		Voter:        n.members.votes(n.self.id),
		Leader:       leader,
		Term:         n.raft.CurrentTerm(),
		CommitIndex:  n.raft.CommitIndex(),
		AppliedIndex: view.Index(),
		Revision:     view.Revision(),
		Digest:       view.Digest(),
	}
}

func role(s raft.RaftState) string {
	switch s {
	case raft.Leader:
		return "leader"
	case raft.Candidate:
		return "candidate"
	default:
		return "follower"
	}
}

// Leader returns the leader's name and address as far as this server knows, and whether it is this server itself. A
// leader that has been silent for several heartbeats is not named: what is sent to it may be lost without anybody
// knowing, and an election is near.
func (n *Node) Leader() (name, address string, self bool) { return n.leadership.leader() }

// LeaderChanged returns a channel that is closed at the next change of the leader or of this server's role.
// To miss none, call it before Leader.
func (n *Node) LeaderChanged() <-chan struct{} { return n.leadership.changed.wait() }

// Snapshot writes the present state to disk and cuts the log behind it.
func (n *Node) Snapshot(ctx context.Context) error {
	ctx, cancel := n.life.bounded(ctx)
	defer cancel()
	err := n.life.await(ctx, func() raft.Future { return n.raft.Snapshot() })
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// Abdicate hands leadership to another server, if this one leads and there is another.
func (n *Node) Abdicate(ctx context.Context) error {
	ctx, cancel := n.life.bounded(ctx)
	defer cancel()
	if !n.leadership.leads() || len(n.members.voters()) < 2 {
		return nil
	}
	return n.handover.anybody(ctx)
}

// evadeDisk gives leadership away while a write of this server hangs: the others need not wait until it is given up.
func (n *Node) evadeDisk() {
	n.cfg.Log.Warn("the disk is slow", "a write takes longer than", n.cfg.Timing.SlowDisk)
	if !n.assembled.Load() || !n.leadership.leads() {
		return
	}
	n.life.spawn(func() {
		ctx, cancel := n.life.bounded(context.Background())
		defer cancel()
		if err := n.handover.evade(ctx); err != nil {
			n.cfg.Log.Warn("no other server can lead instead", "error", err)
		}
	})
}

// Close hands leadership to another server if it can, and stops. It joins every goroutine; ctx bounds how long it
// tries to do so gracefully.
func (n *Node) Close(ctx context.Context) error {
	if err := n.Abdicate(ctx); err != nil {
		n.cfg.Log.Warn("leadership was not handed over", "error", err)
	}
	return n.stop()
}

func (n *Node) stop() error {
	if !n.life.close() {
		return nil
	}
	if n.proposer != nil {
		n.proposer.queue.close()
	}
	n.life.join() // raft still runs, so that no future stays unanswered
	return n.release()
}

// release closes what Open has opened so far.
func (n *Node) release() error {
	var errs []error
	var done raft.Future
	if n.raft != nil {
		done = n.raft.Shutdown()
	}
	if n.trans != nil {
		n.trans.interrupt()
	}
	if n.mux != nil {
		errs = append(errs, n.mux.Close()) // ends the messages that raft's goroutines wait for
	} else if n.cfg.Transport != nil {
		errs = append(errs, n.cfg.Transport.Close())
	}
	if done != nil {
		errs = append(errs, done.Error())
	}
	if n.trans != nil {
		errs = append(errs, n.trans.Close())
	}
	if n.storage.Close != nil {
		errs = append(errs, n.storage.Close())
	}
	return errors.Join(errs...)
}
