package disk

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

const (
	// lockWait is how long OpenFiles waits for a process that is about to end.
	lockWait = time.Second
	// snapshotsKept is how many snapshots stay on disk: the newest, and one in case that it cannot be read.
	snapshotsKept = 2
)

var (
	// ErrInUse says that another process holds the folder.
	ErrInUse = errors.New("the data folder is in use by another process")
	// ErrDamaged says that the folder cannot be read.
	ErrDamaged = errors.New("the data folder is damaged")
)

// Storage is the three stores that raft needs.
type Storage struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	// Close releases what the stores hold.
	Close func() error
}

// OpenFiles opens the storage in dir, which exists. It fails with ErrInUse or ErrDamaged.
func OpenFiles(dir string, log hclog.Logger) (_ Storage, err error) {
	defer RecoverDamage(&err) // bbolt panics on some damaged files
	bolt, err := openBolt(dir, filepath.Join(dir, "raft.db"))
	if err != nil {
		return Storage{}, err
	}
	snapshots, err := openSnapshots(dir, log)
	if err != nil {
		return Storage{}, errors.Join(err, bolt.Close())
	}
	return Storage{Log: bolt, Stable: bolt, Snapshots: snapshots, Close: bolt.Close}, nil
}

func openBolt(dir, path string) (*raftboltdb.BoltStore, error) {
	fresh, err := isNew(dir, path)
	if err == nil && !fresh {
		err = checkPages(path)
	}
	var bolt *raftboltdb.BoltStore
	if err == nil {
		bolt, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
			Timeout:        lockWait,
			NoFreelistSync: true, // else the file's whole free list is written on every commit
			FreelistType:   bbolt.FreelistMapType,
		}})
	}
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum),
		errors.Is(err, bbolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return bolt, nil
}

// RecoverDamage turns a panic over unreadable data into ErrDamaged. It is deferred.
func RecoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}
