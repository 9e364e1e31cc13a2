package simulate

import (
	"cmp"
	"errors"
	"slices"

	"github.com/hashicorp/raft"
)

// image is what is in the database of a server at one moment: log and votes. Its zero value is an empty one.
type image struct {
	entries []*raft.Log // by index; none is ever changed
	values  map[string][]byte
	numbers map[string]uint64
}

// change is one transaction.
type change func(*image)

func (i *image) find(index uint64) (int, bool) {
	return slices.BinarySearchFunc(i.entries, index, func(l *raft.Log, index uint64) int {
		return cmp.Compare(l.Index, index)
	})
}

func (i *image) get(index uint64) *raft.Log {
	if at, ok := i.find(index); ok {
		return i.entries[at]
	}
	return nil
}

func (i *image) first() uint64 {
	if len(i.entries) == 0 {
		return 0
	}
	return i.entries[0].Index
}

func (i *image) last() uint64 {
	if len(i.entries) == 0 {
		return 0
	}
	return i.entries[len(i.entries)-1].Index
}

func (i *image) store(logs []*raft.Log) {
	for _, l := range logs {
		if at, ok := i.find(l.Index); ok {
			i.entries[at] = l
		} else {
			i.entries = slices.Insert(i.entries, at, l)
		}
	}
}

func (i *image) cut(from, to uint64) {
	a, _ := i.find(from)
	b, _ := i.find(to + 1)
	i.entries = slices.Delete(i.entries, a, max(a, b))
}

func (i *image) set(key string, value []byte) {
	if i.values == nil {
		i.values = map[string][]byte{}
	}
	i.values[key] = value
}

func (i *image) setNumber(key string, value uint64) {
	if i.numbers == nil {
		i.numbers = map[string]uint64{}
	}
	i.numbers[key] = value
}

func (i *image) clone() *image {
	c := &image{entries: slices.Clone(i.entries)}
	for k, v := range i.values {
		c.set(k, v)
	}
	for k, v := range i.numbers {
		c.setNumber(k, v)
	}
	return c
}

// errNotFound is what the library compares with by its text.
var errNotFound = errors.New("not found")
