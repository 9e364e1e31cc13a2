package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Member is one server of the cluster.
type Member struct {
	Name    string
	Address string
	// Voter is false for a server that only receives the log.
	Voter  bool
	Leader bool
}

// Members returns the servers of the newest configuration that this one knows.
func (n *Node) Members() []Member {
	leader, _, _ := n.Leader()
	var members []Member
	for _, s := range n.servers() {
		members = append(members, Member{
			Name:    string(s.ID),
			Address: string(s.Address),
			Voter:   s.Suffrage == raft.Voter,
			Leader:  string(s.ID) == leader,
		})
	}
	return members
}

// servers returns the latest configuration. The library answers from memory and never fails.
func (n *Node) servers() []raft.Server { return n.raft.GetConfiguration().Configuration().Servers }

func (n *Node) voters() []raft.Server {
	var voters []raft.Server
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		}
	}
	return voters
}

// Join makes the server at address, which must be running, a voter. Only the leader can do it. It may be repeated.
// A server that has moved gets its new address, unless one of its name still answers at the old one (ErrNameTaken).
// A server whose address now answers to another name is taken out first. It fails with ErrUnreachable if the server
// does not answer: a voter that is not there could cost the cluster its majority.
func (n *Node) Join(ctx context.Context, name, address string) error {
	if !n.leads() {
		return n.notLeader()
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	var stale string
	for _, s := range n.servers() {
		switch {
		case string(s.ID) == name && string(s.Address) == address && s.Suffrage == raft.Voter:
			return nil
		case string(s.ID) == name && string(s.Address) != address:
			if a, err := n.ask(ctx, string(s.Address), askState); err == nil && a.Name == name {
				return fmt.Errorf("%w: %s answers at %s", ErrNameTaken, name, s.Address)
			}
		case string(s.Address) == address && string(s.ID) != name:
			stale = string(s.ID)
		}
	}
	if err := n.greet(ctx, name, address); err != nil {
		return err
	}
	if stale != "" {
		if err := n.Remove(ctx, stale); err != nil {
			return err
		}
	}
	return n.change(ctx, func() raft.Future {
		return n.raft.AddVoter(raft.ServerID(name), raft.ServerAddress(address), 0, n.cfg.Timing.Request)
	})
}

// greet checks that the server is where it says it is.
func (n *Node) greet(ctx context.Context, name, address string) error {
	a, err := n.ask(ctx, address, askState)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s at %s: %w", ErrUnreachable, name, address, err)
	case a.Name != name || a.Cluster != n.cfg.Cluster:
		return fmt.Errorf("%w: %s: server %q of cluster %q answers there", ErrUnreachable, address, a.Name, a.Cluster)
	}
	return nil
}

// Remove takes the server out of the cluster. Only the leader can do it. It may be repeated.
func (n *Node) Remove(ctx context.Context, name string) error {
	if !n.leads() {
		return n.notLeader()
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.change(ctx, func() raft.Future {
		return n.raft.RemoveServer(raft.ServerID(name), 0, n.cfg.Timing.Request)
	})
}

func (n *Node) change(ctx context.Context, start func() raft.Future) error {
	err := n.await(ctx, start)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return noQuorum(ctx, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}
