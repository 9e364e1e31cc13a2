package disk

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Guard watches the writes of a Storage. It is raft's log and stable store.
type Guard struct {
	raft.LogStore
	raft.StableStore
	limit time.Duration
	fatal func(error)
}

// NewGuard calls fatal when a write of s fails or takes longer than limit.
func NewGuard(s Storage, limit time.Duration, fatal func(error)) *Guard {
	return &Guard{LogStore: s.Log, StableStore: s.Stable, limit: limit, fatal: fatal}
}

func (g *Guard) write(what string, do func() error) error {
	watchdog := time.AfterFunc(g.limit, func() {
		g.fatal(fmt.Errorf("%s: the disk has not answered for %v", what, g.limit))
	})
	defer watchdog.Stop()
	err := do()
	if err != nil {
		g.fatal(fmt.Errorf("%s: %w", what, err))
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
