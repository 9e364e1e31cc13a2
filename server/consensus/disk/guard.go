package disk

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// Guard watches the writes of a Storage. It is raft's log and stable store.
type Guard struct {
	raft.LogStore
	raft.StableStore
	watch Watch
}

// Watch tells what to do about writes that take too long, or fail.
type Watch struct {
	// Slow is how long a write may take before OnSlow is called, which must not block for long. It is called once for
	// each such write; nil does nothing.
	Slow   time.Duration
	OnSlow func()
	// Dead is how long a write may take before Fatal is called. A write that fails is fatal too.
	Dead  time.Duration
	Fatal func(error)
}

// NewGuard watches the writes of s.
func NewGuard(s Storage, w Watch) *Guard {
	return &Guard{LogStore: s.Log, StableStore: s.Stable, watch: w}
}

// lastChance is the part of Dead, at its end, that is timed for itself: a process that was stopped for long, with its timers,
// finds the first one over when it goes on, and its disk may have been well.
const lastChance = 10

// dead calls Fatal unless it is stopped in time.
func (w Watch) dead(what string) (stop func()) {
	done := make(chan struct{})
	timer := time.AfterFunc(w.Dead-w.Dead/lastChance, func() {
		select {
		case <-done:
		case <-time.After(w.Dead / lastChance):
			w.Fatal(fmt.Errorf("%s: the disk has not answered for %v", what, w.Dead))
		}
	})
	return func() {
		timer.Stop()
		close(done)
	}
}

func (g *Guard) write(what string, do func() error) error {
	if bugs.On(bugs.VoteNotPersisted) && strings.Contains(what, "LastVote") {
		return nil
	}
	defer g.watch.dead(what)()
	if g.watch.OnSlow != nil {
		defer time.AfterFunc(g.watch.Slow, g.watch.OnSlow).Stop()
	}
	err := do()
	if err != nil {
		g.watch.Fatal(fmt.Errorf("%s: %w", what, err))
	}
	return err
}

// StoreLog implements raft.LogStore.
func (g *Guard) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (g *Guard) StoreLogs(logs []*raft.Log) error {
	return g.write("append to the log", func() error { return g.LogStore.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (g *Guard) DeleteRange(from, to uint64) error {
	return g.write("cut the log", func() error { return g.LogStore.DeleteRange(from, to) })
}

// Set implements raft.StableStore.
func (g *Guard) Set(key, value []byte) error {
	return g.write("store "+string(key), func() error { return g.StableStore.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (g *Guard) SetUint64(key []byte, value uint64) error {
	return g.write("store "+string(key), func() error { return g.StableStore.SetUint64(key, value) })
}
