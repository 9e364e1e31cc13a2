package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
)

// healthTimeout bounds the wait for one server's health: one that is slower is of no use to the others.
const healthTimeout = 2 * time.Second

// Health is how far a server is, in its own words.
type Health struct {
	// Last is the index of the last entry in its log, Applied that of the last that it has applied.
	Last    uint64 `json:"last"`
	Applied uint64 `json:"applied"`
	// Revision and Digest are its store's.
	Revision uint64 `json:"revision"`
	Digest   string `json:"digest"`
}

// Observed is a member with its health; nil if it does not answer under its own ID.
type Observed struct {
	Member
	Health *Health
}

func healthOf(r *raft.Raft, store *fsm.Store) Health {
	v := store.View()
	return Health{Last: r.LastIndex(), Applied: r.AppliedIndex(), Revision: v.Revision(), Digest: v.Digest()}
}

func (m *membership) observe(ctx context.Context, store *fsm.Store) []Observed {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	members := m.list()
	health := make([]chan *Health, len(members))
	for i, member := range members {
		health[i] = make(chan *Health, 1)
		if member.ID == string(m.leadership.self.id) {
			h := healthOf(m.raft, store)
			health[i] <- &h
			continue
		}
		asked := m.life.spawn(func() {
			a, err := m.health(ctx, raft.Server{ID: raft.ServerID(member.ID), Address: raft.ServerAddress(member.Address)})
			if err != nil {
				a.Health = nil
			}
			health[i] <- a.Health
		})
		if !asked {
			health[i] <- nil
		}
	}
	observed := make([]Observed, len(members))
	for i, member := range members {
		observed[i] = Observed{Member: member, Health: <-health[i]}
	}
	return observed
}

// health asks the server of that ID, and no other that may be at its address.
func (m *membership) health(ctx context.Context, s raft.Server) (answer, error) {
	a, err := m.peers.ask(ctx, string(s.Address), askHealth)
	if err == nil && (a.ID != string(s.ID) || a.Health == nil) {
		err = ErrUnreachable
	}
	return a, err
}

// liveBeats is how many heartbeat timeouts a live server may be silent.
const liveBeats = 2

// hears tells whether the server of that ID has answered this one, the leader, just now.
func (m *membership) hears(id raft.ServerID) bool {
	return time.Since(m.trans.heard(id)) < liveBeats*m.leadership.cfg.Timing.Heartbeat
}

// answering counts the servers that answer under their own ID.
func (m *membership) answering(ctx context.Context, servers []raft.Server) int {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answers := make(chan bool, len(servers))
	for _, s := range servers {
		if s.ID == m.leadership.self.id {
			answers <- true
			continue
		}
		asked := m.life.spawn(func() {
			_, err := m.health(ctx, s)
			answers <- err == nil
		})
		if !asked {
			answers <- false
		}
	}
	live := 0
	for range servers {
		if <-answers {
			live++
		}
	}
	return live
}
