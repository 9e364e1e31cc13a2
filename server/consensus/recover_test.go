package consensus_test

import (
	"errors"
	"os"
	"testing"

	"github.com/holt-project/holt/server/consensus"
)

func survivor(c *cluster, s *server) (*consensus.Survivor, error) {
	return consensus.OpenSurvivor(consensus.Config{Name: s.name, Cluster: "test", DataDir: s.dir, Log: testLog(c.t, s.name)})
}

func TestRecover(t *testing.T) {
	t.Parallel()
	for _, compacted := range []bool{false, true} {
		c := newCluster(t, 3, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
		c.write(create(t, "x", "1"))
		c.sameDigest()
		left := c.followers()[0]
		if compacted {
			if err := left.Snapshot(c.ctx()); err != nil {
				t.Fatal(err)
			}
			c.write(create(t, "y", "1"))
			c.sameDigest()
		}
		oldID := left.Status().ID
		if _, err := survivor(c, left); !errors.Is(err, consensus.ErrInUse) {
			t.Errorf("while it runs: %v", err)
		}
		for _, s := range c.servers {
			c.kill(s)
		}
		recoverFrom(t, c, left)
		c.start(left)
		c.write(create(t, "after", "1"))
		if value(left.store, "x") != "1" || compacted && value(left.store, "y") != "1" {
			t.Error("the recovered server has lost its data")
		}
		if left.Status().ID == oldID {
			t.Error("the recovered server is the old one to raft")
		}
		theOthersStayOut(t, c, left)
	}
}

func recoverFrom(t *testing.T, c *cluster, left *server) {
	t.Helper()
	for range 2 { // it may be repeated
		s, err := survivor(c, left)
		if err != nil {
			t.Fatal(err)
		}
		if s.Index == 0 || s.Term == 0 || len(s.Members) == 0 {
			t.Errorf("the survivor: index %d, term %d, %+v", s.Index, s.Term, s.Members)
		}
		if err := errors.Join(s.Recover(newStore()), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// theOthersStayOut starts the other servers with their old data: they elect a leader among themselves if they can, but
// have no part in the recovered cluster until they begin anew.
func theOthersStayOut(t *testing.T, c *cluster, left *server) {
	t.Helper()
	var others []*server
	for _, s := range c.servers {
		if s != left {
			others = append(others, s)
		}
	}
	back := others[0]
	c.start(back)
	if err := left.Join(c.ctx(), back.name, back.address); !errors.Is(err, consensus.ErrLeftBehind) {
		t.Errorf("join with the old data: %v", err)
	}
	c.stop(back)
	for _, s := range others {
		s.dir = t.TempDir()
	}
	c.start(back)
	c.join(back)
	c.sameDigest()
}

func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	s := c.followers()[0]
	c.kill(s)
	for what, test := range map[string]struct {
		change func(*server)
		want   error
	}{
		"an empty folder":  {func(s *server) { s.dir = t.TempDir() }, consensus.ErrNotAServer},
		"no folder":        {func(s *server) { s.dir += "/none" }, consensus.ErrNotAServer},
		"another's folder": {func(s *server) { s.name = "other" }, consensus.ErrForeign},
	} {
		other := *s
		test.change(&other)
		if _, err := survivor(c, &other); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
	edit(t, s.dir+"/raft.db", zeroed)
	if _, err := survivor(c, s); !errors.Is(err, consensus.ErrDamaged) {
		t.Errorf("a damaged folder: %v", err)
	}
	if err := os.Remove(s.dir + "/raft.db"); err != nil {
		t.Fatal(err)
	}
	if _, err := survivor(c, s); !errors.Is(err, consensus.ErrDamaged) {
		t.Errorf("without its log: %v", err)
	}
}
