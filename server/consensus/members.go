package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// Member is one server of the cluster.
type Member struct {
	Name string
	// ID tells the server from another one of its name that came before or after it.
	ID      string
	Address string
	// Voter is false for a server that only receives the log.
	Voter  bool
	Leader bool
}

// Members returns the servers of the newest configuration that this one knows.
func (n *Node) Members() []Member { return n.members.list() }

// Join makes the server at address, which must be running, a member. Only the leader can do it. It may be repeated.
// A new one does not vote until it is promoted: see Group.
//
// What came before the server is taken out first: one of its name with another disk, unless that still answers at
// another address (ErrNameTaken), and one at its address under another name. A member that has moved gets its new
// address. It fails with ErrUnreachable if the server does not answer, and with ErrLeftBehind if its data is of
// another history.
func (n *Node) Join(ctx context.Context, name, address string) error {
	return n.members.join(ctx, name, address)
}

// Remove takes the server out of the cluster, whatever becomes of the majority: see Group.Removable. Only the leader can do
// it. It may be repeated.
func (n *Node) Remove(ctx context.Context, name string) error { return n.members.remove(ctx, name) }

// membership is the configuration of the Raft group.
type membership struct {
	cluster    string
	life       *lifetime
	leadership *leadership
	peers      *peers
	trans      *transport
	raft       *raft.Raft

	changing turn   // taken from a look at the configuration to its change
	changed  signal // raised after this server has changed the configuration
}

func (m *membership) list() []Member {
	leader, _, _ := m.leadership.leader()
	var members []Member
	for _, s := range m.servers() {
		members = append(members, Member{
			Name:    nameOf(s.ID),
			ID:      string(s.ID),
			Address: string(s.Address),
			Voter:   s.Suffrage == raft.Voter,
			Leader:  nameOf(s.ID) == leader,
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

// votes tells whether the server of that ID is a voter.
func (m *membership) votes(id raft.ServerID) bool {
	return slices.ContainsFunc(m.voters(), func(s raft.Server) bool { return s.ID == id })
}

// find returns the member of that name.
func (m *membership) find(name string) (raft.Server, error) {
	for _, s := range m.servers() {
		if nameOf(s.ID) == name {
			return s, nil
		}
	}
	return raft.Server{}, fmt.Errorf("%w: %s", ErrNotMember, name)
}

func (m *membership) join(ctx context.Context, name, address string) error {
	if !m.leadership.leads() {
		return m.leadership.notLeader()
	}
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	id, err := m.greet(ctx, name, address)
	if err != nil {
		return err
	}
	defer m.changing.take()()
	former, present, err := m.before(ctx, id, address)
	if err != nil || present {
		return err
	}
	for _, old := range former {
		m.leadership.cfg.Log.Info("a server takes the place of another", "server", id, "of", old)
		if err := m.take(ctx, old); err != nil {
			return err
		}
	}
	return m.change(ctx, func() raft.Future { // of a voter, only the address changes
		return m.raft.AddNonvoter(id, raft.ServerAddress(address), 0, m.life.request)
	})
}

// before lists the members that have to go before the server of that ID can be one at address, and tells if it is.
func (m *membership) before(ctx context.Context, id raft.ServerID, address string) (former []raft.ServerID, present bool, err error) {
	for _, s := range m.servers() {
		here := string(s.Address) == address
		switch {
		case s.ID == id && here:
			return nil, true, nil
		case nameOf(s.ID) == nameOf(id) && !here:
			if a, err := m.peers.ask(ctx, string(s.Address), askState); err == nil && a.ID == string(s.ID) {
				return nil, false, fmt.Errorf("%w: %s answers at %s", ErrNameTaken, s.ID, s.Address)
			}
		}
		if s.ID != id && (here || nameOf(s.ID) == nameOf(id)) {
			former = append(former, s.ID)
		}
	}
	return former, false, nil
}

// greet checks that the server is where it says it is, and returns its ID. Whatever has another ID is not there: one
// address has one server.
func (m *membership) greet(ctx context.Context, name, address string) (raft.ServerID, error) {
	a, err := m.peers.ask(ctx, address, askState)
	id := raft.ServerID(a.ID)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %s at %s: %w", ErrUnreachable, name, address, err)
	case nameOf(id) != name || a.Cluster != m.cluster:
		return "", fmt.Errorf("%w: %s: server %q of cluster %q answers there", ErrUnreachable, address, nameOf(id), a.Cluster)
	case a.Lineage != "" && a.Lineage != m.leadership.self.history():
		return "", fmt.Errorf("%w: it has %s, the cluster %s", ErrLeftBehind, a.Lineage, m.leadership.self.history())
	}
	return id, nil
}

func (m *membership) remove(ctx context.Context, name string) error {
	if !m.leadership.leads() {
		return m.leadership.notLeader()
	}
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	defer m.changing.take()()
	s, err := m.find(name)
	if err != nil {
		return nil
	}
	return m.take(ctx, s.ID)
}

// take takes a server out. The caller holds m.changing.
func (m *membership) take(ctx context.Context, id raft.ServerID) error {
	return m.change(ctx, func() raft.Future { return m.raft.RemoveServer(id, 0, m.life.request) })
}

func (m *membership) removable(ctx context.Context, name string) error {
	if !m.leadership.leads() {
		return m.leadership.notLeader()
	}
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	s, err := m.find(name)
	if err != nil || s.Suffrage != raft.Voter {
		return err
	}
	var others []raft.Server
	for _, v := range m.voters() {
		if v.ID != s.ID {
			others = append(others, v)
		}
	}
	if len(others) == 0 {
		return fmt.Errorf("%w: %s", ErrLastVoter, name)
	}
	if live := m.answering(ctx, others); live < quorum(len(others)) {
		return fmt.Errorf("%w: of the %d voters without %s only %d answer", ErrQuorumAtRisk, len(others), name, live)
	}
	return nil
}

// quorum is the smallest majority of that many voters.
func quorum(voters int) int { return voters/2 + 1 }

// change has raft change the configuration. The caller holds m.changing.
func (m *membership) change(ctx context.Context, start func() raft.Future) error {
	err := m.life.await(ctx, start)
	defer m.changed.raise()
	switch {
	case err == nil:
		m.trans.forget(m.present())
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return m.leadership.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return noQuorum(ctx, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

// present tells which IDs are in the configuration.
func (m *membership) present() func(raft.ServerID) bool {
	here := map[raft.ServerID]bool{}
	for _, s := range m.servers() {
		here[s.ID] = true
	}
	return func(id raft.ServerID) bool { return here[id] }
}
