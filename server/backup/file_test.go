package backup_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/backup"
)

func TestFiles(t *testing.T) {
	ring := newRing(t)
	c := newCluster(t, many(20000)...) // several frames
	for name, r := range map[string]seal.Ring{"plain": {}, "sealed": ring} {
		t.Run(name, func(t *testing.T) {
			data := save(t, c, r)
			report, err := backup.Inspect(iotest.OneByteReader(bytes.NewReader(data)), r)
			if err != nil {
				t.Fatal(err)
			}
			want := here
			want.Created, want.Key = report.Created, r.Primary()
			v := c.View()
			want.Revision, want.Index, want.Objects, want.Digest = v.Revision(), v.Index(), v.Len(), v.Digest()
			if diff := cmp.Diff(want, report.Header); diff != "" || report.Created.IsZero() {
				t.Error(diff)
			}
			if got := report.Usage["configmaps"]; !report.Opened || got.Objects != 20000 || got.Bytes == 0 {
				t.Errorf("usage %v", report.Usage)
			}
			if sealed := !bytes.Contains(data, []byte("holt-snapshot")); sealed != (name == "sealed") {
				t.Errorf("sealed: %v", sealed)
			}
		})
	}
}

func TestSealedFilesNeedTheirRing(t *testing.T) {
	ring := newRing(t)
	data := save(t, newCluster(t, "a"), ring)
	report, err := backup.Inspect(bytes.NewReader(data), seal.Ring{})
	if err != nil || report.Opened || report.Objects != 1 || report.Key != ring.Primary() {
		t.Errorf("without a ring: %+v, %v", report, err)
	}
	if _, err := backup.Inspect(bytes.NewReader(data), newRing(t)); !errors.Is(err, backup.ErrSealed) {
		t.Errorf("with another ring: %v", err)
	}
	f, err := backup.Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := f.Reopen(&plain, ring); err != nil {
		t.Fatal(err)
	}
	if report, err := backup.Inspect(&plain, seal.Ring{}); err != nil || !report.Opened || report.Key != "" || report.Objects != 1 {
		t.Errorf("reopened: %+v, %v", report, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	ring := newRing(t)
	for _, r := range []seal.Ring{{}, ring} {
		data := save(t, newCluster(t, many(30)...), r)
		check := func(what string, at int, bad []byte) {
			t.Helper()
			for _, with := range []seal.Ring{{}, ring} {
				if _, err := backup.Inspect(bytes.NewReader(bad), with); err == nil {
					t.Fatalf("%s at %d of %d is not noticed", what, at, len(data))
				}
			}
		}
		for i := range data {
			check("an end", i, data[:i])
			bad := slices.Clone(data)
			bad[i] ^= 0x10
			check("a flipped bit", i, bad)
		}
		check("more", len(data), append(slices.Clone(data), 0))
	}
}

func TestOtherFiles(t *testing.T) {
	data := save(t, newCluster(t), seal.Ring{})
	newer := slices.Clone(data)
	newer[len("holt-backup")]++
	for _, c := range []struct {
		data []byte
		want error
	}{
		{nil, backup.ErrNotBackup}, {[]byte("apiVersion: v1\nkind: ConfigMap\n"), backup.ErrNotBackup},
		{newer, backup.ErrVersion}, {data[:40], backup.ErrDamaged},
	} {
		if _, err := backup.Inspect(bytes.NewReader(c.data), seal.Ring{}); !errors.Is(err, c.want) {
			t.Errorf("%.20q: %v, want %v", c.data, err, c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := backup.Inspect(io.MultiReader(bytes.NewReader(data[:60]), iotest.ErrReader(broken)), seal.Ring{}); !errors.Is(err, broken) {
		t.Errorf("a reader's own error: %v", err)
	}
}

// TestHeadersMustFit: a plain file whose header was exchanged has a right checksum, and still is no good.
func TestHeadersMustFit(t *testing.T) {
	c := newCluster(t, "a")
	var out bytes.Buffer
	lying := here
	lying.Objects = 7
	if err := backup.Write(&out, lying, seal.Ring{}, c.View()); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Inspect(&out, seal.Ring{}); !errors.Is(err, backup.ErrDamaged) {
		t.Error(err)
	}
}

// FuzzInspect: no file makes the reader panic, and one that it accepts can be restored.
func FuzzInspect(f *testing.F) {
	for _, n := range []int{0, 1, 40} {
		data := save(f, newCluster(f, many(n)...), seal.Ring{})
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add(save(f, newCluster(f, "a"), newRing(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := backup.Inspect(bytes.NewReader(data), seal.Ring{})
		if err != nil || !report.Opened {
			return
		}
		file, err := backup.Open(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		body, err := file.Body(seal.Ring{})
		if err != nil {
			t.Fatal(err)
		}
		c := newCluster(t)
		if err := c.Restore(body); err != nil && !errors.Is(err, fsm.ErrUnknownResource) && !errors.Is(err, fsm.ErrUndecodable) && !errors.Is(err, fsm.ErrBadName) {
			t.Error(err)
		}
	})
}
