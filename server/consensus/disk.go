package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/holt-project/holt/fsm"
)

// lockWait is how long Open waits for a process that is about to end.
const lockWait = time.Second

// store is what the library needs on disk; raftboltdb.BoltStore does it.
type store interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// disk is raft's log and stable store. A write that fails, or does not end, ends the process: nobody knows what is
// on the disk afterwards, and a leader that cannot write must not stay leader.
type disk struct {
	store
	limit time.Duration
	fatal func(error)
}

// openDisk opens the store in dir, and fails with ErrInUse or ErrDamaged.
func openDisk(dir string, limit time.Duration, fatal func(error)) (_ *disk, err error) {
	defer recoverDamage(&err) // bbolt panics on some damaged files
	path := filepath.Join(dir, "raft.db")
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		Timeout:        lockWait,
		NoFreelistSync: true, // else the file's whole free list is written on every commit
		FreelistType:   bbolt.FreelistMapType,
	}})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum),
		errors.Is(err, bbolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &disk{store: bolt, limit: limit, fatal: fatal}, nil
}

// recoverDamage turns a panic over unreadable data into ErrDamaged.
func recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}

func (d *disk) write(what string, do func() error) error {
	watchdog := time.AfterFunc(d.limit, func() {
		d.fatal(fmt.Errorf("%s: the disk has not answered for %v", what, d.limit))
	})
	defer watchdog.Stop()
	err := do()
	if err != nil {
		d.fatal(fmt.Errorf("%s: %w", what, err))
	}
	return err
}

// StoreLog implements raft.LogStore.
func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (d *disk) StoreLogs(logs []*raft.Log) error {
	return d.write("append to the log", func() error { return d.store.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (d *disk) DeleteRange(from, to uint64) error {
	return d.write("cut the log", func() error { return d.store.DeleteRange(from, to) })
}

// Set implements raft.StableStore.
func (d *disk) Set(key, value []byte) error {
	return d.write("store "+string(key), func() error { return d.store.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (d *disk) SetUint64(key []byte, value uint64) error {
	return d.write("store "+string(key), func() error { return d.store.SetUint64(key, value) })
}

// verify reads the whole log: every entry must be there, in order, and what its leader made.
func (d *disk) verify() (err error) {
	defer recoverDamage(&err)
	first, err := d.FirstIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	last, err := d.LastIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	var term uint64
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := d.GetLog(i, &l); err != nil {
			return fmt.Errorf("%w: entry %d: %v", ErrDamaged, i, err)
		}
		if l.Index != i || l.Term < term {
			return fmt.Errorf("%w: entry %d says that it is %d of term %d", ErrDamaged, i, l.Index, l.Term)
		}
		term = l.Term
		if err := check(&l); err != nil {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum goes with every command's entry from the leader on, because bbolt has none over its data.
func checksum(data []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
}

// check tells whether an entry is what its leader made.
func check(l *raft.Log) error {
	if l.Type != raft.LogCommand {
		return nil
	}
	if string(l.Extensions) != string(checksum(l.Data)) {
		return fmt.Errorf("entry %d does not have its checksum", l.Index)
	}
	if _, err := fsm.DecodeCommand(l.Data); err != nil {
		return fmt.Errorf("entry %d: %w", l.Index, err)
	}
	return nil
}
