package consensus

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// stagingTick is how often a server that does not vote yet is asked how far it is, stagingStable how long it must
	// have been with the others by then.
	stagingTick   = 50 * time.Millisecond
	stagingStable = 200 * time.Millisecond
	// tendTick is how often the leader looks after the others otherwise. It reads memory only.
	tendTick = time.Second
)

// promote makes the member of that ID a voter.
func (m *membership) promote(ctx context.Context, id raft.ServerID) error {
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	defer m.changing.take()()
	for _, s := range m.servers() {
		if s.ID == id && s.Suffrage != raft.Voter {
			return m.change(ctx, func() raft.Future { return m.raft.AddVoter(id, s.Address, 0, m.life.request) })
		}
	}
	return nil
}

// stage watches the servers that do not vote yet. It is used by one goroutine.
type stage struct {
	members *membership
	goal    uint64                      // the leader's commit index at the last look
	with    map[raft.ServerID]time.Time // since when each has had everything that was committed one look before
}

// look asks the non-voters how far they are, and returns which have been with the others for stagingStable.
func (s *stage) look(ctx context.Context) map[raft.ServerID]bool {
	commit, term := s.members.raft.CommitIndex(), s.members.raft.CurrentTerm()
	goal := s.goal
	s.goal = commit
	ready := map[raft.ServerID]bool{}
	for _, server := range s.members.servers() {
		if server.Suffrage == raft.Voter {
			continue
		}
		a, err := s.ask(ctx, server)
		if err != nil || a.Term != term || goal == 0 || a.Health.Applied < goal {
			delete(s.with, server.ID)
			continue
		}
		now := time.Now()
		since, ok := s.with[server.ID]
		if !ok {
			since, s.with[server.ID] = now, now
		}
		ready[server.ID] = now.Sub(since) >= stagingStable
	}
	return ready
}

// ask asks a non-voter for its health, unless it does not even answer heartbeats.
func (s *stage) ask(ctx context.Context, server raft.Server) (answer, error) {
	if !s.members.hears(server.ID) {
		return answer{}, ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return s.members.health(ctx, server)
}

// tender is Tend for one term of leadership. It is used by one goroutine.
type tender struct {
	policy  Policy
	members *membership
	stage   stage
	log     *slog.Logger

	// heard is when each member was heard of last: not before this leader saw it first.
	heard map[raft.ServerID]time.Time
}

func (t *tender) run(ctx context.Context) {
	for {
		changed := t.members.changed.wait()
		servers := t.members.servers()
		d := decide(t.policy, string(t.members.leadership.self.id), t.see(ctx, servers), time.Now())
		err := t.act(ctx, d)
		if err != nil && ctx.Err() == nil {
			t.log.Warn("the members could not be changed; it is tried again", "promote", d.promote, "remove", d.remove, "error", err)
		}
		wait := tendTick
		if err == nil && len(servers) > len(t.members.voters()) {
			wait = stagingTick
		}
		if !sleep(ctx, changed, wait) {
			return
		}
	}
}

func (t *tender) see(ctx context.Context, servers []raft.Server) []sight {
	caughtUp := t.stage.look(ctx)
	now := time.Now()
	var seen []sight
	heard := map[raft.ServerID]time.Time{}
	for _, s := range servers {
		answered := t.members.trans.heard(s.ID)
		last, known := t.heard[s.ID]
		switch {
		case !known, t.policy.Alive != nil && t.policy.Alive(nameOf(s.ID)):
			last = now
		case answered.After(last):
			last = answered
		}
		heard[s.ID] = last
		seen = append(seen, sight{
			id: string(s.ID), voter: s.Suffrage == raft.Voter, live: t.members.hears(s.ID), silent: last,
			caughtUp: caughtUp[s.ID],
		})
	}
	t.heard = heard
	return seen
}

func (t *tender) act(ctx context.Context, d decision) error {
	switch {
	case d.promote != "":
		if err := t.members.promote(ctx, raft.ServerID(d.promote)); err != nil {
			return err
		}
		t.log.Info("a server has caught up, and votes", "server", d.promote)
	case d.remove != "":
		if err := t.members.removeDead(ctx, raft.ServerID(d.remove)); err != nil {
			return err
		}
		t.log.Info("a server was removed: nobody has heard of it", "server", d.remove, "for", t.policy.DeadAfter)
	}
	return nil
}

// removeDead takes out the server of that ID.
func (m *membership) removeDead(ctx context.Context, id raft.ServerID) error {
	ctx, cancel := m.life.bounded(ctx)
	defer cancel()
	defer m.changing.take()()
	return m.take(ctx, id)
}
