package simulate

import (
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/server/consensus/disk"
)

// storage is consensus.Config.Storage.
func (m *mount) storage(string, hclog.Logger) (disk.Storage, error) {
	return disk.Storage{Log: (*database)(m), Stable: (*database)(m), Snapshots: (*snapshots)(m),
		Close: func() error { return nil }}, nil
}

// database is a mounted disk as raft's log and stable store.
type database mount

func (d *database) mount() *mount { return (*mount)(d) }

func read[T any](d *database, get func(*image) T) T {
	d.mu.Lock()
	defer d.mu.Unlock()
	return get(d.view)
}

// FirstIndex implements raft.LogStore.
func (d *database) FirstIndex() (uint64, error) { return read(d, (*image).first), nil }

// LastIndex implements raft.LogStore.
func (d *database) LastIndex() (uint64, error) { return read(d, (*image).last), nil }

// GetLog implements raft.LogStore.
func (d *database) GetLog(index uint64, to *raft.Log) error {
	l := read(d, func(i *image) *raft.Log { return i.get(index) })
	if l == nil {
		return raft.ErrLogNotFound
	}
	*to = *l
	return nil
}

// StoreLog implements raft.LogStore.
func (d *database) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (d *database) StoreLogs(logs []*raft.Log) error {
	own := make([]*raft.Log, len(logs))
	for i, l := range logs {
		one := *l
		own[i] = &one
	}
	if !d.mount().isDead() {
		d.stored(own, read(d, func(i *image) *raft.Log { return i.get(own[0].Index - 1) }))
	}
	return d.mount().write(writeEntries, func(i *image) { i.store(own) })
}

// DeleteRange implements raft.LogStore.
func (d *database) DeleteRange(from, to uint64) error {
	return d.mount().write(writeCut, func(i *image) { i.cut(from, to) })
}

// Set implements raft.StableStore.
func (d *database) Set(key, value []byte) error {
	value = slices.Clone(value)
	return d.mount().write(writeVote, func(i *image) { i.set(string(key), value) })
}

// Get implements raft.StableStore.
func (d *database) Get(key []byte) ([]byte, error) {
	value := read(d, func(i *image) []byte { return i.values[string(key)] })
	if value == nil {
		return nil, errNotFound
	}
	return value, nil
}

// SetUint64 implements raft.StableStore.
func (d *database) SetUint64(key []byte, value uint64) error {
	kind := writeVote
	if string(key) == "CurrentTerm" {
		kind = writeTerm
	}
	return d.mount().write(kind, func(i *image) { i.setNumber(string(key), value) })
}

// GetUint64 implements raft.StableStore.
func (d *database) GetUint64(key []byte) (uint64, error) {
	return read(d, func(i *image) uint64 { return i.numbers[string(key)] }), nil
}
