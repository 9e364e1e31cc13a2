package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/internal/seal"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 500, time.FixedZone("X", 3600))

func newRing(t testing.TB) seal.Ring {
	t.Helper()
	return must(t)(seal.NewRing(noon))
}

// must returns the value of a call that must not fail.
func must(t testing.TB) func(seal.Ring, error) seal.Ring {
	return func(r seal.Ring, err error) seal.Ring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func TestMessages(t *testing.T) {
	old := newRing(t)
	for _, plain := range []string{"", "x", strings.Repeat("a message ", 10_000)} {
		sealed, err := old.Seal([]byte(plain), []byte("here"))
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+seal.Overhead || len(plain) > 1 && bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("%d bytes sealed to %d", len(plain), len(sealed))
		}
		if id, err := seal.KeyID(sealed); err != nil || id != old.Primary() {
			t.Errorf("sealed with %q, %v", id, err)
		}
		rotated := must(t)(old.Add(noon))
		if got, err := rotated.Open(sealed, []byte("here")); err != nil || string(got) != plain {
			t.Errorf("opened %d bytes, %v", len(got), err)
		}
		if _, err := rotated.Open(sealed, []byte("there")); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("opened at another place: %v", err)
		}
		_, err = newRing(t).Open(sealed, []byte("here"))
		if !errors.Is(err, seal.ErrUnknownKey) || !strings.Contains(fmt.Sprint(err), old.Primary()) {
			t.Errorf("without the key: %v", err)
		}
	}
}

func TestEveryChangedBitIsNoticed(t *testing.T) {
	r := must(t)(newRing(t).Add(noon))
	sealed, err := r.Seal([]byte("text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := r.Open(changed, nil); !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := r.Open(sealed[:n], nil); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

// A message cannot pose as a stream, nor one part of the header and context as the other.
func TestFormatsAreApart(t *testing.T) {
	r := newRing(t)
	message, err := r.Seal(make([]byte, 100), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewReader(bytes.NewReader(message), nil); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("a message read as a stream: %v", err)
	}
	var stream bytes.Buffer
	w, err := r.NewWriter(&stream, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(stream.Bytes(), nil); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("a stream opened as a message: %v", err)
	}
}

func TestRing(t *testing.T) {
	one := newRing(t)
	two := must(t)(one.Add(noon.Add(time.Hour)))
	first, second := one.Primary(), two.Primary()
	if first == second || !cmp.Equal(two.IDs(), []string{second, first}) || len(one.Keys()) != 1 {
		t.Fatalf("%v, then %v", one, two)
	}
	if _, err := two.Drop(second); !errors.Is(err, seal.ErrInvalid) {
		t.Errorf("the primary key was dropped: %v", err)
	}
	if _, err := two.Drop("beef"); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("a stranger was dropped: %v", err)
	}
	if early := must(t)(two.Add(noon.Add(-time.Hour))); !early.Keys()[0].Created.After(early.Keys()[1].Created) {
		t.Errorf("made at %v, after one of %v", early.Keys()[0].Created, early.Keys()[1].Created)
	}
	if back := two.First("beef", first); !cmp.Equal(back.IDs(), []string{first, second}) || two.Primary() != second {
		t.Errorf("put in another order: %v", back)
	}
	if some := two.Only(first, "beef"); !cmp.Equal(some.IDs(), []string{first}) || len(two.Keys()) != 2 {
		t.Errorf("only the first of %v: %v", two, some)
	}
	left := must(t)(two.Drop(first))
	if !cmp.Equal(left.IDs(), []string{second}) || !two.Has(first) || left.Has(first) {
		t.Errorf("left: %v", left)
	}
	if both := must(t)(left.With(two)); !both.Equal(two) || both.Equal(one) {
		t.Errorf("together: %v", both)
	}
	if _, err := (seal.Ring{}).Seal(nil, nil); !errors.Is(err, seal.ErrInvalid) {
		t.Errorf("the empty ring seals: %v", err)
	}
	for range 62 {
		two = must(t)(two.Add(noon))
	}
	if _, err := two.Add(noon); !errors.Is(err, seal.ErrInvalid) {
		t.Errorf("a ring without end: %v", err)
	}
}

func TestRingIsKept(t *testing.T) {
	r := must(t)(newRing(t).Add(noon))
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got seal.Ring
	if err := json.Unmarshal(data, &got); err != nil || !got.Equal(r) {
		t.Errorf("read %v, %v; want %v", got, err, r)
	}
	first, second := r.Keys()[0], r.Keys()[1]
	secret := base64.StdEncoding.EncodeToString(first.Secret[:])
	for what, change := range map[string][2]string{
		"no key":           {string(data), `{"keys":[]}`},
		"no ring":          {string(data), `{}`},
		"two rings":        {string(data), string(data) + "{}"},
		"another field":    {`{"keys"`, `{"more":1,"keys"`},
		"a longer secret":  {secret, "AAAA" + secret},
		"a changed secret": {secret, base64.StdEncoding.EncodeToString(second.Secret[:])},
		"a changed id":     {first.ID, second.ID},
		"no time":          {"2026-03-01T11:00:00Z", "0001-01-01T00:00:00Z"},
		"a key twice":      {`[{`, `[{"id":"` + first.ID + `","secret":"` + secret + `","created":"2026-03-01T11:00:00Z"},{`},
	} {
		damaged := strings.Replace(string(data), change[0], change[1], 1)
		was := got
		if err := got.UnmarshalJSON([]byte(damaged)); !errors.Is(err, seal.ErrInvalid) || !got.Equal(was) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	r := newRing(t)
	key := r.Keys()[0]
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		text := fmt.Sprintf(verb+verb, r, key)
		if want := fmt.Sprintf("keys [%s]key %s", key.ID, key.ID); text != want {
			t.Errorf("%s prints %s, want %s", verb, text, want)
		}
	}
}

func TestHolder(t *testing.T) {
	r := newRing(t)
	h := seal.NewHolder(r)
	h.Swap(must(t)(r.Add(noon)))
	if h.Ring().Primary() == r.Primary() || len(h.Ring().Keys()) != 2 {
		t.Errorf("it holds %v", h.Ring())
	}
}

func FuzzOpen(f *testing.F) {
	r := newRing(f)
	sealed, err := r.Seal([]byte("text"), []byte("context"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:20])
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := r.Open(data, []byte("context"))
		switch {
		case err == nil && (!bytes.Equal(data, sealed) || string(plain) != "text"):
			t.Errorf("a forgery: %x", data)
		case err != nil && !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrUnknownKey):
			t.Errorf("an error of no kind: %v", err)
		}
	})
}

func FuzzRing(f *testing.F) {
	data, err := json.Marshal(must(f)(newRing(f).Add(noon)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"keys":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, again seal.Ring
		if r.UnmarshalJSON(data) != nil {
			return
		}
		kept, err := json.Marshal(r)
		if err == nil {
			err = json.Unmarshal(kept, &again)
		}
		if err != nil || !again.Equal(r) || r.Primary() == "" {
			t.Errorf("%v became %v: %v", r, again, err)
		}
	})
}

func BenchmarkSeal1KiB(b *testing.B) {
	r, plain, context := newRing(b), make([]byte, 1<<10), []byte("a context of some bytes")
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, err := r.Seal(plain, context); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen1KiB(b *testing.B) {
	r, context := newRing(b), []byte("a context of some bytes")
	sealed, err := r.Seal(make([]byte, 1<<10), context)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 10)
	for b.Loop() {
		if _, err := r.Open(sealed, context); err != nil {
			b.Fatal(err)
		}
	}
}
