package seal_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/holt-project/holt/internal/seal"
)

const (
	chunk  = 64 << 10
	header = 41
	tag    = 16
)

// sealStream seals plain, written in parts of the given size.
func sealStream(t testing.TB, r seal.Ring, plain []byte, part int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := r.NewWriter(&out, []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	for p := plain; len(p) > 0; p = p[min(part, len(p)):] {
		if n, err := w.Write(p[:min(part, len(p))]); err != nil || n != min(part, len(p)) {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openStream(r seal.Ring, sealed []byte) ([]byte, error) {
	from, err := r.NewReader(bytes.NewReader(sealed), []byte("here"))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(from)
}

// text returns n bytes of which no two chunks are the same.
func text(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return out
}

func TestStreams(t *testing.T) {
	r := newRing(t)
	rotated := must(t)(r.Add(noon))
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3*chunk + 5} {
		plain := text(size)
		for _, part := range []int{1000, chunk, 1 << 20} {
			sealed := sealStream(t, r, plain, part)
			if got, err := openStream(rotated, sealed); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes in parts of %d: %d came back, %v", size, part, len(got), err)
			}
			if n, err := seal.PlainSize(int64(len(sealed))); err != nil || n != int64(size) {
				t.Errorf("%d sealed bytes are said to hold %d, not %d: %v", len(sealed), n, size, err)
			}
			if id, err := seal.KeyID(sealed); err != nil || id != r.Primary() {
				t.Errorf("sealed with %q, %v", id, err)
			}
		}
	}
	if _, err := openStream(newRing(t), sealStream(t, r, nil, 1)); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("without the key: %v", err)
	}
}

func TestStreamReadsInSmallSteps(t *testing.T) {
	r, plain := newRing(t), text(2*chunk+7)
	from, err := r.NewReader(iotest.HalfReader(bytes.NewReader(sealStream(t, r, plain, chunk))), []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(from, plain); err != nil {
		t.Error(err)
	}
}

func TestChangedStreams(t *testing.T) {
	r, plain := newRing(t), text(3*chunk)
	sealed := sealStream(t, r, plain, chunk)
	other := sealStream(t, r, plain, chunk)
	at := func(stream []byte, i int) []byte { return stream[header+i*(chunk+tag):][:chunk+tag] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	head := sealed[:header]
	for what, changed := range map[string][]byte{
		"nothing":                 nil,
		"half a header":           sealed[:header/2],
		"a header alone":          head,
		"cut at a chunk":          join(head, at(sealed, 0), at(sealed, 1)),
		"cut in a chunk":          sealed[:len(sealed)-1],
		"cut in a tag":            join(head, at(sealed, 0), at(sealed, 1)[:tag/2]),
		"swapped":                 join(head, at(sealed, 1), at(sealed, 0), at(sealed, 2)),
		"repeated":                join(head, at(sealed, 0), at(sealed, 0), at(sealed, 1), at(sealed, 2)),
		"one left out":            join(head, at(sealed, 0), at(sealed, 2)),
		"continued":               join(sealed, []byte{0}),
		"two in one":              join(sealed, sealed),
		"a chunk of another":      join(head, at(sealed, 0), at(other, 1), at(sealed, 2)),
		"the header of another":   join(other[:header], sealed[header:]),
		"a bit of the salt":       flip(sealed, header-1),
		"a bit of the last chunk": flip(sealed, len(sealed)-20),
	} {
		got, err := openStream(r, changed)
		if !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if !bytes.HasPrefix(plain, got) {
			t.Errorf("%s: what came before the error is not genuine", what)
		}
	}
}

func flip(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 4
	return out
}

func TestStreamOfAnotherPlace(t *testing.T) {
	r := newRing(t)
	from, err := r.NewReader(bytes.NewReader(sealStream(t, r, text(9), 9)), []byte("there"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(from); !errors.Is(err, seal.ErrTampered) {
		t.Error(err)
	}
}

// What goes wrong around a stream is not taken for a change of it, and is not forgotten.
func TestStreamErrorsOfOthers(t *testing.T) {
	r := newRing(t)
	sealed, broken := sealStream(t, r, text(2*chunk), chunk), errors.New("broken")
	from, err := r.NewReader(io.MultiReader(bytes.NewReader(sealed[:chunk]), iotest.ErrReader(broken)), []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := io.ReadAll(from); !errors.Is(err, broken) {
			t.Errorf("read: %v", err)
		}
	}
	w, err := r.NewWriter(&failing{after: 1, err: broken}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text(2*chunk + 1)); !errors.Is(err, broken) {
		t.Errorf("write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, broken) {
		t.Errorf("close: %v", err)
	}
}

func TestClosedStream(t *testing.T) {
	w, err := newRing(t).NewWriter(io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("more")); err == nil {
		t.Error("a closed stream was continued")
	}
	if err := w.Close(); err == nil {
		t.Error("a stream ended twice")
	}
}

// failing takes some writes and refuses the rest.
type failing struct {
	after int
	err   error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestPlainSizeOfNoStream(t *testing.T) {
	for _, n := range []int64{-1, 0, header, header + tag - 1, header + chunk + tag + 1, header + chunk + 2*tag} {
		if size, err := seal.PlainSize(n); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%d bytes are said to hold %d, %v", n, size, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	r, plain := newRing(f), text(chunk+100)
	sealed := sealStream(f, r, plain, chunk)
	f.Add(0, 0, []byte{})
	f.Add(header+3, 5, []byte("12345"))
	f.Add(len(sealed)-1, 1, []byte{})
	f.Fuzz(func(t *testing.T, at, cut int, put []byte) { // replaces a part of a genuine stream
		at = max(0, min(at, len(sealed)))
		cut = max(0, min(cut, len(sealed)-at))
		changed := bytes.Join([][]byte{sealed[:at], put, sealed[at+cut:]}, nil)
		got, err := openStream(r, changed)
		switch {
		case err == nil && !bytes.Equal(changed, sealed):
			t.Error("a forgery")
		case err != nil && !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrUnknownKey):
			t.Errorf("an error of no kind: %v", err)
		case !bytes.HasPrefix(plain, got):
			t.Error("what came before the error is not genuine")
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	r, plain := newRing(b), make([]byte, 1<<20)
	w, err := r.NewWriter(io.Discard, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, err := w.Write(plain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	r := newRing(b)
	sealed := sealStream(b, r, make([]byte, 8<<20), chunk)
	b.SetBytes(8 << 20)
	for b.Loop() {
		from, err := r.NewReader(bytes.NewReader(sealed), []byte("here"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, from); err != nil {
			b.Fatal(err)
		}
	}
}
