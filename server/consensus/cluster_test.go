package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

func TestWritesReachEveryServer(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	got := c.write(create(t, "a", "1"), create(t, "a", "2"), create(t, "b", "3"))
	if len(got) != 3 || got[0].Err != nil || !errors.Is(got[1].Err, fsm.ErrExists) || got[2].Err != nil {
		t.Fatalf("results: %+v", got)
	}
	c.sameDigest()
	for _, s := range c.servers {
		if value(s.store, "a") != "1" || value(s.store, "b") != "3" {
			t.Errorf("%s has a=%q b=%q", s.name, value(s.store, "a"), value(s.store, "b"))
		}
	}
	status := c.leader().Status()
	if status.Role != "leader" || status.Leader != status.Name || status.Revision != 2 || status.Term == 0 ||
		status.AppliedIndex == 0 || status.CommitIndex < status.AppliedIndex {
		t.Errorf("status of the leader: %+v", status)
	}
}

func TestOnlyTheLeaderProposes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	leader := c.leader()
	for _, s := range c.followers() {
		if err := s.Linearize(c.ctx()); err != nil { // after it, the follower knows its leader
			t.Fatal(err)
		}
		_, err := s.Propose(c.ctx(), []fsm.Op{create(t, "x", "1")})
		var not *consensus.NotLeaderError
		if !errors.Is(err, consensus.ErrNotLeader) || !errors.As(err, &not) ||
			not.Leader != leader.name || not.Address != leader.address {
			t.Errorf("%s: got %v, want a hint to %s at %s", s.name, err, leader.name, leader.address)
		}
	}
}

func TestFollowerReadsWhatWasJustAcknowledged(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.write(create(t, "x", ""))
	leader, followers := c.leader(), c.followers()
	for i := range 200 {
		want := fmt.Sprint(i)
		if _, err := leader.Propose(c.ctx(), []fsm.Op{update(t, "x", want)}); err != nil {
			t.Fatal(err)
		}
		s := followers[i%len(followers)]
		if err := s.Linearize(c.ctx()); err != nil {
			t.Fatal(err)
		}
		if got := value(s.store, "x"); got != want {
			t.Fatalf("read %q on %s after %q was acknowledged", got, s.name, want)
		}
	}
}

func TestLeaderLostWithoutAWord(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lose func(*cluster, *server)
	}{
		{"killed", func(c *cluster, s *server) { c.kill(s) }},
		{"cut off", func(c *cluster, s *server) { c.net.isolate(s.address, true) }},
		{"closed", func(c *cluster, s *server) { c.stop(s) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			for i := range 20 {
				c.write(create(t, fmt.Sprint("before", i), "x"))
			}
			old := c.leader()
			test.lose(c, old)
			c.write(create(t, "after", "x"))
			if now := c.leader(); now == old {
				t.Fatalf("%s still leads", old.name)
			}
			if !old.up {
				c.start(old)
			}
			c.net.isolate(old.address, false)
			c.sameDigest()
			for i := range 20 {
				if value(old.store, fmt.Sprint("before", i)) == "" {
					t.Errorf("acknowledged write %d is lost", i)
				}
			}
		})
	}
}

// What a leader that is cut off leaves open is proposed again at the next one, under the same IDs, and so is what was
// acknowledged: each is applied once, whichever of the two entries comes first.
func TestRequestsAreAppliedOnceAcrossLeaders(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.write(create(t, "x", "begin"))
	const rounds, writers = 3, 16
	for round := range rounds {
		old := c.leader()
		ops, errs := make([]fsm.Op, writers), make([]error, writers)
		var wg sync.WaitGroup
		answered := make(chan struct{}, writers)
		for i := range ops {
			ops[i] = update(t, "x", fmt.Sprint(round, " ", i))
			ops[i].Request = fsm.Request{ID: fsm.RequestID{1, byte(round), byte(i)}, Since: 1}
			wg.Go(func() {
				_, errs[i] = old.Propose(c.ctx(), ops[i:i+1])
				answered <- struct{}{}
			})
		}
		<-answered // the rest is under way
		c.net.isolate(old.address, true)
		wg.Wait()
		for i, op := range ops {
			if errs[i] != nil {
				t.Logf("write %d: %v", i, errs[i])
			}
			if r := c.write(op)[0]; r.Err != nil || (errs[i] == nil && r.Earlier == nil) {
				t.Errorf("write %d, first %v: %+v", i, errs[i], r)
			}
		}
		c.net.isolate(old.address, false)
		c.sameDigest()
	}
	if got, want := c.leader().store.View().Revision(), uint64(1+rounds*writers); got != want {
		t.Errorf("%d changes, want %d", got, want)
	}
}

func TestCutOffLeaderNeitherReadsNorWrites(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.net.isolate(old.address, true)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := old.Propose(ctx, []fsm.Op{create(t, "x", "1")}); !errors.Is(err, consensus.ErrUnknownOutcome) &&
		!errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("write without a quorum: %v", err)
	}
	if err := old.Linearize(ctx); !errors.Is(err, consensus.ErrNoQuorum) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read without a quorum: %v", err)
	}
	// Whatever became of the write, all agree on it.
	c.write(create(t, "y", "1"))
	c.net.isolate(old.address, false)
	c.sameDigest()
}

func TestEveryWaitEndsWithoutAQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *consensus.Config) {
		long := 3 * time.Second // it goes on believing that it leads
		cfg.Timing = consensus.Timing{Request: long / 10, Heartbeat: long, Election: long, Lease: long}
	})
	leader := c.leader()
	for _, s := range c.followers() {
		c.net.isolate(s.address, true)
	}
	ctx := context.Background() // no deadline: Timing.Request holds
	first := make(chan error, 1)
	go func() {
		_, err := leader.Propose(ctx, []fsm.Op{create(t, "x", "1")})
		first <- err
	}()
	if err := <-first; !errors.Is(err, consensus.ErrUnknownOutcome) {
		t.Errorf("write in flight: %v", err)
	}
	if err := leader.Linearize(ctx); !errors.Is(err, consensus.ErrNoQuorum) {
		t.Errorf("read: %v", err)
	}
	if err := leader.Remove(ctx, "s2"); err == nil {
		t.Error("membership changed without a quorum")
	}
}

func TestRestartOfAllFromDisk(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	for i := range 30 {
		c.write(create(t, fmt.Sprint("k", i), "v"))
	}
	before := c.sameDigest()
	for _, s := range c.servers {
		c.kill(s)
	}
	for _, s := range c.servers {
		c.start(s)
	}
	if after := c.sameDigest(); after != before {
		t.Errorf("digest %s after the restart, %s before", after, before)
	}
}

func TestRestartFromSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	s := c.servers[0]
	for i := range 20 {
		c.write(create(t, fmt.Sprint("k", i), "v"))
	}
	if err := s.Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	c.write(create(t, "behind the snapshot", "v"))
	before := c.sameDigest()
	for range 3 {
		c.stop(s)
		c.start(s)
		if after := c.sameDigest(); after != before {
			t.Fatalf("digest %s after the restart, %s before", after, before)
		}
	}
	if err := s.Snapshot(c.ctx()); err != nil {
		t.Error(err)
	}
	if err := s.Snapshot(c.ctx()); err != nil {
		t.Errorf("a second snapshot of the same state: %v", err)
	}
}

func TestFollowerCatchesUpBySnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	late := c.followers()[0]
	c.kill(late)
	for i := range 50 {
		c.write(create(t, fmt.Sprint("k", i), "v"))
	}
	if err := c.leader().Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	c.write(create(t, "last", "v"))
	c.start(late)
	c.sameDigest()
	if value(late.store, "k0") == "" || value(late.store, "last") == "" {
		t.Error("the late server has not caught up")
	}
	c.write(create(t, "more", "v")) // and it goes on from there
	c.sameDigest()
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	leader := c.leader()
	before := leader.Status().CommitIndex
	const writers = 200
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			name := fmt.Sprint("k", i)
			got, err := leader.Propose(c.ctx(), []fsm.Op{create(t, name, "v")})
			if err != nil || len(got) != 1 || got[0].Err != nil || got[0].Object.Name != name {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	wg.Wait()
	if entries := leader.Status().CommitIndex - before; entries >= writers/2 {
		t.Errorf("%d writes took %d entries", writers, entries)
	}
	c.sameDigest()
}

func TestLimits(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	huge := create(t, "huge", string(make([]byte, consensus.MaxProposal)))
	if _, err := c.leader().Propose(c.ctx(), []fsm.Op{huge}); !errors.Is(err, consensus.ErrTooLarge) {
		t.Errorf("a huge write: %v", err)
	}
	if got, err := c.leader().Propose(c.ctx(), nil); err != nil || len(got) != 0 {
		t.Errorf("no ops: %v, %v", got, err)
	}
	large := create(t, "large", string(make([]byte, consensus.MaxProposal/2)))
	if got := c.write(large); got[0].Err != nil {
		t.Errorf("a large write: %v", got[0].Err)
	}
}

func TestClosedNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	s := c.servers[0]
	c.stop(s)
	if err := s.Close(c.ctx()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := s.Linearize(c.ctx()); !errors.Is(err, consensus.ErrClosed) {
		t.Errorf("Linearize: %v", err)
	}
	if _, err := s.Propose(c.ctx(), []fsm.Op{create(t, "x", "")}); err == nil {
		t.Error("Propose succeeded")
	}
}
