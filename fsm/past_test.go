package fsm_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/fsm"
)

// history is what an outside observer remembers of every revision of one resource.
type history struct {
	s        *fsm.Store
	resource string
	states   []map[string]uint64 // "namespace/name" to revision, by the store's revision
	changes  []int               // how many of the resource there were up to the store's revision
}

func newHistory(s *fsm.Store, resource string) *history {
	return &history{s: s, resource: resource, states: []map[string]uint64{{}}, changes: []int{0}}
}

// note adds the revisions that ops with these results have made.
func (h *history) note(ops []fsm.Op, results []fsm.Result) {
	for i, res := range results {
		if res.Err != nil || res.Object.Revision < uint64(len(h.states)) {
			continue // refused, or nothing changed
		}
		next, n := maps.Clone(h.states[len(h.states)-1]), h.changes[len(h.changes)-1]
		if key := ops[i].Namespace + "/" + ops[i].Name; ops[i].Resource == h.resource {
			n++
			if next[key] = res.Object.Revision; ops[i].Verb == fsm.Delete {
				delete(next, key)
			}
		}
		h.states, h.changes = append(h.states, next), append(h.changes, n)
	}
}

// later is how many changes of the resource came after revision.
func (h *history) later(revision uint64) int {
	return h.changes[len(h.changes)-1] - h.changes[revision]
}

// check compares what the store says of a revision with what was observed.
func (h *history) check(t interface{ Fatalf(string, ...any) }, revision uint64, kept int) {
	past, err := h.s.At(h.resource, revision)
	if errors.Is(err, fsm.ErrCompacted) && h.later(revision) > kept {
		return
	}
	if err != nil {
		t.Fatalf("%s at %d: %v", h.resource, revision, err)
	}
	want := h.states[revision]
	got := map[string]uint64{}
	var order []string
	for o := range past.ListFrom(h.resource, "", fsm.Key{}) {
		got[o.Namespace+"/"+o.Name] = o.Revision
		order = append(order, o.Namespace+"\x00"+o.Name)
		if one, ok := past.Get(o.Key); !ok || one != o {
			t.Fatalf("%s at %d: get %s", h.resource, revision, o.Key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || past.Revision() != revision || !slices.IsSorted(order) {
		t.Fatalf("%s at %d: %s", h.resource, revision, diff)
	}
	var inX []string
	for o := range past.ListFrom(h.resource, "x", fsm.Key{Namespace: "x", Name: "b"}) {
		inX = append(inX, o.Namespace+"/"+o.Name)
	}
	wantX := slices.DeleteFunc(slices.Sorted(maps.Keys(want)), func(k string) bool { return !strings.HasPrefix(k, "x/") || k < "x/b" })
	if !slices.Equal(inX, wantX) {
		t.Fatalf("%s at %d from x/b: %v, want %v", h.resource, revision, inX, wantX)
	}
}

// At any time every revision that the event log reaches back to reads exactly as it was, whatever happened since.
func TestPastIsWhatItWas(t *testing.T) {
	const kept = 8
	rapid.Check(t, func(t *rapid.T) {
		s := fsm.New(schema(), kept)
		histories := []*history{newHistory(s, "configmaps"), newHistory(s, "others.example.com")}
		op := rapid.Custom(func(t *rapid.T) fsm.Op {
			o := object{
				resource:  rapid.SampledFrom([]string{"configmaps", "others.example.com"}).Draw(t, "resource"),
				namespace: rapid.SampledFrom([]string{"w", "x", "y"}).Draw(t, "namespace"),
				name:      rapid.SampledFrom([]string{"a", "b", "bb", "c"}).Draw(t, "name"),
				value:     rapid.StringN(0, 1, -1).Draw(t, "value"),
			}
			return rapid.SampledFrom([]func(object) fsm.Op{create, update, remove}).Draw(t, "verb")(o)
		})
		index := uint64(0)
		for _, ops := range rapid.SliceOfN(rapid.SliceOfN(op, 1, 3), 1, 60).Draw(t, "history") {
			data, err := fsm.Command{Ops: ops}.Encode()
			if err != nil {
				t.Fatalf("encode: %v", err)
			}
			index++
			results, err := s.Apply(index, data)
			if err != nil {
				t.Fatalf("apply: %v", err)
			}
			for _, h := range histories {
				h.note(ops, results)
				h.check(t, rapid.Uint64Range(0, s.View().Revision()).Draw(t, "revision"), kept)
			}
		}
		for _, h := range histories {
			for revision := range s.View().Revision() + 1 {
				h.check(t, revision, kept)
			}
		}
	})
}

func TestPastBounds(t *testing.T) {
	s := fsm.New(schema(), 4)
	for i := range 40 {
		apply(t, s, create(cm("x", fmt.Sprint(i), "")))
	}
	if _, err := s.At("configmaps", 1); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("long ago: %v", err)
	}
	if _, err := s.At("configmaps", 41); !errors.Is(err, fsm.ErrFuture) {
		t.Errorf("the future: %v", err)
	}
	past, err := s.At("others.example.com", 1)
	if err != nil {
		t.Fatal(err) // nothing happened to it: the whole past is known
	}
	if _, ok := past.Get(fsm.Key{Resource: "configmaps", Namespace: "x", Name: "0"}); ok {
		t.Error("another resource's object")
	}
	for o := range past.ListFrom("configmaps", "", fsm.Key{}) {
		t.Errorf("another resource's object: %s", o.Key)
	}
}

// BenchmarkPast undoes a thousand changes of ten thousand objects.
func BenchmarkPast(b *testing.B) {
	s := fsm.New(schema(), 0)
	ops := make([]fsm.Op, 0, 10000)
	for i := range 10000 {
		ops = append(ops, create(cm("x", fmt.Sprint("object-", i), "1")))
	}
	apply(b, s, ops...)
	ops = ops[:0]
	for i := range 1000 {
		ops = append(ops, update(cm("x", fmt.Sprint("object-", 7*i), "2")))
	}
	apply(b, s, ops...)
	for b.Loop() {
		if _, err := s.At("configmaps", 10000); err != nil {
			b.Fatal(err)
		}
	}
}
