package fsm

import (
	"sync"
	"sync/atomic"
)

// DefaultEncodingBytes bounds the cached encodings of a store that is not given another bound.
const DefaultEncodingBytes = 128 << 20

// encoded is the cached encoding of one object, if it has one.
type encoded struct {
	cache *encodingCache // nil: nothing is kept (an object that no store shows)
	kept  atomic.Pointer[encoding]
}

// encoding is bytes that many readers share.
type encoding struct {
	owner *encoded

	once sync.Once
	data []byte // set by once, as is err
	err  error

	used atomic.Bool // since the cache last looked
	slot int         // the place in the cache's ring; guarded by the cache's mu
}

// of returns what encode makes of v. Who finds it made takes no lock.
func (c *encoded) of(v Value, encode func(Value) ([]byte, error)) ([]byte, error) {
	if c.cache == nil {
		return encode(v)
	}
	e := c.kept.Load()
	if e == nil {
		c.kept.CompareAndSwap(nil, &encoding{owner: c})
		if e = c.kept.Load(); e == nil { // dropped at once
			return encode(v)
		}
	}
	e.once.Do(func() {
		e.data, e.err = encode(v)
		c.cache.add(e)
	})
	if !e.used.Load() { // many readers share the line: it is written only to change it
		e.used.Store(true)
	}
	return e.data, e.err
}

// encodingOverhead is what an encoding takes beyond its bytes.
const encodingOverhead = 128

func (e *encoding) size() int64 { return encodingOverhead + int64(cap(e.data)) }

// encodingCache bounds the bytes of all encodings together. It is a clock: the hand passes over what was used since it
// last came by, and drops the rest.
type encodingCache struct {
	max int64

	mu   sync.Mutex
	ring []*encoding // guarded by mu, as is the rest
	hand int
	size int64
}

// add counts a new encoding, unless it was forgotten already, and drops others until there is room for it.
func (c *encodingCache) add(e *encoding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.owner.kept.Load() != e {
		return
	}
	e.slot = len(c.ring)
	c.ring = append(c.ring, e)
	c.size += e.size()
	e.used.Store(true) // not to be the first that goes
	for c.size > c.max && len(c.ring) > 0 {
		c.hand %= len(c.ring)
		if old := c.ring[c.hand]; old.used.CompareAndSwap(true, false) {
			c.hand++
		} else {
			c.drop(old)
		}
	}
}

// drop takes e out of the ring and away from its object. The caller holds mu.
func (c *encodingCache) drop(e *encoding) {
	end := len(c.ring) - 1
	c.ring[e.slot], c.ring[end].slot = c.ring[end], e.slot
	c.ring[end] = nil
	c.ring = c.ring[:end]
	c.size -= e.size()
	e.owner.kept.Store(nil)
}

// forget drops the encoding of an object that the store no longer shows to anybody who comes now.
func (c *encodingCache) forget(o *Object) {
	e := o.encoded.kept.Load()
	if e == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.slot < len(c.ring) && c.ring[e.slot] == e {
		c.drop(e)
	} else {
		o.encoded.kept.CompareAndSwap(e, nil) // it is being made: add finds it gone
	}
}

// reset drops everything, when a snapshot takes the place of all objects.
func (c *encodingCache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.ring) > 0 {
		c.drop(c.ring[len(c.ring)-1])
	}
}
