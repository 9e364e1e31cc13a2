package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

func TestLead(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan *server)
	var wg sync.WaitGroup
	for _, s := range c.servers {
		wg.Go(func() {
			s.Lead(ctx, func(ctx context.Context) {
				select {
				case started <- s:
				case <-ctx.Done():
					return
				}
				<-ctx.Done()
			})
		})
	}
	for i := range 20 {
		var s *server
		select {
		case s = <-started:
		case <-c.ctx().Done():
			t.Fatal("nobody leads")
		}
		name := fmt.Sprint("k", i)
		if i > 0 && value(s.store, fmt.Sprint("k", i-1)) == "" {
			t.Fatalf("cycle %d: %s runs its services before it has applied everything", i, s.name)
		}
		if _, err := s.Propose(c.ctx(), []fsm.Op{create(t, name, "v")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Abdicate(c.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait() // and goleak counts what is left
}

func TestCloseEndsServices(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	s := c.servers[0]
	started, ended := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Lead(context.Background(), func(ctx context.Context) {
			close(started)
			<-ctx.Done()
			close(ended)
		})
	})
	<-started
	c.stop(s)
	select {
	case <-ended:
	default:
		t.Error("Close has returned before the services")
	}
	wg.Wait()
}

func TestMembership(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	leader := c.leader()
	for _, s := range c.servers { // again: nothing to do
		if err := leader.Join(c.ctx(), s.name, s.address); err != nil {
			t.Errorf("join %s again: %v", s.name, err)
		}
	}
	if m := leader.Members(); len(m) != 3 || !m[0].Voter {
		t.Fatalf("members: %+v", m)
	}
	gone := c.followers()[0]
	if err := gone.Join(c.ctx(), "x", "127.0.0.1:1"); !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("join through a follower: %v", err)
	}
	if err := leader.Join(c.ctx(), "nobody", "127.0.0.1:1"); !errors.Is(err, consensus.ErrUnreachable) {
		t.Errorf("join of a server that is not there: %v", err)
	}
	if err := leader.Join(c.ctx(), "another", gone.address); !errors.Is(err, consensus.ErrUnreachable) {
		t.Errorf("join under a wrong name: %v", err)
	}

	// A live server keeps its name; a dead one may come back at another address.
	old := gone.address
	twin := &server{name: gone.name, address: "127.0.0.1:0", dir: t.TempDir()}
	c.start(twin)
	if err := leader.Join(c.ctx(), twin.name, twin.address); !errors.Is(err, consensus.ErrNameTaken) {
		t.Errorf("join under the name of a live server: %v", err)
	}
	c.net.isolate(twin.address, true)
	c.stop(twin)
	c.kill(gone)
	gone.address = "127.0.0.1:0"
	c.start(gone)
	if err := c.leader().Join(c.ctx(), gone.name, gone.address); err != nil || gone.address == old {
		t.Fatalf("join from %s after %s: %v", gone.address, old, err)
	}
	c.write(create(t, "x", "1"))
	c.sameDigest()

	for range 2 {
		if err := c.leader().Remove(c.ctx(), gone.name); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if m := c.leader().Members(); len(m) != 2 {
		t.Errorf("members after the removal: %+v", m)
	}
}
