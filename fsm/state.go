package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// state is one immutable version of everything.
type state struct {
	objects  *iradix.Tree[*Object] // by objectKey
	indexes  *iradix.Tree[*Object] // by indexKey
	revision uint64
	index    uint64 // raft index of the last applied entry
	size     int64  // the footprints of all objects
	outcomes outcomes
	sum      checksum
	staged   *staging // nil if there is none
}

func emptyState() *state {
	return &state{objects: iradix.New[*Object](), indexes: iradix.New[*Object]()}
}

// checksum is the xor of the hashes of all objects and outcomes, so that it can be kept up to date change by change.
type checksum [16]byte

func (c *checksum) toggleObject(o *Object) {
	c.toggle(binary.BigEndian.AppendUint64(nil, o.Revision), objectKey(o.Key), []byte{0}, o.Raw)
}

func (c *checksum) toggle(parts ...[]byte) {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	for i, b := range h.Sum(nil)[:len(c)] {
		c[i] ^= b
	}
}

// digest names the state: equal on two servers exactly if revision, all objects and all outcomes are equal.
func (s *state) digest() string {
	sum := s.sum
	if s.outcomes.forgotten > 0 {
		sum.toggle([]byte("forgotten\x00"), binary.BigEndian.AppendUint64(nil, s.outcomes.forgotten))
	}
	s.staged.cover(&sum)
	return fmt.Sprintf("%d-%s", s.revision, hex.EncodeToString(sum[:]))
}

func objectKey(k Key) []byte { return []byte(k.Resource + "\x00" + k.Namespace + "\x00" + k.Name) }

// indexKey finds an object by an index's value. scope is the resource, or empty for a shared index.
func indexKey(scope, index, value string, k Key) []byte {
	return append(indexPrefix(scope, index, value), objectKey(k)...)
}

// indexPrefix holds the value's length, because a value may contain any byte.
func indexPrefix(scope, index, value string) []byte {
	prefix := []byte(scope + "\x00" + index + "\x00")
	return append(binary.BigEndian.AppendUint32(prefix, uint32(len(value))), value...)
}

// txn builds the next state out of one.
type txn struct {
	schema   *Schema
	cache    *encodingCache
	objects  *iradix.Txn[*Object]
	indexes  *iradix.Txn[*Object]
	revision uint64
	index    uint64 // of the entry that is applied
	size     int64
	sum      checksum
	staged   *staging

	outcomes outcomes
	known    map[RequestID]Outcome // the store's; read only
	done     map[RequestID]Outcome // by this entry so far; nil if none
	recorded []Outcome             // the same, in order
}

func (s *state) txn(schema *Schema, cache *encodingCache, index uint64) *txn {
	return &txn{
		schema: schema, cache: cache, objects: s.objects.Txn(), indexes: s.indexes.Txn(), revision: s.revision, index: index,
		size: s.size, sum: s.sum, outcomes: s.outcomes, staged: s.staged,
	}
}

// commit returns the next state, and the outcomes that it no longer knows.
func (t *txn) commit() (next *state, forgotten []Outcome) {
	outcomes, forgotten := t.outcomes.add(t.recorded)
	for _, o := range t.recorded {
		t.sum.toggleOutcome(o)
	}
	for _, o := range forgotten {
		t.sum.toggleOutcome(o)
	}
	return &state{
		objects: t.objects.Commit(), indexes: t.indexes.Commit(), revision: t.revision, index: t.index, size: t.size,
		outcomes: outcomes, sum: t.sum, staged: t.staged,
	}, forgotten
}

// put stores o in place of old, which is nil for a new object.
func (t *txn) put(old, o *Object) {
	if old != nil {
		t.unindex(old)
		t.sum.toggleObject(old)
		t.size -= old.footprint()
	}
	t.objects.Insert(objectKey(o.Key), o)
	t.sum.toggleObject(o)
	t.size += o.footprint()
	t.eachIndex(o, func(key []byte) { t.indexes.Insert(key, o) })
}

func (t *txn) remove(old *Object) {
	t.unindex(old)
	t.sum.toggleObject(old)
	t.size -= old.footprint()
	t.objects.Delete(objectKey(old.Key))
}

func (t *txn) unindex(o *Object) {
	t.eachIndex(o, func(key []byte) { t.indexes.Delete(key) })
}

func (t *txn) eachIndex(o *Object, do func(key []byte)) {
	for name, values := range t.schema.resources[o.Resource].Indexes {
		for _, v := range values(o.Value) {
			do(indexKey(o.Resource, name, v, o.Key))
		}
	}
	for name, values := range t.schema.shared {
		for _, v := range values(o.Value) {
			do(indexKey("", name, v, o.Key))
		}
	}
}

// object decodes raw into the object that revision makes.
func (t *txn) object(k Key, raw []byte, revision uint64) (*Object, error) {
	r, ok := t.schema.resources[k.Resource]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownResource, k.Resource)
	}
	if k.Name == "" || strings.Contains(k.Namespace+k.Name, "\x00") { // \x00 separates the parts of keys
		return nil, fmt.Errorf("%w: %q", ErrBadName, k.Namespace+"/"+k.Name)
	}
	v, err := r.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrUndecodable, k, err)
	}
	v.SetResourceVersion(strconv.FormatUint(revision, 10))
	return &Object{Key: k, Revision: revision, Raw: raw, Value: v, encoded: encoded{cache: t.cache}}, nil
}
