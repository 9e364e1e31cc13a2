package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/holt-project/holt/fsm"
)

// asked is op as part of a request.
func asked(request uint64, op fsm.Op) fsm.Op {
	op.Request.ID = requestID(request)
	return op
}

func since(index uint64, op fsm.Op) fsm.Op { op.Request.Since = index; return op }

func void(request uint64) fsm.Op { return asked(request, fsm.Op{Verb: fsm.Void}) }

func requestID(n uint64) (id fsm.RequestID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func restore(t testing.TB, from *fsm.Store) *fsm.Store {
	t.Helper()
	s := newStore()
	if err := s.Restore(bytes.NewReader(snapshot(t, from))); err != nil {
		t.Fatal(err)
	}
	return s
}

// Each verb is applied once, however often it comes: in the same entry, in a later one, and after a restore.
func TestARequestIsAppliedOnce(t *testing.T) {
	for name, op := range map[string]fsm.Op{
		"create": create(cm("ns", "new", "2")), "update": update(cm("ns", "a", "2")), "delete": remove(cm("ns", "a", "")),
		"update to the same": update(cm("ns", "a", "1")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore()
			apply(t, s, create(cm("ns", "a", "1")))
			got := apply(t, s, asked(1, op), asked(1, op))
			first := got[0]
			if first.Err != nil || first.Earlier != nil || first.Object == nil {
				t.Fatalf("%+v", first)
			}
			again := func(r fsm.Result) {
				t.Helper()
				if r.Err != nil || r.Earlier == nil || r.Earlier.Verb != op.Verb || r.Earlier.Key != op.Key() ||
					r.Earlier.Revision != first.Object.Revision || r.Earlier.Index != 2 {
					t.Errorf("%+v of %+v", r.Earlier, r)
				}
			}
			again(got[1])
			if got[1].Object != first.Object {
				t.Error("not the object of the first time")
			}
			// Others change the object meanwhile. Its old revision is still in the log of events.
			apply(t, s, update(cm("ns", "a", "3")), update(cm("ns", "new", "3")))
			restored := restore(t, s)
			revision := s.View().Revision()
			for _, s := range []*fsm.Store{s, restored} {
				again(apply(t, s, asked(1, op))[0])
				if s.View().Revision() != revision {
					t.Error("it was applied again")
				}
				if o, ok := s.View().Outcome(requestID(1)); !ok || o.Revision != first.Object.Revision {
					t.Errorf("the outcome is not known: %+v", o)
				}
			}
			if r := apply(t, s, void(1))[0]; r.Object != first.Object {
				t.Errorf("not the object of the first time: %v", r.Object)
			}
			if s.View().Digest() != restored.View().Digest() {
				t.Error("they diverge after the restore")
			}
		})
	}
}

// What failed has changed nothing, and is tried again when it comes again.
func TestAFailedRequestIsNotRemembered(t *testing.T) {
	s := newStore()
	op := asked(1, update(cm("ns", "a", "2")))
	if r := apply(t, s, op)[0]; !errors.Is(r.Err, fsm.ErrNotFound) {
		t.Fatal(r.Err)
	}
	if _, ok := s.View().Outcome(requestID(1)); ok {
		t.Error("a failure is remembered")
	}
	apply(t, s, create(cm("ns", "a", "1")))
	if r := apply(t, s, op)[0]; r.Err != nil || r.Earlier != nil {
		t.Errorf("%+v", r)
	}
}

func TestVoidEndsARequest(t *testing.T) {
	s := newStore()
	apply(t, s, void(1), asked(2, create(cm("ns", "b", "1"))))
	digest := s.View().Digest()
	for _, s := range []*fsm.Store{s, restore(t, s)} {
		got := apply(t, s, asked(1, create(cm("ns", "a", "1"))), void(1), void(2), fsm.Op{Verb: fsm.Void})
		if !errors.Is(got[0].Err, fsm.ErrVoid) || got[1].Err != nil || got[1].Earlier != nil {
			t.Errorf("%+v", got)
		}
		if got[2].Earlier == nil || got[2].Earlier.Name != "b" {
			t.Errorf("what was applied cannot be given up: %+v", got[2])
		}
		if !errors.Is(got[3].Err, fsm.ErrUndecodable) {
			t.Errorf("nothing to give up: %+v", got[3])
		}
		if _, ok := s.View().Outcome(requestID(1)); ok || s.View().Len() != 1 || s.View().Digest() != digest {
			t.Error("a request that was given up has an outcome")
		}
	}
}

func TestOutcomesAreBounded(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("ns", "a", "")))
	const batch = 512
	for i := 0; i <= fsm.MaxOutcomes; i += batch { // one batch more than there is room for
		var ops []fsm.Op
		for j := range batch {
			ops = append(ops, asked(uint64(i+j+1), update(cm("ns", "a", fmt.Sprint(i+j)))))
		}
		apply(t, s, ops...)
	}
	for _, s := range []*fsm.Store{s, restore(t, s)} {
		if _, ok := s.View().Outcome(requestID(1)); ok {
			t.Error("the oldest is remembered")
		}
		if _, ok := s.View().Outcome(requestID(batch + 1)); !ok {
			t.Error("one that fits is forgotten")
		}
		again := asked(1, create(cm("ns", "b", "")))
		if r := apply(t, s, since(1, again))[0]; !errors.Is(r.Err, fsm.ErrForgotten) {
			t.Errorf("a request that may have been applied: %+v", r)
		}
		if r := apply(t, s, since(2, again))[0]; r.Err != nil || r.Earlier != nil {
			t.Errorf("a request that cannot have been: %+v", r)
		}
	}
}

func TestCommandsWithoutRequestsAreRead(t *testing.T) {
	old := func(ops ...fsm.Op) []byte {
		data, err := fsm.Command{Ops: ops}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{1}, data[1:]...)
	}
	s := newStore()
	if r, err := s.Apply(1, old(create(cm("ns", "a", "1")))); err != nil || r[0].Err != nil {
		t.Error(r, err)
	}
	if _, err := s.Apply(2, old(void(1))); err == nil {
		t.Error("a request in a version that has none")
	}
	short := old(asked(0xffff, create(cm("ns", "b", "1"))))
	short[0] = 2
	i := bytes.Index(short, []byte{0x50, 0, 0, 0, 0})
	if _, err := s.Apply(2, slices.Concat(short[:i], []byte{0x4f}, short[i+2:])); err == nil {
		t.Error("an ID of 15 bytes")
	}
}

// TestRepeatsChangeNothing: a store to which every op comes several times, some much later, is the same as one to which
// each comes once; and so is one that was restored half way.
func TestRepeatsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(genOp), 1, 30).Draw(rt, "ops")
		once, often := newStore(), newStore()
		var sent []fsm.Op
		for i, op := range ops {
			op = asked(uint64(i+1), op)
			failed := apply(t, once, op)[0].Err != nil
			if failed {
				apply(t, once, void(uint64(i+1))) // as the API does before it says so to a client
			}
			apply(t, often, op)
			if failed {
				apply(t, often, void(uint64(i+1)))
			}
			sent = append(sent, op)
			for range rapid.IntRange(0, 3).Draw(rt, "repeats") {
				apply(t, often, rapid.SampledFrom(sent).Draw(rt, "again"))
			}
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				often = restore(t, often)
			}
		}
		if diff := slices.Compare(contents(once), contents(often)); diff != 0 || once.View().Revision() != often.View().Revision() {
			rt.Fatalf("%v at %d\n%v at %d", contents(once), once.View().Revision(), contents(often), often.View().Revision())
		}
	})
}

func contents(s *fsm.Store) []string {
	var out []string
	for o := range s.View().All() {
		out = append(out, fmt.Sprintf("%s %d %x", o.Key, o.Revision, o.Raw))
	}
	return out
}
