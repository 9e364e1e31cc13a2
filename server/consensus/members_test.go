package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holt-project/holt/server/consensus"
)

// add starts another server, which has not joined.
func (c *cluster) add() *server {
	c.t.Helper()
	s := &server{name: fmt.Sprintf("s%d", len(c.servers)), address: "127.0.0.1:0", dir: c.t.TempDir()}
	c.servers = append(c.servers, s)
	c.start(s)
	return s
}

// tend has whoever leads look after the members, until the test ends.
func (c *cluster) tend(p consensus.Policy, servers ...*server) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() { s.Lead(ctx, func(ctx context.Context) { s.Group().Tend(ctx, p) }) })
	}
	c.t.Cleanup(func() { cancel(); wg.Wait() })
}

func (c *cluster) member(name string) *consensus.Member {
	for _, m := range c.leader().Members() {
		if m.Name == name {
			return &m
		}
	}
	return nil
}

// until waits for a condition of the members.
func (c *cluster) until(what string, is func() bool) {
	c.t.Helper()
	for ctx := c.ctx(); !is(); c.anyChange(ctx) {
		if ctx.Err() != nil {
			c.t.Fatalf("never: %s; members: %+v", what, c.leader().Members())
		}
	}
}

func TestANewServerVotesOnceItHasCaughtUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	for i := range 10 {
		c.write(create(t, fmt.Sprint("k", i), "x"))
	}
	if err := c.leader().Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	late := c.add()
	if err := c.leader().Join(c.ctx(), late.name, late.address); err != nil {
		t.Fatal(err)
	}
	if m := c.member(late.name); m == nil || m.Voter {
		t.Fatalf("right after joining: %+v", m)
	}
	c.tend(consensus.Policy{}, c.servers...)
	c.until("it votes", func() bool { return c.member(late.name).Voter })
	if value(late.store, "k9") == "" {
		t.Error("it votes, and has not caught up")
	}
	// A server that is not there is not promoted, whatever it had.
	gone := c.add()
	c.join(late) // again: nothing happens
	if err := c.leader().Join(c.ctx(), gone.name, gone.address); err != nil {
		t.Fatal(err)
	}
	c.net.isolate(gone.address, true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	before := c.member(gone.name).Voter // it may have been quick
	if err := c.leader().Group().Promote(ctx, gone.name); !before && !errors.Is(err, context.DeadlineExceeded) && !c.member(gone.name).Voter {
		t.Errorf("promoting a server that is not there: %v", err)
	}
}

func TestRemovable(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	leader, followers := c.leader(), c.followers()
	check := func(name string, want error) {
		t.Helper()
		if err := leader.Group().Removable(c.ctx(), name); !errors.Is(err, want) {
			t.Errorf("remove %s: %v, want %v", name, err, want)
		}
	}
	check("nobody", consensus.ErrNotMember)
	check(followers[0].name, nil)
	if err := followers[0].Group().Removable(c.ctx(), leader.name); !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("asked of a follower: %v", err)
	}
	c.kill(followers[0])
	check(followers[1].name, consensus.ErrQuorumAtRisk)
	check(followers[0].name, nil)
	for _, s := range followers {
		if err := leader.Remove(c.ctx(), s.name); err != nil {
			t.Fatal(err)
		}
	}
	check(leader.name, consensus.ErrLastVoter)
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	old, heir := c.leader(), c.followers()[1]
	if err := old.Group().Transfer(c.ctx(), "nobody"); !errors.Is(err, consensus.ErrNotMember) {
		t.Errorf("to nobody: %v", err)
	}
	if err := old.Group().Transfer(c.ctx(), old.name); !errors.Is(err, consensus.ErrNoHeir) {
		t.Errorf("to itself: %v", err)
	}
	if err := heir.Group().Transfer(c.ctx(), ""); !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("by a follower: %v", err)
	}
	if err := old.Group().Transfer(c.ctx(), heir.name); err != nil {
		t.Fatal(err)
	}
	if now := c.leader(); now != heir {
		t.Errorf("%s leads, not %s", now.name, heir.name)
	}
	// A dead server is not tried, though nothing has been written that it lacks.
	dead := c.followers()[0]
	c.kill(dead)
	if err := heir.Group().Transfer(c.ctx(), ""); err != nil {
		t.Errorf("with one server dead: %v", err)
	}
	if now := c.leader(); now == heir || now == dead {
		t.Errorf("%s leads", now.name)
	}
}

func TestADeadServerIsRemovedAndComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, nil)
	c.write(create(t, "x", "1"))
	dead := c.followers()[0]
	c.kill(dead)
	var rest []*server
	for _, s := range c.servers {
		if s != dead {
			rest = append(rest, s)
		}
	}
	c.tend(consensus.Policy{DeadAfter: 2 * time.Second, MinVoters: 3}, rest...)
	c.until("the dead server is removed", func() bool { return c.member(dead.name) == nil })
	c.write(create(t, "y", "1"))
	// It has its data, and it may come back.
	c.start(dead)
	if err := c.leader().Join(c.ctx(), dead.name, dead.address); err != nil {
		t.Fatal(err)
	}
	c.until("it votes again", func() bool { m := c.member(dead.name); return m != nil && m.Voter })
	c.sameDigest()
	if value(dead.store, "y") == "" {
		t.Error("it lacks what was written meanwhile")
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.write(create(t, "x", "1"))
	c.sameDigest()
	gone := c.followers()[0]
	c.kill(gone)
	for _, o := range c.leader().Group().Observe(c.ctx()) {
		switch {
		case (o.Name == gone.name) != (o.Health == nil):
			t.Errorf("%s: %+v", o.Name, o.Health)
		case o.Health != nil && (o.Health.Revision != 1 || o.Health.Applied == 0 || o.Health.Last < o.Health.Applied):
			t.Errorf("%s: %+v", o.Name, o.Health)
		}
	}
}
