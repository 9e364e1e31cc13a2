package disk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/seal"
)

// sealedSnapshots are snapshots whose content is sealed, each for its own place. What raft keeps beside it, the index,
// the term and the servers' addresses, is readable, but cannot be changed.
type sealedSnapshots struct {
	store   raft.SnapshotStore
	keys    *seal.Holder
	cluster string

	mu      sync.Mutex
	keyOf   map[string]string    // key ID by the ID of a snapshot that is kept; guarded by mu
	sinks   map[*sealedSink]bool // those not finished; guarded by mu
	changes uint64               // how many sinks have been finished, and one; guarded by mu
	listed  uint64               // changes when keyOf was of all that are kept; guarded by mu
	missing error                // the first ErrMissingKey; guarded by mu
}

func newSealedSnapshots(store raft.SnapshotStore, keys *seal.Holder, cluster string) *sealedSnapshots {
	return &sealedSnapshots{store: store, keys: keys, cluster: cluster,
		keyOf: map[string]string{}, sinks: map[*sealedSink]bool{}, changes: 1}
}

// place is where a snapshot belongs. What is variable comes last, so two places never look the same.
func (s *sealedSnapshots) place(m *raft.SnapshotMeta) []byte {
	place := binary.BigEndian.AppendUint64([]byte("holt snapshot"), m.Index)
	place = binary.BigEndian.AppendUint64(place, m.Term)
	place = binary.BigEndian.AppendUint64(place, m.ConfigurationIndex)
	servers := sha256.Sum256(raft.EncodeConfiguration(m.Configuration))
	return append(append(place, servers[:]...), s.cluster...)
}

// Create implements raft.SnapshotStore.
func (s *sealedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, servers raft.Configuration,
	serversIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	to, err := s.store.Create(version, index, term, servers, serversIndex, trans)
	if err != nil {
		return nil, err
	}
	meta := &raft.SnapshotMeta{Index: index, Term: term, Configuration: servers, ConfigurationIndex: serversIndex}
	sink := &sealedSink{to: to, snapshots: s}
	ring := s.register(sink)
	if sink.stream, err = ring.NewWriter(to, s.place(meta)); err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return sink, nil
}

// register notes a sink with the ring that it is to use. A key that is not noted here is not used later.
func (s *sealedSnapshots) register(sink *sealedSink) seal.Ring {
	s.mu.Lock()
	defer s.mu.Unlock()
	ring := s.keys.Ring()
	sink.key = ring.Primary()
	s.sinks[sink] = true
	return ring
}

// List implements raft.SnapshotStore.
func (s *sealedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	metas, err := s.store.List()
	for i, m := range metas {
		metas[i] = plainMeta(m)
	}
	return metas, err
}

// plainMeta tells the size of what is sealed: the leader announces it to a follower. One of a damaged file stays wrong.
func plainMeta(m *raft.SnapshotMeta) *raft.SnapshotMeta {
	out := *m
	if size, err := seal.PlainSize(m.Size); err == nil {
		out.Size = size
	}
	return &out
}

// Open implements raft.SnapshotStore. It fails with ErrMissingKey or ErrDamaged, and so does the reader.
func (s *sealedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	for {
		ring := s.keys.Ring()
		meta, from, err := s.store.Open(id)
		if err != nil {
			return nil, nil, err
		}
		plain, err := ring.NewReader(from, s.place(meta))
		if err == nil {
			return plainMeta(meta), opened{plain, from}, nil
		}
		err = errors.Join(fmt.Errorf("snapshot %s: %w", id, asDamage(err)), from.Close())
		if !errors.Is(err, ErrMissingKey) {
			return nil, nil, err
		}
		if ring.Equal(s.keys.Ring()) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.missing = err
			return nil, nil, err
		}
	}
}

// opened is a snapshot that is read.
type opened struct {
	plain  io.Reader
	sealed io.Closer
}

func (o opened) Read(p []byte) (int, error) {
	n, err := o.plain.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = asDamage(err)
	}
	return n, err
}

func (o opened) Close() error { return o.sealed.Close() }

// reseal replaces the snapshots of other keys than the primary one: the newest is copied until they are too old to be
// kept. ErrMissingKey does not come from here: no key goes while it is needed.
func (s *sealedSnapshots) reseal(ctx context.Context, trans raft.Transport) error {
	for range snapshotsKept + 1 {
		metas, err := s.store.List()
		if err != nil || len(metas) == 0 {
			return err
		}
		stale, err := s.stale(metas)
		if err != nil || !stale {
			return err
		}
		if err := s.copy(ctx, metas[0].ID, trans); err != nil {
			return err
		}
	}
	return errAgain
}

// stale tells whether any of the snapshots is sealed with another key than the primary one.
func (s *sealedSnapshots) stale(metas []*raft.SnapshotMeta) (bool, error) {
	primary := s.keys.Ring().Primary()
	for _, m := range metas {
		if id, err := s.key(m.ID); err != nil || id != primary {
			return err == nil, err
		}
	}
	return false, nil
}

func (s *sealedSnapshots) copy(ctx context.Context, id string, trans raft.Transport) error {
	meta, from, err := s.Open(id)
	if err != nil {
		return err
	}
	defer from.Close()
	sink, err := s.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, trans)
	if err != nil {
		return err
	}
	if _, err := io.Copy(sink, until{ctx, from}); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// until is a reader that ends with its context.
type until struct {
	ctx  context.Context
	from io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.from.Read(p)
}

// needed returns the IDs of the keys of all snapshots, also of those that are being written.
func (s *sealedSnapshots) needed() ([]string, error) {
	ids, changes, all := s.known() // first: a snapshot that is finished in between is listed
	if all {
		return ids, nil
	}
	metas, err := s.store.List()
	if err != nil {
		return nil, err
	}
	kept := map[string]string{}
	for _, m := range metas {
		if kept[m.ID], err = s.key(m.ID); err != nil {
			return nil, err
		}
		ids = append(ids, kept[m.ID])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyOf, s.listed = kept, changes
	return ids, nil
}

// known returns the keys of all snapshots that are being written, and of those that are kept; all is false if they have
// changed since they were listed.
func (s *sealedSnapshots) known() (ids []string, changes uint64, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sink := range s.sinks {
		ids = append(ids, sink.key)
	}
	if s.listed == s.changes {
		ids = slices.AppendSeq(ids, maps.Values(s.keyOf))
	}
	return ids, s.changes, s.listed == s.changes
}

// key returns the ID of a snapshot's key. It is read once: the store reads the whole file to open it.
func (s *sealedSnapshots) key(snapshot string) (string, error) {
	s.mu.Lock()
	id, ok := s.keyOf[snapshot]
	s.mu.Unlock()
	if ok {
		return id, nil
	}
	_, from, err := s.store.Open(snapshot)
	if err != nil {
		return "", fmt.Errorf("snapshot %s: %w", snapshot, err)
	}
	defer from.Close()
	header := make([]byte, seal.HeaderSize)
	if _, err := io.ReadFull(from, header); err != nil {
		return "", fmt.Errorf("snapshot %s: %w", snapshot, err)
	}
	if id, err = seal.KeyID(header); err != nil {
		return "", fmt.Errorf("snapshot %s: %w", snapshot, asDamage(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyOf[snapshot] = id
	return id, nil
}

// sealedSink is one snapshot on its way to disk. Like the library's, it may be closed or cancelled again.
type sealedSink struct {
	to        raft.SnapshotSink
	stream    io.WriteCloser // nil until it has begun
	snapshots *sealedSnapshots
	key       string
	done      bool
}

// ID implements raft.SnapshotSink.
func (s *sealedSink) ID() string { return s.to.ID() }

// Write implements raft.SnapshotSink.
func (s *sealedSink) Write(p []byte) (int, error) { return s.stream.Write(p) }

// Close implements raft.SnapshotSink.
func (s *sealedSink) Close() error {
	if s.done {
		return nil
	}
	if err := s.stream.Close(); err != nil {
		return errors.Join(err, s.Cancel())
	}
	defer s.finish()
	return s.to.Close()
}

// Cancel implements raft.SnapshotSink.
func (s *sealedSink) Cancel() error {
	if s.done {
		return nil
	}
	defer s.finish()
	return s.to.Cancel()
}

func (s *sealedSink) finish() {
	s.done = true
	s.snapshots.mu.Lock()
	defer s.snapshots.mu.Unlock()
	delete(s.snapshots.sinks, s)
	s.snapshots.changes++
}
