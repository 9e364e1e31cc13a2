package fsm

import (
	"bytes"
	"maps"
	"slices"

	"github.com/holt-project/holt/internal/bugs"
)

// Apply carries out the command in data, which stands at index in the log, and returns one Result for each op, or for
// what else the command is.
// An error means that the entry cannot be read: the log is corrupt, and the process must end.
func (s *Store) Apply(index uint64, data []byte) ([]Result, error) {
	if restores(data) {
		return s.applyRestore(index, data)
	}
	c, err := DecodeCommand(data)
	if err != nil {
		return nil, err
	}
	if bugs.On(bugs.MapOrder) {
		c.Ops = shuffled(c.Ops)
	}
	t := s.state.Load().txn(s.schema, s.cache, index)
	t.known = s.known
	results := make([]Result, len(c.Ops))
	var events []Event
	for i, op := range c.Ops {
		var ev *Event
		results[i], ev = t.apply(op)
		if ev != nil {
			events = append(events, *ev)
		}
	}
	if n := len(events); n > 1 && bugs.On(bugs.LostEvent) {
		events = events[:n-1]
	} else if n > 1 && bugs.On(bugs.DuplicateEvent) {
		events = append(events, events[n-1])
	}
	next, forgotten := t.commit()
	s.publish(next, events, t.recorded, forgotten)
	for i, r := range results {
		if r.Earlier != nil {
			results[i].Object = s.recall(*r.Earlier)
		}
	}
	return results, nil
}

// apply carries out one op, unless its request is decided already. The event is nil if nothing changed.
func (t *txn) apply(op Op) (Result, *Event) {
	if r, decided := t.earlier(op); decided {
		return r, nil
	}
	r, ev := t.change(op)
	t.record(op, r)
	return r, ev
}

func (t *txn) change(op Op) (Result, *Event) {
	old, exists := t.objects.Get(objectKey(op.Key()))
	if r, failed := precondition(op, old, exists); failed {
		return r, nil
	}
	switch op.Verb {
	case Create, Update:
		if exists && bytes.Equal(old.Raw, op.Raw) {
			return Result{Object: old}, nil // like Kubernetes: an update that changes nothing is no change
		}
		o, err := t.object(op.Key(), op.Raw, t.revision+1)
		if err != nil {
			return Result{Err: err}, nil
		}
		if grown := o.footprint() - old.footprint(); grown > 0 && !t.schema.fits(t.size+grown, o) {
			return Result{Err: ErrFull}, nil
		}
		if bugs.On(bugs.DoubleApply) && op.Verb == Update && op.IfRevision == 0 {
			t.revision++
		}
		t.revision++
		t.put(old, o)
		return Result{Object: o}, changed(old, o)
	case Delete:
		return t.delete(op, old)
	default:
		return Result{}, nil // Void: that it is recorded is all
	}
}

func (t *txn) delete(op Op, old *Object) (Result, *Event) {
	raw := old.Raw
	if len(op.Raw) > 0 {
		raw = op.Raw
	}
	last, err := t.object(op.Key(), raw, t.revision+1)
	if err != nil {
		return Result{Err: err}, nil
	}
	t.revision++
	t.remove(old)
	return Result{Object: last}, &Event{Type: Deleted, Object: last, Prev: old}
}

func changed(old, o *Object) *Event {
	if old == nil {
		return &Event{Type: Added, Object: o}
	}
	return &Event{Type: Modified, Object: o, Prev: old}
}

// precondition reports whether the op cannot be carried out on what is there.
func precondition(op Op, old *Object, exists bool) (Result, bool) {
	switch {
	case op.Verb == Void && op.Request.ID != (RequestID{}):
		return Result{}, false
	case op.Verb < Create || op.Verb > Delete:
		return Result{Err: ErrUndecodable}, true
	case op.Verb == Create && exists:
		return Result{Object: old, Err: ErrExists}, true
	case op.Verb == Create:
		return Result{}, false
	case !exists:
		return Result{Err: ErrNotFound}, true
	case op.IfUID != "" && op.IfUID != string(old.Value.GetUID()),
		op.IfRevision != 0 && op.IfRevision != old.Revision && !bugs.On(bugs.SkippedPrecondition):
		return Result{Object: old, Err: ErrConflict}, true
	}
	return Result{}, false
}

// shuffled returns ops in the order of a map, which is bugs.MapOrder.
func shuffled(ops []Op) []Op {
	set := map[int]Op{}
	for i, op := range ops {
		set[i] = op
	}
	return slices.Collect(maps.Values(set))
}
