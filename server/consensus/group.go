package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
)

// Group is the members of the cluster, for whoever looks after them: the leader's own service, and administrators.
// Its methods may be called by any goroutine.
type Group struct {
	cfg      Config
	store    *fsm.Store
	members  *membership
	handover *handover
}

// Group returns the members as this server sees them.
func (n *Node) Group() *Group { return &Group{n.cfg, n.store, n.members, n.handover} }

// Members is Node.Members.
func (g *Group) Members() []Member { return g.members.list() }

// Leader is Node.Leader.
func (g *Group) Leader() (name, address string, self bool) { return g.members.leadership.leader() }

// Observe asks all members how they are. Any server can do it, also without a leader: then the members are those that
// this server knows of.
func (g *Group) Observe(ctx context.Context) []Observed { return g.members.observe(ctx, g.store) }

// Removable fails with ErrLastVoter, or with ErrQuorumAtRisk if the voters that answer now would be no majority
// without the server; with ErrNotMember if there is none of that name. Only the leader can tell.
func (g *Group) Removable(ctx context.Context, name string) error {
	return g.members.removable(ctx, name)
}

// Remove is Node.Remove.
func (g *Group) Remove(ctx context.Context, name string) error { return g.members.remove(ctx, name) }

// Transfer hands leadership to the server of that name, or to the one that is furthest if name is empty. Only the
// leader can do it. It returns when the new leader is known, or an election time later. It fails with ErrNotMember, or
// with ErrNoHeir if the server, or any if none was named, does not vote, does not answer or did not win.
func (g *Group) Transfer(ctx context.Context, name string) error {
	ctx, cancel := g.members.life.bounded(ctx)
	defer cancel()
	return g.handover.give(ctx, name)
}

// Promote makes the non-voter of that name a voter once it has caught up; it waits for that. Only the leader can do
// it. It may be repeated.
func (g *Group) Promote(ctx context.Context, name string) error {
	s := stage{members: g.members, with: map[raft.ServerID]time.Time{}}
	for {
		if !g.members.leadership.leads() {
			return g.members.leadership.notLeader()
		}
		server, err := g.members.find(name)
		if err != nil || server.Suffrage == raft.Voter {
			return err
		}
		if s.look(ctx)[server.ID] {
			return g.members.promote(ctx, server.ID)
		}
		if !sleep(ctx, nil, stagingTick) {
			return context.Cause(ctx)
		}
	}
}

// Tend looks after the members until ctx ends: it promotes those that have caught up, and removes dead ones as p says,
// one change at a time. It is a service of the leader.
func (g *Group) Tend(ctx context.Context, p Policy) {
	t := &tender{
		policy: p, members: g.members, log: g.cfg.Log.With("service", "members"),
		stage: stage{members: g.members, with: map[raft.ServerID]time.Time{}},
	}
	t.run(ctx)
}
