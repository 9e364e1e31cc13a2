package consensus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holt-project/holt/server/consensus"
)

// TestEmptyDiskUnderAnOldName shows a voter that comes back with its name and address, and without its disk. It has
// forgotten that it stored an entry: if it voted as the old one, a server without the entry would be elected.
func TestEmptyDiskUnderAnOldName(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	keeper := c.leader()
	wiped, behind := c.followers()[0], c.followers()[1]
	c.write(create(t, "before", "x"))
	c.sameDigest()

	c.net.isolate(behind.address, true)
	c.write(create(t, "precious", "x")) // on the disks of keeper and wiped
	c.kill(wiped)
	c.net.isolate(keeper.address, true)
	wiped.dir = t.TempDir()
	c.start(wiped)
	c.net.isolate(behind.address, false)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := behind.Linearize(ctx); !errors.Is(err, consensus.ErrNoQuorum) {
		t.Errorf("%s and the wiped %s have elected a leader: %v", behind.name, wiped.name, err)
	}

	c.net.isolate(keeper.address, false)
	c.join(wiped)
	if m := c.leader().Members(); len(m) != 3 {
		t.Errorf("members after the return: %+v", m)
	}
	c.sameDigest()
	if value(behind.store, "precious") == "" || value(wiped.store, "precious") == "" {
		t.Error("an acknowledged write is lost")
	}
}
