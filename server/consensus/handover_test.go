package consensus_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// TestHandoverLosesNothing hands leadership round under load: no write fails but for want of a leader, and none is
// lost.
func TestHandoverLosesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	done := make(chan struct{})
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprintf("w%d-%d", w, i)
				for _, s := range c.servers {
					if _, err := s.Propose(c.ctx(), []fsm.Op{create(t, name, "v")}); err == nil {
						mu.Lock()
						acknowledged[name] = true
						mu.Unlock()
						break
					} else if !errors.Is(err, consensus.ErrNotLeader) {
						t.Errorf("%s: %v", s.name, err)
					}
				}
			}
		})
	}
	for range 10 {
		if err := c.leader().Abdicate(c.ctx()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	c.sameDigest()
	for name := range acknowledged {
		if value(c.servers[0].store, name) == "" {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
}

// TestHandoverToAServerThatIsCutOff must fail, and leave a leader that takes writes.
func TestHandoverToAServerThatIsCutOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	leader := c.leader()
	for _, s := range c.followers() {
		c.net.isolate(s.address, true)
	}
	if err := leader.Abdicate(c.ctx()); err == nil {
		t.Error("leadership was handed over to nobody")
	}
	for _, s := range c.servers {
		c.net.isolate(s.address, false)
	}
	c.write(create(t, "after", "1"))
	c.sameDigest()
}
