package disk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/folder"
)

// snapshots adds what the library's store lacks: a checksum over what it says about a snapshot. It has one over the
// state alone, and a wrong index there would skip entries, a wrong member would make a majority of the wrong servers.
type snapshots struct {
	raft.SnapshotStore
	dir string
}

func openSnapshots(dir string, log hclog.Logger) (*snapshots, error) {
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, log)
	return &snapshots{store, filepath.Join(dir, "snapshots")}, err // the library's name for it
}

func (s *snapshots) meta(id string) string { return filepath.Join(s.dir, id, "meta.json") }
func (s *snapshots) sum(id string) string  { return filepath.Join(s.dir, id, "meta.sum") }

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	return &summedSink{sink, s}, nil
}

// summedSink writes the checksum once the snapshot is on the disk.
type summedSink struct {
	raft.SnapshotSink
	store *snapshots
}

// Close implements io.Closer.
func (s *summedSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	meta, err := os.ReadFile(s.store.meta(s.ID()))
	if err != nil {
		return err
	}
	return folder.WriteFile(s.store.sum(s.ID()), []byte(hex.EncodeToString(checksum(meta))+"\n"))
}

// List implements raft.SnapshotStore. It fails with ErrDamaged.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.SnapshotStore.List()
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		if err := s.check(one.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// check lets a snapshot pass that has no checksum: its writer was interrupted just before that, with all else synced.
func (s *snapshots) check(id string) error {
	sum, err := os.ReadFile(s.sum(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	meta, err := os.ReadFile(s.meta(id))
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if string(sum) != hex.EncodeToString(checksum(meta))+"\n" {
		return fmt.Errorf("%w: %s does not have its checksum", ErrDamaged, s.meta(id))
	}
	return nil
}
