package fsm

import (
	"encoding/binary"
	"errors"
	"slices"
	"sort"
)

// MaxOutcomes is how many requests a store remembers. It is a constant because all servers must forget the same ones.
const MaxOutcomes = 16384

// RequestID names one request of a client, however often it is sent from server to server. It is random.
type RequestID [16]byte

// requestIDHead is the CBOR head of a byte string of 16 bytes.
const requestIDHead = 0x50

// UnmarshalCBOR takes exactly 16 bytes: the library would fill up or cut off others.
func (id *RequestID) UnmarshalCBOR(data []byte) error {
	if len(data) != 1+len(id) || data[0] != requestIDHead {
		return errors.New("a request ID is a string of 16 bytes")
	}
	copy(id[:], data[1:])
	return nil
}

// Request is what an op tells about the request that it carries out.
type Request struct {
	ID RequestID `cbor:"1,keyasint"`
	// Since is a position in the log, from before the request was first proposed. An op whose request may be one of
	// those that were forgotten since fails with ErrForgotten.
	Since uint64 `cbor:"2,keyasint,omitempty"`
}

// Outcome is what a request that was applied has done.
type Outcome struct {
	ID   RequestID
	Verb Verb
	// Key and Revision are those of the object after the change. Void has none.
	Key
	Revision uint64
	// Index is the position in the log of the entry that carried the op.
	Index uint64
}

// outcomes are those of the last requests, as one immutable version of the state knows them.
type outcomes struct {
	recent    []Outcome // in order of Index; append-only storage that versions share
	forgotten uint64    // Index of the newest that is no longer in recent
}

// add returns the version with more after the present ones, and those that had to go for them.
func (o outcomes) add(more []Outcome) (next outcomes, gone []Outcome) {
	next = o
	next.recent = append(next.recent, more...)
	if n := len(next.recent) - MaxOutcomes; n > 0 {
		gone = next.recent[:n]
		next.forgotten, next.recent = gone[n-1].Index, next.recent[n:]
	}
	return next, gone
}

func (c *checksum) toggleOutcome(o Outcome) {
	numbers := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, o.Revision), o.Index)
	c.toggle([]byte("outcome\x00"), o.ID[:], []byte{byte(o.Verb)}, numbers, objectKey(o.Key))
}

// earlier reports whether the op's request is decided already, and what its result is.
func (t *txn) earlier(op Op) (Result, bool) {
	id := op.Request.ID
	if id == (RequestID{}) {
		return Result{}, false
	}
	was, ok := t.done[id]
	if !ok {
		was, ok = t.known[id]
	}
	switch {
	case ok && was.Verb != Void:
		return Result{Earlier: &was}, true
	case ok && op.Verb != Void:
		return Result{Err: ErrVoid}, true
	case ok:
		return Result{}, true
	case op.Request.Since < t.outcomes.forgotten:
		return Result{Err: ErrForgotten}, true
	}
	return Result{}, false
}

// record remembers what the op has done. A failed op is not remembered: it has changed nothing, so that to carry its
// request out again is to carry it out.
func (t *txn) record(op Op, r Result) {
	if op.Request.ID == (RequestID{}) || r.Err != nil {
		return
	}
	o := Outcome{ID: op.Request.ID, Verb: op.Verb, Index: t.index}
	if r.Object != nil {
		o.Key, o.Revision = r.Object.Key, r.Object.Revision
	}
	if t.done == nil {
		t.done = map[RequestID]Outcome{}
	}
	t.remember(o)
}

func (t *txn) remember(o Outcome) {
	t.done[o.ID] = o
	t.recorded = append(t.recorded, o)
}

// Outcome tells what a request has done, if it was applied and is remembered. It looks at all that are, so it is for
// the rare request that comes again; the Result of an op with its ID shows the object, too.
func (v View) Outcome(id RequestID) (Outcome, bool) {
	for _, o := range slices.Backward(v.s.outcomes.recent) {
		if o.ID == id {
			return o, o.Verb != Void
		}
	}
	return Outcome{}, false
}

// recall returns the object that an outcome speaks of, or nil if it is known no longer.
func (s *Store) recall(o Outcome) *Object {
	if now, ok := s.View().Get(o.Key); ok && now.Revision == o.Revision {
		return now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.log(o.Resource).events
	i := sort.Search(len(events), func(i int) bool { return events[i].Object.Revision >= o.Revision })
	if i < len(events) && events[i].Object.Revision == o.Revision {
		return events[i].Object
	}
	return nil
}
