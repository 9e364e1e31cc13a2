package storage_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/consensus/consensustest"
	"github.com/holt-project/holt/server/storage"
	"github.com/holt-project/holt/server/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a log of one server that is nowhere but in its state.
type memory struct {
	state *fsm.Store
	mu    sync.Mutex
}

func (m *memory) Propose(_ context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		return nil, err
	}
	return m.state.Apply(m.state.View().Index()+1, data)
}

func (m *memory) Linearize(context.Context) error { return nil }

func newMemory() *storage.Store {
	state := storagetest.NewState()
	return storage.New(state, &memory{state: state}, storagetest.BookmarkEvery)
}

// leading is the log of a cluster's server whose writes go to whoever leads.
type leading struct {
	*consensustest.Server
	cluster *consensustest.Cluster
}

func (l leading) Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	for {
		results, err := l.cluster.Leader().Propose(ctx, ops)
		if !errors.Is(err, consensus.ErrNotLeader) { // which promises that nothing was applied
			return results, err
		}
	}
}

func storeOf(c *consensustest.Cluster, s *consensustest.Server) *storage.Store {
	return storage.New(s.Store, leading{s, c}, storagetest.BookmarkEvery)
}

func TestMemory(t *testing.T) {
	s := newMemory()
	storagetest.Run(t, storagetest.Harness{Write: s, Read: s, Other: s})
}

func TestOneServer(t *testing.T) {
	c := consensustest.Start(t, 1, storagetest.NewState)
	s := storeOf(c, c.Leader())
	storagetest.Run(t, storagetest.Harness{Write: s, Read: s, Other: s})
}

func TestThreeServers(t *testing.T) {
	c := consensustest.Start(t, 3, storagetest.NewState)
	followers := c.Followers()
	leader, follower, other := storeOf(c, c.Leader()), storeOf(c, followers[0]), storeOf(c, followers[1])
	t.Run("leader", func(t *testing.T) {
		storagetest.Run(t, storagetest.Harness{Write: leader, Read: leader, Other: follower})
	})
	t.Run("follower", func(t *testing.T) {
		storagetest.Run(t, storagetest.Harness{Write: leader, Read: follower, Other: other})
	})
}
