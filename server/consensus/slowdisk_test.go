package consensus_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/consensus/disk"
)

// frozen is a log on a disk that stops and goes on.
type frozen struct {
	raft.LogStore
	mu   sync.Mutex
	thaw chan struct{} // guarded by mu; nil while it works
}

func (f *frozen) StoreLogs(logs []*raft.Log) error {
	f.mu.Lock()
	thaw := f.thaw
	f.mu.Unlock()
	if thaw != nil {
		<-thaw
	}
	return f.LogStore.StoreLogs(logs)
}

func (f *frozen) freeze() (thaw func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.thaw = c
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.thaw = nil
		f.mu.Unlock()
		close(c)
	})
}

// TestALeaderWithAFrozenDiskLetsAnotherLead freezes the leader's disk for less time than ends its process: another
// server takes the writes meanwhile, and the frozen one follows after the thaw.
func TestALeaderWithAFrozenDiskLetsAnotherLead(t *testing.T) {
	t.Parallel()
	disks := map[string]*frozen{}
	c := newCluster(t, 3, func(cfg *consensus.Config) {
		cfg.Timing.SlowDisk, cfg.Timing.Disk = 100*time.Millisecond, time.Hour
		name := cfg.Name
		cfg.Storage = func(dir string, log hclog.Logger) (disk.Storage, error) {
			s, err := disk.OpenFiles(dir, log)
			disks[name] = &frozen{LogStore: s.Log}
			s.Log = disks[name]
			return s, err
		}
	})
	c.write(create(t, "before", "1"))
	leader := c.leader()
	thaw := disks[leader.name].freeze()
	t.Cleanup(thaw)
	ctx := c.ctx()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = leader.Propose(ctx, []fsm.Op{create(t, "stuck", "1")}) }) // its outcome is not known
	for done := false; !done && ctx.Err() == nil; {
		for _, s := range c.servers {
			if s == leader {
				continue
			}
			if _, _, self := s.Leader(); self {
				_, err := s.Propose(ctx, []fsm.Op{create(t, "during", "1")})
				done = done || err == nil
			}
		}
		c.anyChange(ctx)
	}
	thaw()
	wg.Wait()
	c.write(create(t, "after", "1"))
	c.sameDigest()
	if value(leader.store, "during") == "" || value(leader.store, "after") == "" {
		t.Error("the server that was frozen lacks what was written")
	}
}
