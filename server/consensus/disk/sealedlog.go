package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/seal"
)

// sealedLog is a log whose entries are sealed, each for its own place: data and checksum, of every type.
type sealedLog struct {
	raft.LogStore // of sealed entries
	keys          *seal.Holder
	cluster       string

	// writes is held over every write, so that what is sealed anew is never an entry that raft has replaced by another.
	// Under it, entries are sealed with the ring that is present.
	writes sync.Mutex
	used   usage
}

func newSealedLog(log raft.LogStore, keys *seal.Holder, cluster string) *sealedLog {
	return &sealedLog{LogStore: log, keys: keys, cluster: cluster, used: usage{last: map[string]uint64{}}}
}

// GetLog implements raft.LogStore. It fails with ErrMissingKey or ErrDamaged.
func (s *sealedLog) GetLog(index uint64, l *raft.Log) error {
	for {
		ring := s.keys.Ring()
		var sealed raft.Log
		if err := s.LogStore.GetLog(index, &sealed); err != nil {
			return err
		}
		err := s.open(ring, &sealed, l)
		if errors.Is(err, ErrMissingKey) && !ring.Equal(s.keys.Ring()) {
			continue // it was sealed anew in between
		}
		return err
	}
}

// StoreLog implements raft.LogStore.
func (s *sealedLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *sealedLog) StoreLogs(logs []*raft.Log) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	return s.store(s.keys.Ring(), logs)
}

// store seals and writes entries. The caller holds writes.
func (s *sealedLog) store(ring seal.Ring, logs []*raft.Log) error {
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		var err error
		if sealed[i], err = s.seal(ring, l); err != nil {
			return err
		}
		s.used.note(ring.Primary(), l.Index)
	}
	return s.LogStore.StoreLogs(sealed)
}

// DeleteRange implements raft.LogStore.
func (s *sealedLog) DeleteRange(from, to uint64) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if err := s.LogStore.DeleteRange(from, to); err != nil {
		return err
	}
	first, last, err := s.bounds()
	if err == nil {
		s.used.cut(first, last)
	}
	return err
}

// bounds returns the first and the last index; last is less than first if the log is empty.
func (s *sealedLog) bounds() (first, last uint64, err error) {
	if first, err = s.FirstIndex(); err != nil {
		return 0, 0, err
	}
	if last, err = s.LastIndex(); err != nil {
		return 0, 0, err
	}
	return max(first, 1), last, nil
}

// place is where an entry belongs. What is variable comes last, so two places never look the same.
func (s *sealedLog) place(l *raft.Log) []byte {
	place := append([]byte("holt log entry"), byte(l.Type))
	place = binary.BigEndian.AppendUint64(place, l.Index)
	place = binary.BigEndian.AppendUint64(place, l.Term)
	return append(place, s.cluster...)
}

// seal leaves l as it is: raft goes on to use it.
func (s *sealedLog) seal(ring seal.Ring, l *raft.Log) (*raft.Log, error) {
	plain := make([]byte, 0, binary.MaxVarintLen32+len(l.Extensions)+len(l.Data))
	plain = binary.AppendUvarint(plain, uint64(len(l.Extensions)))
	plain = append(append(plain, l.Extensions...), l.Data...)
	data, err := ring.Seal(plain, s.place(l))
	if err != nil {
		return nil, fmt.Errorf("seal entry %d: %w", l.Index, err)
	}
	out := *l
	out.Data, out.Extensions = data, nil
	return &out, nil
}

// open is the reverse of seal.
func (s *sealedLog) open(ring seal.Ring, sealed, l *raft.Log) error {
	plain, err := ring.Open(sealed.Data, s.place(sealed))
	if err != nil {
		return fmt.Errorf("entry %d: %w", sealed.Index, asDamage(err))
	}
	size, n := binary.Uvarint(plain)
	if n <= 0 || size > uint64(len(plain)-n) {
		return fmt.Errorf("entry %d: %w: its parts cannot be told apart", sealed.Index, ErrDamaged)
	}
	*l = *sealed
	l.Extensions, l.Data = plain[n:n+int(size):n+int(size)], plain[n+int(size):]
	if id, err := seal.KeyID(sealed.Data); err == nil && id != ring.Primary() {
		s.used.note(id, l.Index)
	}
	return nil
}

const (
	// resealEntries and resealBytes bound what is sealed anew at once, while raft waits to write.
	resealEntries = 64
	resealBytes   = 256 << 10
)

// reseal seals every entry with the primary key that is not. A crash in between leaves entries of both keys. After each
// batch it pauses for as long as that took, so that raft's writes come first.
func (s *sealedLog) reseal(ctx context.Context) error {
	primary, next := s.keys.Ring().Primary(), uint64(0)
	for {
		begun := time.Now()
		after, err := s.resealBatch(primary, next)
		if err != nil || after == 0 {
			return err
		}
		next = after
		select {
		case <-time.After(time.Since(begun)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// resealBatch goes on at an index and returns the next one; 0 at the end. It begins anew if the primary key has changed.
func (s *sealedLog) resealBatch(primary string, from uint64) (uint64, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	ring := s.keys.Ring()
	if ring.Primary() != primary {
		return 0, errAgain
	}
	first, last, err := s.bounds()
	if err != nil {
		return 0, err
	}
	var batch []*raft.Log
	from = max(from, first)
	for size := 0; from <= last && len(batch) < resealEntries && size < resealBytes; from++ {
		var sealed, l raft.Log
		if err := s.LogStore.GetLog(from, &sealed); err != nil {
			return 0, err
		}
		if id, err := seal.KeyID(sealed.Data); err == nil && id == primary {
			continue
		}
		if err := s.open(ring, &sealed, &l); err != nil {
			return 0, err
		}
		batch, size = append(batch, &l), size+len(l.Data)
	}
	if len(batch) > 0 {
		if err := s.store(ring, batch); err != nil {
			return 0, err
		}
	}
	if from <= last {
		return from, nil
	}
	s.used.only(primary) // nothing has been written with another since this began
	return 0, nil
}

// errAgain says that a reseal has to begin anew: the primary key has changed, or raft was quicker.
var errAgain = errors.New("the keys or the snapshots have changed meanwhile")

// usage tells up to where in the log each key is used: never too low. It knows what Verify has read, and all writes.
type usage struct {
	mu   sync.Mutex
	last map[string]uint64 // by key ID; guarded by mu
}

func (u *usage) note(id string, index uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[id] = max(u.last[id], index)
}

// cut says that only the entries from first to last are left.
func (u *usage) cut(first, last uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, index := range u.last {
		if u.last[id] = min(index, last); u.last[id] < first {
			delete(u.last, id)
		}
	}
}

func (u *usage) only(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for other := range u.last {
		if other != id {
			delete(u.last, other)
		}
	}
}

func (u *usage) ids() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := make([]string, 0, len(u.last))
	for id := range u.last {
		ids = append(ids, id)
	}
	return ids
}
