package simulate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/holt-project/holt/fsm"
)

// model is what the store has to be, written down as simply as possible: one entry after the other, nothing shared,
// nothing removed. Everything that servers show is compared with it.
type model struct {
	objects  map[fsm.Key]stored
	revision uint64
	sum      [16]byte
	digests  map[uint64]string         // by index of a command
	results  map[string]result         // by id of an op
	events   map[string][]event        // by resource, in order
	changes  map[fsm.Key][]keyRevision // in order
}

// stored is an object in the model.
type stored struct {
	revision uint64
	raw      []byte
}

// result is what an op did.
type result struct {
	index    uint64
	revision uint64 // of the object that the result has; zero if none
	err      error
}

// event is a change that watchers see.
type event struct {
	revision uint64
	kind     fsm.EventType
	key      fsm.Key
	id       string
}

// keyRevision is the revision of a key from an index on; zero after its deletion.
type keyRevision struct{ index, revision uint64 }

func newModel() *model {
	return &model{
		objects: map[fsm.Key]stored{}, digests: map[uint64]string{}, results: map[string]result{},
		events: map[string][]event{}, changes: map[fsm.Key][]keyRevision{},
	}
}

// apply carries out one command.
func (m *model) apply(index uint64, c fsm.Command) error {
	for _, op := range c.Ops {
		_, id := decode(op.Raw)
		if earlier, twice := m.results[id]; twice {
			return fmt.Errorf("op %s is in entry %d and again in entry %d", id, earlier.index, index)
		}
		r := m.op(index, op, id)
		r.index = index
		m.results[id] = r
	}
	m.digests[index] = fmt.Sprintf("%d-%x", m.revision, m.sum)
	return nil
}

func (m *model) op(index uint64, op fsm.Op, id string) result {
	key := op.Key()
	old, exists := m.objects[key]
	oldUID, _ := decode(old.raw)
	switch {
	case op.Verb == fsm.Create && exists:
		return result{revision: old.revision, err: fsm.ErrExists}
	case op.Verb != fsm.Create && !exists:
		return result{err: fsm.ErrNotFound}
	case exists && (op.IfRevision != 0 && op.IfRevision != old.revision || op.IfUID != "" && op.IfUID != oldUID):
		return result{revision: old.revision, err: fsm.ErrConflict}
	case op.Verb == fsm.Update && bytes.Equal(op.Raw, old.raw):
		return result{revision: old.revision}
	}
	m.revision++
	if exists {
		m.toggle(key, old)
	}
	kind, after := fsm.Deleted, uint64(0)
	if delete(m.objects, key); op.Verb != fsm.Delete {
		kind, after = fsm.Modified, m.revision
		if !exists {
			kind = fsm.Added
		}
		m.objects[key] = stored{m.revision, op.Raw}
		m.toggle(key, m.objects[key])
	}
	m.events[key.Resource] = append(m.events[key.Resource], event{m.revision, kind, key, id})
	m.changes[key] = append(m.changes[key], keyRevision{index, after})
	return result{revision: m.revision}
}

// toggle adds an object to the digest, or takes it out.
func (m *model) toggle(key fsm.Key, o stored) {
	text := binary.BigEndian.AppendUint64(nil, o.revision)
	text = append(text, key.Resource+"\x00"+key.Namespace+"\x00"+key.Name+"\x00"...)
	hash := sha256.Sum256(append(text, o.raw...))
	for i := range m.sum {
		m.sum[i] ^= hash[i]
	}
}

// at returns the revision of a key after the entry at index; zero if there is no object.
func (m *model) at(key fsm.Key, index uint64) uint64 {
	all := m.changes[key]
	after := sort.Search(len(all), func(i int) bool { return all[i].index > index })
	if after == 0 {
		return 0
	}
	return all[after-1].revision
}

// between returns the events of a resource after one revision and up to another.
func (m *model) between(resource string, from, to uint64) []event {
	all := m.events[resource]
	a := sort.Search(len(all), func(i int) bool { return all[i].revision > from })
	b := sort.Search(len(all), func(i int) bool { return all[i].revision > to })
	return all[a:max(a, b)]
}
