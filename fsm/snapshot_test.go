package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/holt-project/holt/fsm"
)

func snapshot(t testing.TB, s *fsm.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := s.View().WriteTo(&out)
	if err != nil || n != int64(out.Len()) {
		t.Fatalf("%d bytes, said %d, %v", out.Len(), n, err)
	}
	return out.Bytes()
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 500} {
		s, restored := newStore(), newStore()
		for i := range size {
			apply(t, s, create(cm("ns", fmt.Sprint(i), "v")))
		}
		apply(t, restored, create(cm("ns", "left over", "v")))
		if err := restored.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
			t.Fatal(err)
		}
		a, b := s.View(), restored.View()
		if a.Digest() != b.Digest() || a.Index() != b.Index() || a.Revision() != b.Revision() || a.Len() != b.Len() {
			t.Errorf("%d objects: %v and %v differ", size, a.Digest(), b.Digest())
		}
		apply(t, s, create(cm("ns", "next", "v")))
		apply(t, restored, create(cm("ns", "next", "v")))
		if s.View().Digest() != restored.View().Digest() {
			t.Error("they diverge after the restore")
		}
	}
}

func TestDamagedSnapshotChangesNothing(t *testing.T) {
	s := newStore()
	for i := range 20 {
		apply(t, s, create(cm("ns", fmt.Sprint(i), "v")))
	}
	good := snapshot(t, s)
	victim := newStore()
	apply(t, victim, create(cm("ns", "mine", "v")))
	digest := victim.View().Digest()
	refuse := func(what string, data []byte) {
		t.Helper()
		if err := victim.Restore(bytes.NewReader(data)); err == nil {
			t.Fatalf("%s: restored", what)
		}
		if victim.View().Digest() != digest || victim.View().Index() != 1 {
			t.Fatalf("%s: the state has changed", what)
		}
	}
	for i := range good {
		refuse(fmt.Sprint("cut at ", i), good[:i])
		for bit := range 8 {
			flipped := slices.Clone(good)
			flipped[i] ^= 1 << bit
			if err := victim.Restore(bytes.NewReader(flipped)); err != nil {
				if victim.View().Digest() != digest {
					t.Fatalf("byte %d bit %d: the state has changed", i, bit)
				}
				continue
			}
			// A few bits mean nothing to the format. Then all must be as if they had not flipped.
			if v := victim.View(); v.Digest() != s.View().Digest() || v.Index() != s.View().Index() {
				t.Fatalf("byte %d bit %d: a damaged state was restored", i, bit)
			}
			victim = newStore()
			apply(t, victim, create(cm("ns", "mine", "v")))
		}
	}
	refuse("trailing bytes", append(slices.Clone(good), "garbage"...))
	if err := victim.Restore(bytes.NewReader(nil)); !errors.Is(err, fsm.ErrBadSnapshot) {
		t.Errorf("empty: %v", err)
	}
}

// Snapshots of the version before outcomes were in them are read.
func TestSnapshotOfTheFirstVersion(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("ns", "a", "v")))
	old := newStore()
	if err := old.Restore(bytes.NewReader(packed(t, 1, plain(t, snapshot(t, s))))); err != nil || old.View().Digest() != s.View().Digest() {
		t.Errorf("%v, %s", err, old.View().Digest())
	}
	if err := old.Restore(bytes.NewReader(packed(t, 3, plain(t, snapshot(t, s))))); !errors.Is(err, fsm.ErrBadSnapshot) {
		t.Errorf("a later version: %v", err)
	}
}

// One item that unpacks to gigabytes is refused before it takes as much.
func TestSnapshotThatUnpacksWithoutEnd(t *testing.T) {
	s := newStore()
	endless := append(plain(t, snapshot(t, s)), 0x5b, 0, 0, 0, 1, 0, 0, 0, 0) // a string of 4 GiB
	endless = append(endless, make([]byte, 64<<20)...)
	data := packed(t, 2, endless)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.Restore(bytes.NewReader(data)); !errors.Is(err, fsm.ErrBadSnapshot) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 128<<20 {
		t.Errorf("%d bytes have taken %d", len(data), n)
	}
}

func TestSnapshotOfAnUnknownKindIsRefused(t *testing.T) {
	s := newStore()
	apply(t, s, create(object{resource: "others.example.com", name: "x"}))
	fewer := fsm.New(fsm.NewSchema(nil, fsm.Resource{Name: "configmaps", Decode: decode}), 0)
	if err := fewer.Restore(bytes.NewReader(snapshot(t, s))); !errors.Is(err, fsm.ErrUnknownResource) {
		t.Errorf("got %v", err)
	}
}

// failingWriter fails after some bytes.
type failingWriter int

func (w *failingWriter) Write(p []byte) (int, error) {
	if *w -= failingWriter(len(p)); *w < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestSnapshotToAFullDisk(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("ns", "a", "v")))
	size := len(snapshot(t, s))
	for room := range size {
		w := failingWriter(room)
		if _, err := s.View().WriteTo(&w); err == nil {
			t.Errorf("no error with room for %d of %d bytes", room, size)
		}
	}
}

func genOp(t *rapid.T) fsm.Op {
	o := object{
		resource:  rapid.SampledFrom([]string{"configmaps", "others.example.com", "unknown"}).Draw(t, "resource"),
		namespace: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "namespace"),
		name:      rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name"),
		value:     rapid.SampledFrom([]string{"1", "2"}).Draw(t, "value"),
		owners:    rapid.SliceOfN(rapid.SampledFrom([]string{"u1", "u2"}), 0, 2).Draw(t, "owners"),
	}
	op := o.op(fsm.Verb(rapid.IntRange(0, 4).Draw(t, "verb")))
	op.IfRevision = rapid.SampledFrom([]uint64{0, 0, 0, 1, 2, 3}).Draw(t, "revision")
	if rapid.IntRange(0, 9).Draw(t, "spoil") == 0 {
		op.Raw = []byte{255}
	}
	return op
}

// TestDeterminism: a store that has applied everything, and one that was restored from a snapshot in the middle,
// are the same, and their watchers see each revision once.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		batches := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(genOp), 0, 4), 1, 20).Draw(rt, "batches")
		restoreAt := rapid.IntRange(0, len(batches)-1).Draw(rt, "restore")
		replayed, restored := newStore(), newStore()
		w := watch(t, replayed, "", 0)
		for i, ops := range batches {
			if i == restoreAt {
				next := newStore()
				if err := next.Restore(bytes.NewReader(snapshot(t, restored))); err != nil {
					rt.Fatal(err)
				}
				restored = next
			}
			a, b := apply(t, replayed, ops...), apply(t, restored, ops...)
			for j := range a {
				if fmt.Sprint(a[j].Err) != fmt.Sprint(b[j].Err) {
					rt.Fatalf("op %d: %v and %v", j, a[j].Err, b[j].Err)
				}
			}
			if x, y := replayed.View(), restored.View(); x.Digest() != y.Digest() || x.Index() != y.Index() {
				rt.Fatalf("after %d: %s and %s", i, x.Digest(), y.Digest())
			}
		}
		if !slices.Equal(names(replayed.View().ByIndex("", "owner", "u1")), names(restored.View().ByIndex("", "owner", "u1"))) {
			rt.Fatal("their indexes differ")
		}
		model := map[string]string{}
		for _, e := range drain(rt, w) {
			model[e.Object.Key.String()] = string(e.Object.Raw)
			if e.Type == fsm.Deleted {
				delete(model, e.Object.Key.String())
			}
		}
		for o := range replayed.View().List("configmaps", "") {
			if model[o.Key.String()] != string(o.Raw) {
				rt.Fatalf("%s: the events do not add up to the state", o.Key)
			}
			delete(model, o.Key.String())
		}
		if len(model) > 0 {
			rt.Fatalf("events of objects that are not there: %v", model)
		}
	})
}

// drain returns the events that are there.
func drain(t *rapid.T, w *fsm.Watch) []fsm.Event {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	events, err := w.Next(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return events
}
