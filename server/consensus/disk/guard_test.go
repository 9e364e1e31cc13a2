package disk_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/server/consensus/disk"
)

// hungStore is a disk that does not answer before release is closed.
type hungStore struct {
	*raft.InmemStore
	release chan struct{}
	err     error
}

func (h *hungStore) StoreLogs([]*raft.Log) error { <-h.release; return h.err }
func (h *hungStore) Set(_, _ []byte) error       { return h.err }

func guarded(h *hungStore, limit time.Duration, fatal func(error)) *disk.Guard {
	return disk.NewGuard(disk.Storage{Log: h, Stable: h}, disk.Watch{Dead: limit, Fatal: fatal})
}

func TestHungDiskEndsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, fatal := make(chan struct{}), make(chan error, 1)
		g := guarded(&hungStore{release: release}, time.Second, func(err error) { fatal <- err })
		go func() { <-fatal; close(release) }()
		if err := g.StoreLogs(nil); err != nil { // would never return if nothing were fatal
			t.Error(err)
		}
	})
}

func TestFailedWriteEndsTheProcess(t *testing.T) {
	full := errors.New("no space left on device")
	release := make(chan struct{})
	close(release)
	var fatal []error
	g := guarded(&hungStore{release: release, err: full}, time.Minute, func(err error) { fatal = append(fatal, err) })
	if err := g.StoreLogs(nil); !errors.Is(err, full) {
		t.Errorf("append: %v", err)
	}
	if err := g.Set([]byte("CurrentTerm"), nil); !errors.Is(err, full) {
		t.Errorf("set: %v", err)
	}
	if len(fatal) != 2 || !errors.Is(fatal[0], full) {
		t.Errorf("fatal errors: %v", fatal)
	}
}

// TestAWriteThatEndsAtLastIsNotFatal ends a write when nine tenths of its time are over: a process that was stopped
// meanwhile finds its timer over, and must see whether the disk answers.
func TestAWriteThatEndsAtLastIsNotFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := guarded(&hungStore{release: release}, 10*time.Second, func(err error) { t.Error(err) })
		time.AfterFunc(9500*time.Millisecond, func() { close(release) })
		if err := g.StoreLogs(nil); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}
