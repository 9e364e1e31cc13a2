package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/join"
)

// registrar knows who is a member, and who must not become one.
type registrar struct{ *server }

// group wires what is asked about the members.
func (s registrar) group() http.Handler {
	admit := join.Members(s.node, s.removed)
	return join.NewGroup(s.node.Group(), s.node.Group(), s.rememberRemoved, administers, transport(s.client), s.Log).Handler(admit)
}

// policy is what the leader may do about the members by itself.
func (s registrar) policy() consensus.Policy {
	return consensus.Policy{DeadAfter: s.DeadServerAfter, MinVoters: s.MinVoters, Alive: func(name string) bool {
		return s.aliveNode(pki.RoleServer, name)
	}}
}

// removed says why the server of that ID must stay out, or nothing.
func (s registrar) removed(ctx context.Context, id string) (string, error) {
	if err := s.node.Linearize(ctx); err != nil {
		return "", err
	}
	return join.Removed(s.store.View(), id), nil
}

// rememberRemoved keeps in the store that a member was removed on purpose.
func (s registrar) rememberRemoved(ctx context.Context, m consensus.Member) error {
	op, err := s.createOp(join.RemovedServer(m, time.Now()))
	if err != nil {
		return err
	}
	results, err := s.node.Propose(ctx, []fsm.Op{op})
	if err == nil {
		err = results[0].Err
	}
	if errors.Is(err, fsm.ErrExists) { // it was tried before
		return nil
	}
	return err
}
