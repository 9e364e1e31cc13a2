package simulate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// snapshotsKept is as in package disk.
const snapshotsKept = 2

// snapshot is one finished snapshot on a disk.
type snapshot struct {
	meta   raft.SnapshotMeta
	data   []byte
	synced bool
}

// snapshots is a mounted disk as raft's snapshot store.
type snapshots mount

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	meta := raft.SnapshotMeta{
		Version: version, Index: index, Term: term, Configuration: configuration, ConfigurationIndex: configurationIndex,
		ID: fmt.Sprintf("%d-%d-%d", term, index, time.Now().UnixNano()),
	}
	return &sink{mount: (*mount)(s), meta: meta}, nil
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, one := range slices.Backward(s.snapshots) {
		meta := one.meta
		out = append(out, &meta)
	}
	return out, nil
}

// Open implements raft.SnapshotStore.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.snapshots {
		if one.meta.ID == id {
			meta := one.meta
			return &meta, io.NopCloser(bytes.NewReader(one.data)), nil
		}
	}
	return nil, nil, errors.New("there is no snapshot " + id)
}

// sink is a snapshot that is being written. A power cut leaves nothing of it before it is renamed to its name.
type sink struct {
	*mount
	meta raft.SnapshotMeta
	data bytes.Buffer
	done bool
}

// Write implements raft.SnapshotSink.
func (s *sink) Write(p []byte) (int, error) { return s.data.Write(p) }

// ID implements raft.SnapshotSink.
func (s *sink) ID() string { return s.meta.ID }

// Cancel implements raft.SnapshotSink.
func (s *sink) Cancel() error {
	s.done = true
	return nil
}

// Close implements raft.SnapshotSink.
func (s *sink) Close() error {
	if s.done {
		return nil
	}
	s.done = true
	s.meta.Size = int64(s.data.Len())
	one := &snapshot{meta: s.meta, data: s.data.Bytes()}
	wait, ok := s.place(one)
	if !ok {
		return nil
	}
	if bugs.On(bugs.SnapshotNotSynced) {
		s.fault(reap)
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.finish(one)
	case <-s.dead: // settle decides
	}
	return nil
}

// place gives the snapshot its name, and returns how long the disk takes to sync that.
func (s *sink) place(one *snapshot) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDead() {
		return 0, false
	}
	s.spring(writeSnapshot)
	at, _ := slices.BinarySearchFunc(s.snapshots, one, newer)
	s.snapshots = slices.Insert(s.snapshots, at, one)
	return 2 * s.syncTime(), true
}

func (s *sink) finish(one *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isDead() {
		one.synced = true
		reap(s.platter)
	}
}

// reap removes the old snapshots. The caller holds p.mu.
func reap(p *platter) {
	if old := len(p.snapshots) - snapshotsKept; old > 0 {
		p.snapshots = slices.Delete(p.snapshots, 0, old)
	}
}

// newer orders snapshots as the library's store does: by term, index and time.
func newer(a, b *snapshot) int {
	return cmp.Or(cmp.Compare(a.meta.Term, b.meta.Term), cmp.Compare(a.meta.Index, b.meta.Index), -1)
}
