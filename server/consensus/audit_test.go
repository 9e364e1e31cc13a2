package consensus_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// diverge changes the state of one server behind the log's back. The cluster must be at rest.
func diverge(t *testing.T, s *server) {
	t.Helper()
	data, err := fsm.Command{Ops: []fsm.Op{create(t, "stray", "1")}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Apply(s.store.View().Index(), data); err != nil {
		t.Fatal(err)
	}
}

// TestTheServerThatDivergedStops changes one server's state: it alone must stop, though the leader, and must not start
// again.
func TestTheServerThatDivergedStops(t *testing.T) {
	for _, who := range []string{"the leader", "a follower"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			fatal := map[string]chan error{}
			c := newCluster(t, 3, func(cfg *consensus.Config) {
				cfg.Timing.Audit = 50 * time.Millisecond
				stop := make(chan error, 100)
				fatal[cfg.Name] = stop
				cfg.Fatal = func(err error) { stop <- err }
			})
			c.write(create(t, "x", "1"))
			c.sameDigest()
			odd := c.leader()
			if who == "a follower" {
				odd = c.followers()[0]
			}
			diverge(t, odd)
			c.write(create(t, "y", "1"))
			select {
			case err := <-fatal[odd.name]:
				if !errors.Is(err, consensus.ErrDiverged) {
					t.Errorf("%s stops with %v", odd.name, err)
				}
			case <-c.ctx().Done():
				t.Fatal("a server that has diverged goes on")
			}
			c.stop(odd)
			if err := c.tryStart(odd); !errors.Is(err, consensus.ErrDiverged) {
				t.Errorf("the server that has diverged starts again: %v", err)
			}
			c.write(create(t, "z", "1"))
			c.sameDigest()
			for name, stop := range fatal {
				if name != odd.name && len(stop) > 0 {
					t.Errorf("%s stops too: %v", name, <-stop)
				}
			}
			if err := os.RemoveAll(odd.dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}
