package consensus

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus/disk"
)

// machine is the fsm.Store as raft sees it. Raft calls all of it from one goroutine.
type machine struct {
	store   *fsm.Store
	fatal   func(error)
	stop    <-chan struct{} // closed when the node closes
	digests *digests
	running atomic.Bool // false until the start has restored what is on disk
	failed  bool        // only if Fatal returned
}

// Apply implements raft.FSM. It returns []fsm.Result.
func (m *machine) Apply(l *raft.Log) any {
	if m.failed {
		return nil
	}
	if err := disk.Check(l); err != nil {
		return m.fail(fmt.Errorf("apply: %w", err))
	}
	results, err := m.store.Apply(l.Index, l.Data)
	if err != nil {
		return m.fail(fmt.Errorf("apply entry %d: %w", l.Index, err))
	}
	m.digests.add(m.store.View())
	return results
}

// fail ends the process. If Fatal returns, as in a test, nothing more is applied: a server that leaves an entry out
// has diverged.
func (m *machine) fail(err error) any {
	m.failed = true
	m.fatal(err)
	<-m.stop
	return nil
}

// StoreConfiguration implements raft.ConfigurationStore. The library keeps the configuration itself; it only counts
// such entries as applied, and so can take a snapshot right after one, if this method exists.
func (m *machine) StoreConfiguration(uint64, raft.Configuration) {}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.failed {
		return nil, errors.New("the state lacks an entry that could not be applied")
	}
	return snapshot{m.store.View()}, nil
}

// Restore implements raft.FSM. At the start the library tries an older snapshot after a failure. Later, it would get
// the same one from the leader again and again.
func (m *machine) Restore(from io.ReadCloser) error {
	defer from.Close()
	err := m.store.Restore(from)
	if err != nil && m.running.Load() {
		m.fail(fmt.Errorf("the leader's snapshot: %w", err))
	}
	if err == nil {
		m.digests.add(m.store.View())
	}
	return err
}

// snapshot is one view on its way to disk.
type snapshot struct{ view fsm.View }

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.view.WriteTo(sink); err != nil {
		_ = sink.Cancel() // the first error is the one to report
		return err
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s snapshot) Release() {}
