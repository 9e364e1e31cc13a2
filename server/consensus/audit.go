package consensus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/folder"
)

// sightings is how many of the latest entries a server remembers the digest of: enough for a peer that lags a little.
const sightings = 4096

// digests remembers which digest the state had after each of the latest entries.
type digests struct {
	mu   sync.Mutex
	ring [sightings]sighting // by index modulo its length; guarded by mu
}

type sighting struct {
	index  uint64
	digest string
}

func (d *digests) add(v fsm.View) {
	seen := sighting{v.Index(), v.Digest()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring[seen.index%sightings] = seen
}

// at returns the digest after the entry at index, if it is remembered.
func (d *digests) at(index uint64) (digest string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := d.ring[index%sightings]
	return seen.digest, seen.digest != "" && seen.index == index
}

// auditor compares this server's state with that of the others, and stops the server if it is the one that differs:
// equal logs that make unequal states are a fault of this server's memory, disk or program (LiteFS has the idea).
type auditor struct {
	cfg     Config
	life    *lifetime
	members *membership
	store   *fsm.Store
	digests *digests
}

// loop audits at once, and then every Timing.Audit.
func (a *auditor) loop() {
	for {
		a.round()
		timer := time.NewTimer(a.cfg.Timing.Audit)
		select {
		case <-timer.C:
		case <-a.life.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// round asks each voter for its digest, and decides.
func (a *auditor) round() {
	voters := a.members.voters()
	verdict := verdict{voters: len(voters)}
	leader, _, self := a.members.leadership.leader()
	verdict.leads = self
	for _, v := range voters {
		if v.ID == a.members.leadership.self.id {
			continue
		}
		differs, err := a.compare(v)
		if err != nil || differs == "" {
			continue // it is down, or too far away to compare: the next round will tell
		}
		verdict.differ++
		verdict.fromLeader = verdict.fromLeader || nameOf(v.ID) == leader
		a.cfg.Log.Error("the state of two servers differs", "peer", string(v.ID), "difference", differs)
		if verdict.mine() {
			a.quarantine(fmt.Errorf("%w: %s", ErrDiverged, differs))
			return
		}
	}
}

// compare tells how the state of v differs from this server's at the same entry; empty if it does not, or if no entry is
// known to both.
func (a *auditor) compare(v raft.Server) (difference string, err error) {
	ctx, cancel := a.life.bounded(context.Background())
	defer cancel()
	theirs, err := a.members.peers.ask(ctx, string(v.Address), askDigest)
	if err != nil || theirs.ID != string(v.ID) || theirs.Digest == "" {
		return "", err
	}
	if err := a.store.WaitApplied(ctx, theirs.Index); err != nil {
		return "", err
	}
	mine, ok := a.digests.at(theirs.Index)
	if !ok || mine == theirs.Digest {
		return "", nil
	}
	return fmt.Sprintf("after entry %d the digest is %s here and %s on %s", theirs.Index, mine, theirs.Digest, v.ID), nil
}

// verdict is what the answers of one round say about this server.
type verdict struct {
	voters int
	// differ is how many of them have another state; fromLeader says that the leader is among these.
	differ     int
	leads      bool
	fromLeader bool
}

// mine reports whether it is this server that went wrong: a majority says so, or the leader says so and no majority
// can be made with this server's state.
func (v verdict) mine() bool {
	majority := v.voters/2 + 1
	if v.differ >= majority {
		return true
	}
	return v.fromLeader && !v.leads && v.voters-v.differ < majority
}

// divergedFile marks a folder whose server has diverged. It holds the reason.
const divergedFile = "diverged"

// quarantine ends the process, and keeps the next one from serving the same state.
func (a *auditor) quarantine(reason error) {
	path := filepath.Join(a.cfg.DataDir, divergedFile)
	a.cfg.Fatal(errors.Join(reason, folder.WriteFile(path, []byte(reason.Error()+"\n"))))
}

// inQuarantine fails with ErrDiverged if the server of this folder was stopped for that.
func inQuarantine(dir string) error {
	reason, err := os.ReadFile(filepath.Join(dir, divergedFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: it was stopped because %s", ErrDiverged, reason)
}
