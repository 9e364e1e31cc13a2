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
func (n *Node) Members() []Member { return n.members.list() }

// Join makes the server at address, which must be running, a voter. Only the leader can do it. It may be repeated.
// A server that has moved gets its new address, unless one of its name still answers at the old one (ErrNameTaken).
// A server whose address now answers to another name is taken out first. It fails with ErrUnreachable if the server
// does not answer: a voter that is not there could cost the cluster its majority.
func (n *Node) Join(ctx context.Context, name, address string) error {
	return n.members.join(ctx, name, address)
}

// Remove takes the server out of the cluster. Only the leader can do it. It may be repeated.
func (n *Node) Remove(ctx context.Context, name string) error { return n.members.remove(ctx, name) }

// membership is the configuration of the Raft group.
type membership struct {
	cluster    string
	life       *lifetime
	leadership *leadership
	peers      *peers
	raft       *raft.Raft
}

func (m *membership) list() []Member {
	leader, _, _ := m.leadership.leader()
	var members []Member
	for _, s := range m.servers() {
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
func (m *membership) servers() []raft.Server {
	return m.raft.GetConfiguration().Configuration().Servers
}

func (m *membership) voters() []raft.Server {
	var voters []raft.Server
	for _, s := range m.servers() {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		}
	}
	return voters
}

func (m *membership) join(ctx context.Context, name, address string) error {
	if !m.leadership.leads() {
		return m.leadership.notLeader()
	}
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	var stale string
	for _, s := range m.servers() {
		switch {
		case string(s.ID) == name && string(s.Address) == address && s.Suffrage == raft.Voter:
			return nil
		case string(s.ID) == name && string(s.Address) != address:
			if a, err := m.peers.ask(ctx, string(s.Address), askState); err == nil && a.Name == name {
				return fmt.Errorf("%w: %s answers at %s", ErrNameTaken, name, s.Address)
			}
		case string(s.Address) == address && string(s.ID) != name:
			stale = string(s.ID)
		}
	}
	if err := m.greet(ctx, name, address); err != nil {
		return err
	}
	if stale != "" {
		if err := m.remove(ctx, stale); err != nil {
			return err
		}
	}
	return m.change(ctx, func() raft.Future {
		return m.raft.AddVoter(raft.ServerID(name), raft.ServerAddress(address), 0, m.life.request)
	})
}

// greet checks that the server is where it says it is.
func (m *membership) greet(ctx context.Context, name, address string) error {
	a, err := m.peers.ask(ctx, address, askState)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s at %s: %w", ErrUnreachable, name, address, err)
	case a.Name != name || a.Cluster != m.cluster:
		return fmt.Errorf("%w: %s: server %q of cluster %q answers there", ErrUnreachable, address, a.Name, a.Cluster)
	}
	return nil
}

func (m *membership) remove(ctx context.Context, name string) error {
	if !m.leadership.leads() {
		return m.leadership.notLeader()
	}
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	return m.change(ctx, func() raft.Future {
		return m.raft.RemoveServer(raft.ServerID(name), 0, m.life.request)
	})
}

func (m *membership) change(ctx context.Context, start func() raft.Future) error {
	err := m.life.await(ctx, start)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return m.leadership.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return noQuorum(ctx, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}
