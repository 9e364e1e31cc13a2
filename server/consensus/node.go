package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
)

// Node is one running server of the Raft group.
type Node struct {
	cfg     Config
	log     *slog.Logger
	store   *fsm.Store
	disk    *disk
	mux     *mux
	trans   *transport
	machine *machine
	raft    *raft.Raft

	entries   commandIndex
	proposals queue
	confirm   *shared[confirmation] // asked as the leader
	changed   signal                // raised when the role or the leader changes
	settled   atomic.Uint64         // the last term in which this server led and committed an entry

	mu     sync.Mutex
	peers  map[peerKey]*shared[answer] // guarded by mu
	closed bool                        // guarded by mu; spawn refuses then

	life context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup // everything that spawn started
}

// Status describes a server at one moment.
type Status struct {
	Name   string
	Role   string // "leader", "follower" or "candidate"
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
		Role:         role(n.raft.State()),
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

// silence is how many heartbeat intervals, which are a tenth of the timeout, a leader may miss before it is doubted.
const silence = 4

// Leader returns the leader's name and address as far as this server knows, and whether it is this server itself. A
// leader that has been silent for several heartbeats is not named: what is sent to it may be lost without anybody
// knowing, and an election is near.
func (n *Node) Leader() (name, address string, self bool) {
	if n.leads() {
		return n.cfg.Name, n.cfg.Address, true
	}
	a, id := n.raft.LeaderWithID()
	if string(id) == n.cfg.Name {
		return "", "", false // it has stepped down, and raft has not cleared the field yet
	}
	if doubt := silence * n.cfg.Timing.Heartbeat / 10; time.Since(n.raft.LastContact()) > doubt {
		return "", "", false
	}
	return string(id), string(a), false
}

// LeaderChanged returns a channel that is closed at the next change of the leader or of this server's role.
// To miss none, call it before Leader.
func (n *Node) LeaderChanged() <-chan struct{} { return n.changed.wait() }

func (n *Node) leads() bool { return n.raft.State() == raft.Leader }

func (n *Node) notLeader() error {
	name, address, _ := n.Leader()
	return &NotLeaderError{Leader: name, Address: address}
}

// Snapshot writes the present state to disk and cuts the log behind it.
func (n *Node) Snapshot(ctx context.Context) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	err := n.await(ctx, func() raft.Future { return n.raft.Snapshot() })
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// Abdicate hands leadership to another server, if this one leads and there is another.
func (n *Node) Abdicate(ctx context.Context) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if !n.leads() || len(n.voters()) < 2 {
		return nil
	}
	return n.await(ctx, n.raft.LeadershipTransfer)
}

// Close hands leadership to another server if it can, and stops. It joins every goroutine; ctx bounds how long it
// tries to do so gracefully.
func (n *Node) Close(ctx context.Context) error {
	if err := n.Abdicate(ctx); err != nil {
		n.log.Warn("leadership was not handed over", "error", err)
	}
	return n.stop()
}

func (n *Node) stop() error {
	n.mu.Lock()
	again := n.closed
	n.closed = true
	n.mu.Unlock()
	if again {
		return nil
	}
	n.end()
	n.proposals.close()
	n.wg.Wait() // raft still runs, so that no future stays unanswered
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
	if n.disk != nil {
		errs = append(errs, n.disk.Close())
	}
	return errors.Join(errs...)
}

// spawn starts a goroutine that Close joins. It refuses once Close has begun.
func (n *Node) spawn(do func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wg.Go(do)
	return true
}

// bounded ends with ctx, with Close, and at the latest after Timing.Request if ctx has no deadline.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, n.cfg.Timing.Request)
	}
	ctx, end := context.WithCancelCause(ctx)
	detach := context.AfterFunc(n.life, func() { end(ErrClosed) })
	return ctx, func() {
		detach()
		end(nil)
		cancel()
	}
}

// await waits for a future of the library, which may never come, or for ctx.
func (n *Node) await(ctx context.Context, start func() raft.Future) error {
	done := make(chan error, 1)
	if !n.spawn(func() { done <- start().Error() }) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// noQuorum is the error of a wait that ctx has ended; last is what went wrong before, or nil.
func noQuorum(ctx context.Context, last error) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	if last == nil || errors.Is(last, context.Cause(ctx)) {
		return fmt.Errorf("%w: %w", ErrNoQuorum, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w: %w", ErrNoQuorum, context.Cause(ctx), last)
}
