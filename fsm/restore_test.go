package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/fsm"
)

// enter applies a command that is not ops as the next entry of the log.
func enter(t rapid.TB, s *fsm.Store, c fsm.Encoder) fsm.Result {
	t.Helper()
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	results, err := s.Apply(s.View().Index()+1, data)
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	return results[0]
}

// stage stages data in pieces of at most size bytes.
func stage(t rapid.TB, s *fsm.Store, id string, data []byte, size int) {
	t.Helper()
	for at := 0; at < len(data); at += size {
		piece := data[at:min(len(data), at+size)]
		if r := enter(t, s, fsm.Stage{ID: id, Offset: uint64(at), Data: piece}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// replaceBy replaces the state with a snapshot.
func replaceBy(t rapid.TB, s *fsm.Store, data []byte, keep ...fsm.Selection) fsm.Result {
	t.Helper()
	stage(t, s, "r", data, 100)
	return enter(t, s, fsm.Replace{ID: "r", Size: uint64(len(data)), Keep: keep})
}

// listing is every object's key, revision, resource version and value.
func listing(s *fsm.Store) []string {
	var out []string
	for o := range s.View().All() {
		out = append(out, fmt.Sprintf("%s@%d/%s %x", o.Key, o.Revision, o.Value.GetResourceVersion(), o.Raw))
	}
	return out
}

func TestReplace(t *testing.T) {
	from, s := newStore(), newStore()
	apply(t, from, create(cm("x", "a", "old")), create(cm("x", "b", "old")), create(cm("own", "me", "theirs")), create(cm("own", "my-1", "theirs")))
	apply(t, s, create(cm("x", "a", "new")), create(cm("x", "z", "new")), create(cm("own", "me", "mine")), create(cm("own", "my-2", "mine")))
	for i := range 6 {
		apply(t, s, update(cm("x", "a", fmt.Sprint(i))))
	}
	data := snapshot(t, from)
	r := replaceBy(t, s, data,
		fsm.Selection{Resource: "configmaps", Namespace: "own", Name: "me"},
		fsm.Selection{Resource: "configmaps", Namespace: "own", Name: "my-", Prefix: true},
		fsm.Selection{Resource: "others.example.com", Namespace: "x", Name: "", Prefix: true},
		fsm.Selection{Resource: "configmaps", Namespace: "x", Name: "my-", Prefix: true})
	if diff := cmp.Diff(fsm.Result{Replaced: &fsm.Replaced{Before: 10, Snapshot: 4, After: 12, Objects: 2, Kept: 2}}, r,
		cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })); diff != "" {
		t.Error(diff)
	}
	want := []string{
		fmt.Sprintf("configmaps/own/me@3/3 %x", cm("own", "me", "mine").raw()),
		fmt.Sprintf("configmaps/own/my-2@4/4 %x", cm("own", "my-2", "mine").raw()),
		fmt.Sprintf("configmaps/x/a@11/11 %x", cm("x", "a", "old").raw()),
		fmt.Sprintf("configmaps/x/b@12/12 %x", cm("x", "b", "old").raw()),
	}
	if diff := cmp.Diff(want, listing(s)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x/a", "x/b"}, names(s.View().ByIndex("configmaps", "value", "old"))); diff != "" {
		t.Error(diff)
	}
	if got := names(s.View().ByIndex("configmaps", "value", "new")); got != nil {
		t.Errorf("what has gone is in an index: %v", got)
	}
	stale := update(cm("x", "a", "stale"))
	for _, stale.IfRevision = range []uint64{1, 10} {
		if got := apply(t, s, stale)[0]; !errors.Is(got.Err, fsm.ErrConflict) {
			t.Errorf("a write at revision %d: %v", stale.IfRevision, got.Err)
		}
	}
	if s.View().Staged() != "" {
		t.Error("the snapshot is still staged")
	}
}

func TestReplaceGoesBeyondTheSnapshotsRevision(t *testing.T) {
	from, s := newStore(), newStore()
	for i := range 50 {
		apply(t, from, create(cm("x", fmt.Sprintf("%02d", i), "")))
	}
	apply(t, s, create(cm("x", "a", "")))
	if r := replaceBy(t, s, snapshot(t, from)); r.Err != nil || r.Replaced.After != 100 || s.View().Revision() != 100 {
		t.Errorf("%+v, %v", r.Replaced, r.Err)
	}
	if r := replaceBy(t, s, snapshot(t, newStore())); r.Err != nil || r.Replaced.After != 101 || s.View().Len() != 0 {
		t.Errorf("of an empty state: %+v, %v", r.Replaced, r.Err)
	}
}

func TestReplaceCutsWatches(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("x", "a", "1")))
	data := snapshot(t, s)
	w := watch(t, s, "", 1)
	if r := replaceBy(t, s, data); r.Err != nil {
		t.Fatal(r.Err)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("a watch across it: %v", err)
	}
	if _, err := s.Watch("others.example.com", "", 1); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("a watch from before it: %v", err)
	}
	after := watch(t, s, "", 2)
	apply(t, s, create(cm("x", "b", "1")))
	if diff := cmp.Diff([]string{"ADDED b 3"}, take(t, after, 1)); diff != "" {
		t.Error(diff)
	}
}

func TestStagedWrongly(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("x", "a", "1")))
	data := snapshot(t, s)
	before := listing(s)
	size := uint64(len(data))
	half := data[:len(data)/2]
	first := fsm.Stage{ID: "r", Data: half}
	rest := fsm.Stage{ID: "r", Offset: uint64(len(half)), Data: data[len(half):]}
	bent := fsm.Stage{ID: "r", Offset: rest.Offset, Data: bytes.Repeat([]byte{1}, len(rest.Data))}
	whole := fsm.Replace{ID: "r", Size: size}
	large := make([]byte, fsm.MaxPiece+1)
	for name, c := range map[string]struct {
		commands []fsm.Encoder
		want     error // of the last
		staged   string
	}{
		"nothing":           {[]fsm.Encoder{whole}, fsm.ErrNotStaged, ""},
		"no beginning":      {[]fsm.Encoder{rest}, fsm.ErrNotStaged, ""},
		"no name":           {[]fsm.Encoder{fsm.Stage{Data: half}}, fsm.ErrNotStaged, ""},
		"an empty piece":    {[]fsm.Encoder{fsm.Stage{ID: "r"}}, fsm.ErrNotStaged, ""},
		"a piece too large": {[]fsm.Encoder{fsm.Stage{ID: "r", Data: large}}, fsm.ErrStagedTooLarge, ""},
		"too large":         {[]fsm.Encoder{first, fsm.Stage{ID: "r", Offset: uint64(len(half)), Data: large}}, fsm.ErrStagedTooLarge, "r"},
		"a hole":            {[]fsm.Encoder{first, fsm.Stage{ID: "r", Offset: rest.Offset + 1, Data: half}}, fsm.ErrNotStaged, "r"},
		"a piece twice":     {[]fsm.Encoder{first, rest, rest}, fsm.ErrNotStaged, "r"},
		"the first twice":   {[]fsm.Encoder{first, first}, nil, "r"},
		"half":              {[]fsm.Encoder{first, whole}, fsm.ErrNotStaged, "r"},
		"half, as a whole":  {[]fsm.Encoder{first, fsm.Replace{ID: "r", Size: uint64(len(half))}}, fsm.ErrBadSnapshot, ""},
		"damaged":           {[]fsm.Encoder{first, bent, whole}, fsm.ErrBadSnapshot, ""},
		"another's":         {[]fsm.Encoder{fsm.Stage{ID: "o", Data: half}, rest}, fsm.ErrNotStaged, "o"},
		"another begins":    {[]fsm.Encoder{first, fsm.Stage{ID: "o", Data: half}}, nil, "o"},
		"given up":          {[]fsm.Encoder{first, fsm.Stage{ID: "r", Drop: true}}, nil, ""},
		"given up twice":    {[]fsm.Encoder{fsm.Stage{ID: "r", Drop: true}}, nil, ""},
		"another gives up":  {[]fsm.Encoder{first, fsm.Stage{ID: "o", Drop: true}}, nil, "r"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore()
			apply(t, s, create(cm("x", "a", "1")))
			w := watch(t, s, "", 1)
			var got fsm.Result
			for _, command := range c.commands {
				got = enter(t, s, command)
			}
			if !errors.Is(got.Err, c.want) || got.Replaced != nil {
				t.Errorf("%+v, want %v", got, c.want)
			}
			if v := s.View(); v.Staged() != c.staged || v.Index() != uint64(1+len(c.commands)) {
				t.Errorf("staged %q at %d, want %q", v.Staged(), v.Index(), c.staged)
			}
			if diff := cmp.Diff(before, listing(s)); diff != "" {
				t.Error(diff)
			}
			idle(t, w) // not cut
		})
	}
}

func TestReplaceRefusesUnknownKinds(t *testing.T) {
	more := fsm.New(fsm.NewSchema(nil, fsm.Resource{Name: "configmaps", Decode: decode}, fsm.Resource{Name: "new", Decode: decode}), 0)
	apply(t, more, create(cm("x", "b", "1")), create(object{resource: "new", name: "n"}))
	s := newStore()
	apply(t, s, create(cm("x", "a", "1")))
	if r := replaceBy(t, s, snapshot(t, more)); !errors.Is(r.Err, fsm.ErrUnknownResource) {
		t.Error(r.Err)
	}
	if diff := cmp.Diff([]string{"x/a"}, names(s.View().All())); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableRestoreCommands(t *testing.T) {
	for _, c := range []fsm.Encoder{fsm.Stage{ID: "r", Data: []byte("x")}, fsm.Replace{ID: "r"}} {
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := fsm.CheckCommand(data); err != nil {
			t.Error(err)
		}
		for _, bad := range [][]byte{data[:1], data[:len(data)-1], append(bytes.Clone(data), 0)} {
			s := newStore()
			if _, err := s.Apply(1, bad); err == nil || fsm.CheckCommand(bad) == nil || s.View().Index() != 0 {
				t.Errorf("%x was applied", bad)
			}
		}
	}
}

// TestHalfStagedOutlivesASnapshot: a server that gets the state as a snapshot in the middle of a restore ends it like
// one that has applied every entry.
func TestHalfStagedOutlivesASnapshot(t *testing.T) {
	from, s := newStore(), newStore()
	for i := range 100 {
		apply(t, from, create(cm("x", fmt.Sprint(i), "v")))
	}
	apply(t, s, create(cm("x", "a", "1")))
	data := snapshot(t, from)
	half := len(data) / 200 * 100
	plain := s.View().Digest()
	stage(t, s, "r", data[:half], 100)
	if s.View().Digest() == plain || s.View().Unstaged().Digest() != plain {
		t.Error("the digest does not tell what is staged")
	}
	late := newStore()
	if err := late.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
		t.Fatal(err)
	}
	if late.View().Staged() != "r" || late.View().Digest() != s.View().Digest() {
		t.Fatal("the staged half is lost")
	}
	for _, one := range []*fsm.Store{s, late} {
		apply(t, one, create(cm("x", "between", "1"))) // other entries go on
		if r := enter(t, one, fsm.Stage{ID: "r", Offset: uint64(half), Data: data[half:]}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if s.View().Digest() != late.View().Digest() {
		t.Error("they differ when all is staged")
	}
	for _, one := range []*fsm.Store{s, late} {
		if r := enter(t, one, fsm.Replace{ID: "r", Size: uint64(len(data))}); r.Err != nil || r.Replaced.Objects != 100 {
			t.Fatalf("%+v", r)
		}
	}
	if s.View().Digest() != late.View().Digest() {
		t.Error("they differ after the restore")
	}
}

func TestABackupLeavesTheStagedOut(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("x", "a", "1")))
	stage(t, s, "r", bytes.Repeat([]byte("x"), 1000), 100)
	var out bytes.Buffer
	if _, err := s.View().Unstaged().WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	back := newStore()
	if err := back.Restore(&out); err != nil || back.View().Staged() != "" || back.View().Len() != 1 {
		t.Errorf("staged %q, %v", back.View().Staged(), err)
	}
}

// TestReplaceProperties: whatever was before, after a restore the objects are the snapshot's and those that are kept,
// under revisions that nobody has seen, and two servers agree, also when one of them was caught up by a snapshot.
func TestReplaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := func(label string) *fsm.Store {
			s := newStore()
			for _, b := range rapid.SliceOfN(rapid.Uint16(), 0, 30).Draw(t, label) {
				o := object{namespace: string(rune('a' + b%2)), name: fmt.Sprint(b >> 1 % 5), value: fmt.Sprint(b >> 8)}
				data, err := fsm.Command{Ops: []fsm.Op{create(o), o.op(fsm.Verb(1 + b>>4%3))}}.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Apply(s.View().Index()+1, data); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
		from, s := random("snapshot"), random("present")
		keep := fsm.Selection{Resource: "configmaps", Namespace: "b", Name: rapid.SampledFrom([]string{"", "1", "4"}).Draw(t, "kept"), Prefix: true}
		raws := map[fsm.Key]string{}
		for o := range from.View().All() {
			if o.Namespace != "b" || !bytes.HasPrefix([]byte(o.Name), []byte(keep.Name)) {
				raws[o.Key] = string(o.Raw)
			}
		}
		kept := map[fsm.Key]uint64{}
		for o := range s.View().All() {
			if o.Namespace == "b" && bytes.HasPrefix([]byte(o.Name), []byte(keep.Name)) {
				raws[o.Key], kept[o.Key] = string(o.Raw), o.Revision
			}
		}
		var out, copied bytes.Buffer
		if _, err := from.View().WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		before := s.View()
		if _, err := before.WriteTo(&copied); err != nil {
			t.Fatal(err)
		}
		twin := newStore()
		if err := twin.Restore(&copied); err != nil {
			t.Fatal(err)
		}
		size := rapid.IntRange(1, 200).Draw(t, "piece")
		for _, one := range []*fsm.Store{s, twin} {
			stage(t, one, "r", out.Bytes(), size)
			if r := enter(t, one, fsm.Replace{ID: "r", Size: uint64(out.Len()), Keep: []fsm.Selection{keep}}); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		v, last := s.View(), max(before.Revision(), from.View().Revision())
		if v.Len() != len(raws) || v.Digest() != twin.View().Digest() || v.Revision() <= last {
			t.Fatalf("%d objects, want %d; revision %d after %d", v.Len(), len(raws), v.Revision(), last)
		}
		for o := range v.All() {
			if string(o.Raw) != raws[o.Key] {
				t.Errorf("%s differs", o.Key)
			}
			if r, stays := kept[o.Key]; stays && r != o.Revision {
				t.Errorf("%s was kept at %d, not %d", o.Key, o.Revision, r)
			} else if !stays {
				if last++; o.Revision != last || o.Value.GetResourceVersion() != fmt.Sprint(last) {
					t.Errorf("%s has revision %d, want %d", o.Key, o.Revision, last)
				}
			}
		}
	})
}

// FuzzReplace: whatever is staged, nothing panics, and either everything or nothing is restored.
func FuzzReplace(f *testing.F) {
	s := newStore()
	apply(f, s, create(cm("x", "a", "1")), create(cm("x", "b", "1")))
	data := snapshot(f, s)
	f.Add(data, uint16(7))
	f.Add(data[:len(data)-1], uint16(100))
	f.Add(binary.BigEndian.AppendUint64(data, 1), uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		if size == 0 || len(data) == 0 || len(data) > 1<<16 {
			return
		}
		s := newStore()
		apply(t, s, create(cm("x", "mine", "1")))
		stage(t, s, "r", data, int(size))
		r := enter(t, s, fsm.Replace{ID: "r", Size: uint64(len(data))})
		if got := names(s.View().All()); r.Err != nil && (len(got) != 1 || got[0] != "x/mine") {
			t.Errorf("after %v there is %v", r.Err, got)
		}
		if r.Err == nil && r.Replaced.Objects != s.View().Len() {
			t.Errorf("%d objects, said %d", s.View().Len(), r.Replaced.Objects)
		}
	})
}
