package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"github.com/holt-project/holt/fsm"
)

// seeds are commands of every version and verb.
func seeds(f *testing.F) [][]byte {
	var out [][]byte
	for _, ops := range [][]fsm.Op{
		{create(cm("ns", "a", "1")), update(cm("ns", "a", "2")), remove(cm("ns", "a", ""))},
		{asked(1, create(cm("ns", "a", "1"))), asked(1, create(cm("ns", "a", "1"))), void(2), asked(2, create(cm("ns", "b", "")))},
		nil,
	} {
		data, err := fsm.Command{Ops: ops}.Encode()
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, data, append([]byte{1}, data[1:]...))
	}
	return out
}

// What is decoded is encoded to something that decodes to the same.
func FuzzDecodeCommand(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := fsm.DecodeCommand(data)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := fsm.DecodeCommand(again)
		if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%x was read, and is written as %x: %v\n%s", data, again, err, diff)
		}
		if _, err := fsm.DecodeCommand(append(again, 0)); err == nil {
			t.Error("trailing bytes are read")
		}
	})
}

// Whatever commands say, two stores that apply them are the same, one of them restored from a snapshot half way.
func FuzzApply(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data, data)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		one, two := newStore(), newStore()
		apply(t, one, asked(9, create(cm("ns", "a", "0"))))
		for _, data := range [][]byte{first, second} {
			if err := two.Restore(bytes.NewReader(snapshot(t, one))); err != nil {
				t.Fatal(err)
			}
			at := one.View().Index() + 1
			r1, err1 := one.Apply(at, data)
			r2, err2 := two.Apply(at, data)
			if (err1 == nil) != (err2 == nil) || len(r1) != len(r2) {
				t.Fatalf("%v and %v", err1, err2)
			}
			for i := range r1 {
				if fmt.Sprint(r1[i].Err) != fmt.Sprint(r2[i].Err) {
					t.Errorf("op %d: %v and %v", i, r1[i].Err, r2[i].Err)
				}
			}
			sound(t, one)
			if one.View().Digest() != two.View().Digest() {
				t.Fatalf("%s and %s", one.View().Digest(), two.View().Digest())
			}
		}
	})
}

// sound checks what holds of every state: it is that of its own snapshot, objects and indexes.
func sound(t *testing.T, s *fsm.Store) {
	t.Helper()
	again := newStore()
	if err := again.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
		t.Fatalf("its own snapshot is refused: %v", err)
	}
	a, b := s.View(), again.View()
	if a.Digest() != b.Digest() || a.Index() != b.Index() || a.Revision() != b.Revision() || a.Len() != b.Len() {
		t.Fatalf("%s restored is %s", a.Digest(), b.Digest())
	}
	for o := range a.All() {
		if o.Revision == 0 || o.Revision > a.Revision() {
			t.Errorf("%s has revision %d of %d", o.Key, o.Revision, a.Revision())
		}
	}
}

// plain is what a snapshot's stream holds, and packed is a snapshot of version with such a stream.
func plain(t testing.TB, snapshot []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(snapshot[14:]))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func packed(t testing.TB, version byte, plain []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(plain, append([]byte("holt-snapshot"), version))
}

// A snapshot that is accepted is a sound state; one that is not changes nothing. Neither takes memory that has nothing
// to do with its size. The data is the whole snapshot, or what is packed in it: its checksum hides that from a fuzzer.
func FuzzRestore(f *testing.F) {
	s := newStore()
	f.Add(snapshot(f, s), false)
	apply(f, s, create(cm("ns", "a", "1")), asked(1, create(cm("ns", "b", "1"))), void(2))
	good := snapshot(f, s)
	f.Add(good, false)
	f.Add(good[:len(good)/2], false)
	f.Add(plain(f, good), true)
	f.Add(bytes.Repeat([]byte{0x5b, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9), true) // a string without end
	const most = 256 << 20
	f.Fuzz(func(t *testing.T, data []byte, inside bool) {
		if inside {
			data = packed(t, 2, data)
		}
		s := newStore()
		apply(t, s, create(cm("ns", "mine", "1")))
		before := s.View().Digest()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		total := m.TotalAlloc
		err := s.Restore(bytes.NewReader(data))
		runtime.ReadMemStats(&m)
		if m.TotalAlloc-total > most {
			t.Errorf("%d bytes of snapshot have taken %d of memory", len(data), m.TotalAlloc-total)
		}
		if err != nil && s.View().Digest() != before {
			t.Errorf("a failed restore has changed the state: %v", err)
		}
		sound(t, s)
	})
}
