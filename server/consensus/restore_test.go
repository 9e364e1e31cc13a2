package consensus_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// TestARestoreGoesThroughTheLog: every server restores the same, also one that was away for a part of it and gets the
// rest, with what was staged, as a snapshot.
func TestARestoreGoesThroughTheLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	c.write(create(t, "a", "old"))
	var saved bytes.Buffer
	if _, err := c.leader().store.View().WriteTo(&saved); err != nil {
		t.Fatal(err)
	}
	c.write(update(t, "a", "new"), create(t, "b", "new"))
	follower := c.followers()[0]
	if _, err := follower.ProposeCommand(c.ctx(), fsm.Stage{ID: "r", Data: saved.Bytes()}); !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("at a follower: %v", err)
	}
	c.kill(follower)
	propose := func(command fsm.Encoder) fsm.Result {
		t.Helper()
		r, err := c.leader().ProposeCommand(c.ctx(), command)
		for errors.Is(err, consensus.ErrNotLeader) { // the next one goes on
			r, err = c.leader().ProposeCommand(c.ctx(), command)
		}
		if err != nil || r.Err != nil {
			t.Fatalf("%v, %v", err, r.Err)
		}
		return r
	}
	half := saved.Len() / 2
	propose(fsm.Stage{ID: "r", Data: saved.Bytes()[:half]})
	for i := range 10 {
		c.write(create(t, fmt.Sprint("between-", i), ""))
	}
	if err := c.leader().Snapshot(c.ctx()); err != nil { // what follower lacks is no longer in the log
		t.Fatal(err)
	}
	c.start(follower)
	propose(fsm.Stage{ID: "r", Offset: uint64(half), Data: saved.Bytes()[half:]})
	if r := propose(fsm.Replace{ID: "r", Size: uint64(saved.Len())}); r.Replaced == nil || r.Replaced.Objects != 1 {
		t.Errorf("%+v", r.Replaced)
	}
	c.sameDigest()
	for _, s := range c.servers {
		if value(s.store, "a") != "old" || value(s.store, "b") != "" || s.store.View().Staged() != "" {
			t.Errorf("%s has a=%q b=%q", s.name, value(s.store, "a"), value(s.store, "b"))
		}
	}
	large := fsm.Stage{ID: "r", Data: make([]byte, consensus.MaxProposal)}
	if _, err := c.leader().ProposeCommand(c.ctx(), large); !errors.Is(err, consensus.ErrTooLarge) {
		t.Errorf("a large one: %v", err)
	}
}
