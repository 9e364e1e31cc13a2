package consensus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// leadership knows who leads, and what this server needs to do so itself.
type leadership struct {
	cfg  Config
	life *lifetime
	raft *raft.Raft
	self *incarnation

	changed signal        // raised when the role or the leader changes
	settled atomic.Uint64 // the last term in which this server led and committed an entry
}

func newLeadership(cfg Config, life *lifetime, raft *raft.Raft, self *incarnation) *leadership {
	l := &leadership{cfg: cfg, life: life, raft: raft, self: self}
	l.observe()
	return l
}

// observe raises l.changed whenever raft's role or leader changes. An event that finds the channel full is not lost:
// the one in the channel wakes everybody after it.
func (l *leadership) observe() {
	events := make(chan raft.Observation, 1)
	observer := raft.NewObserver(events, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	l.raft.RegisterObserver(observer)
	l.life.spawn(func() {
		defer l.raft.DeregisterObserver(observer)
		for {
			select {
			case <-events:
				l.changed.raise()
			case <-l.life.ctx.Done():
				l.changed.raise()
				return
			}
		}
	})
}

// silence is how many heartbeat intervals, which are a tenth of the timeout, a leader may miss before it is doubted.
const silence = 4

// leader answers Node.Leader.
func (l *leadership) leader() (name, address string, self bool) {
	if l.leads() {
		return l.cfg.Name, l.cfg.Address, true
	}
	a, id := l.raft.LeaderWithID()
	if id == l.self.id {
		return "", "", false // it has stepped down, and raft has not cleared the field yet
	}
	if doubt := silence * l.cfg.Timing.Heartbeat / 10; time.Since(l.raft.LastContact()) > doubt {
		return "", "", false
	}
	return nameOf(id), string(a), false
}

func (l *leadership) leads() bool { return l.raft.State() == raft.Leader }

func (l *leadership) notLeader() error {
	name, address, _ := l.leader()
	return &NotLeaderError{Leader: name, Address: address}
}

// settle makes sure that this server, as the leader, has committed an entry of its own term and applied everything
// before it; until then its commit index may be behind (Raft, section 8). It returns the term.
func (l *leadership) settle(ctx context.Context) (uint64, error) {
	term := l.raft.CurrentTerm()
	if !l.leads() {
		return 0, l.notLeader()
	}
	if l.settled.Load() == term || bugs.On(bugs.BarrierSkipped) {
		return term, nil
	}
	err := l.life.await(ctx, func() raft.Future { return l.raft.Barrier(l.life.request) })
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		err == nil && l.raft.CurrentTerm() != term:
		return 0, l.notLeader()
	case err != nil:
		return 0, err
	}
	l.settled.Store(term)
	return term, nil
}
