package image_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/internal/ociarchive"
)

func small(t *testing.T, name, body string) fixture {
	return fixture{name: name, layers: [][]byte{tarOf(t, folder("etc"), file("etc/motd", body))}}
}

func TestImportReadsEveryKindOfArchive(t *testing.T) {
	plain := func(_ *testing.T, b []byte) []byte { return b }
	f := small(t, "holt.local/x:1", "hello")
	packedLayers := func(pack func(*testing.T, []byte) []byte) []byte {
		f := f
		f.pack = pack
		return f.oci(t)
	}
	for name, archive := range map[string][]byte{
		"oci":              f.oci(t),
		"oci gzip layers":  packedLayers(gzipped),
		"oci zstd layers":  packedLayers(zstded),
		"oci.gz":           gzipped(t, f.oci(t)),
		"oci.zst":          zstded(t, f.oci(t)),
		"docker":           f.docker(t),
		"docker.gz":        gzipped(t, f.docker(t)),
		"oci plain packer": packedLayers(plain),
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), image.Options{})
			img := mustImport(t, s, archive)
			if want := digest.FromBytes(f.image(t)).String(); img.ID != want {
				t.Errorf("ID %s, want %s", img.ID, want)
			}
			if img.Names[0] != "holt.local/x:1" || img.Size != 5 || len(img.Layers) != 1 {
				t.Errorf("unexpected image %+v", img)
			}
			if got := mustRead(t, filepath.Join(mount(t, s, img), "etc/motd")); got != "hello" {
				t.Errorf("motd holds %q", got)
			}
		})
	}
}

func TestImportOfOurOwnWriter(t *testing.T) {
	var b bytes.Buffer
	config := ociv1.ImageConfig{Entrypoint: []string{"/x"}, Env: []string{"A=1"}, User: "7",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}}, Labels: map[string]string{"k": "v"}}
	spec := ociarchive.Spec{Name: "holt.local/x:1", Config: config,
		Layers: []ociarchive.Layer{{"/x": {Data: []byte("#!"), Mode: 0o4755}}}}
	if err := ociarchive.Write(&b, spec); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), image.Options{})
	img := mustImport(t, s, b.Bytes())
	if diff := cmp.Diff(config, img.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(mount(t, s, img), "x"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fs.ModeSetuid | 0o755; info.Mode() != want {
		t.Errorf("mode %v, want %v", info.Mode(), want)
	}
	for _, ref := range []string{"holt.local/x:1", img.ID, "holt.local/x@" + img.Digest} {
		if got, ok := s.Lookup(ref); !ok || got.ID != img.ID {
			t.Errorf("lookup of %s finds %v", ref, got)
		}
	}
}

func TestLookupNormalizesAsDockerDoes(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	for stored, asked := range map[string][]string{
		"docker.io/library/whoami:latest": {"whoami", "whoami:latest", "library/whoami", "docker.io/whoami", "index.docker.io/library/whoami"},
		"docker.io/me/x:2":                {"me/x:2", "docker.io/me/x:2"},
		"localhost/y:latest":              {"localhost/y"},
		"registry:5000/a/b/z:3":           {"registry:5000/a/b/z:3"},
	} {
		img := mustImport(t, s, small(t, stored, stored).oci(t))
		for _, ref := range asked {
			if got, ok := s.Lookup(ref); !ok || got.ID != img.ID {
				t.Errorf("%s does not find %s", ref, stored)
			}
		}
	}
	for _, ref := range []string{"", "whoami:2", "UPPER", "a b", "sha256:" + strings.Repeat("0", 64), "x@sha256:12"} {
		if _, ok := s.Lookup(ref); ok {
			t.Errorf("%q finds something", ref)
		}
	}
}

func TestImportFolderTakesGoodArchivesAndNamesBadOnes(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	dir := t.TempDir()
	good := small(t, "holt.local/good:1", "good").oci(t)
	writeFile(t, filepath.Join(dir, "a-broken.tar"), good[:len(good)-3000])
	writeFile(t, filepath.Join(dir, "b-text.tar.gz"), []byte("not an archive at all"))
	writeFile(t, filepath.Join(dir, "c-empty.tar"), tarOf(t))
	writeFile(t, filepath.Join(dir, "d-good.tgz"), gzipped(t, good))
	writeFile(t, filepath.Join(dir, "README"), []byte("not looked at"))
	writeFile(t, filepath.Join(dir, ".hidden.tar"), []byte("not looked at"))
	err := s.ImportFolder(t.Context(), dir)
	if err == nil {
		t.Fatal("no error")
	}
	for _, bad := range []string{"a-broken.tar", "b-text.tar.gz", "c-empty.tar"} {
		if !strings.Contains(err.Error(), filepath.Join(dir, bad)) {
			t.Errorf("the error does not name %s: %v", bad, err)
		}
	}
	if strings.Contains(err.Error(), "README") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("the error names what is no archive: %v", err)
	}
	if _, ok := s.Lookup("holt.local/good:1"); !ok {
		t.Error("the good archive was not imported")
	}
	if err := s.ImportFolder(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder gives %v", err)
	}
}

func TestImportFolderSkipsWhatDidNotChange(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	archive := writeFile(t, filepath.Join(dir, "x.tar"), small(t, "holt.local/x:1", "one").oci(t))
	stamp := time.Unix(1000, 0)
	if err := os.Chtimes(archive, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	runs := func() int { // in a store opened anew: what is known outlives the process
		t.Helper()
		logged.Reset()
		s, err := image.Open(root, image.Options{}, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.ImportFolder(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Lookup("holt.local/x:1"); !ok {
			t.Fatal("image is gone")
		}
		return strings.Count(logged.String(), "image imported")
	}
	if got := []int{runs(), runs()}; got[0] != 1 || got[1] != 0 {
		t.Errorf("imported %v times, want [1 0]", got)
	}
	if err := os.Chtimes(archive, stamp, stamp.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := runs(); got != 1 {
		t.Errorf("imported %d times after a change, want 1", got)
	}
	s := openStore(t, root, image.Options{})
	if err := s.Remove(t.Context(), "holt.local/x:1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := runs(); got != 1 {
		t.Errorf("imported %d times after a removal, want 1", got)
	}
}

func TestAnIndexGivesThisPlatform(t *testing.T) {
	f := small(t, "holt.local/x:1", "here")
	mine := f.image(t)
	f.bend = func(files map[string][]byte) {
		other := small(t, "", "elsewhere")
		other.arch = "s390x"
		var index ociv1.Index
		if err := jsonInto(files["index.json"], &index); err != nil {
			t.Fatal(err)
		}
		top := index.Manifests[0]
		nested := ociv1.Index{Manifests: []ociv1.Descriptor{
			{MediaType: ociv1.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 1, Platform: &ociv1.Platform{OS: "linux", Architecture: "s390x"}},
			{MediaType: ociv1.MediaTypeImageManifest, Digest: digest.FromString("attest"), Size: 1, Platform: &ociv1.Platform{OS: "unknown", Architecture: "unknown"}},
			{MediaType: top.MediaType, Digest: top.Digest, Size: top.Size},
		}}
		data := toJSON(t, nested)
		files["blobs/sha256/"+digest.FromBytes(data).Encoded()] = data
		index.Manifests = []ociv1.Descriptor{{MediaType: ociv1.MediaTypeImageIndex, Digest: digest.FromBytes(data),
			Size: int64(len(data)), Annotations: top.Annotations}}
		files["index.json"] = toJSON(t, index)
	}
	s := openStore(t, t.TempDir(), image.Options{})
	img := mustImport(t, s, f.oci(t))
	if want := digest.FromBytes(mine).String(); img.ID != want {
		t.Errorf("ID %s, want %s", img.ID, want)
	}

	wrong := small(t, "holt.local/y:1", "there")
	wrong.arch = "s390x"
	if _, err := importOne(t, s, wrong.oci(t)); !errors.Is(err, image.ErrPlatform) {
		t.Errorf("another platform's image gives %v", err)
	}
}

func TestCorruptArchivesLeaveNothing(t *testing.T) {
	base := small(t, "holt.local/x:1", "hello")
	blob := func(data []byte) string { return "blobs/sha256/" + digest.FromBytes(data).Encoded() }
	layer := base.layers[0]
	packed := gzipped(t, layer) // its header has a time: the same content can have other bytes
	for name, c := range map[string]struct {
		bend   func(map[string][]byte)
		docker bool
		packed bool
	}{
		"changed layer":   {bend: func(f map[string][]byte) { f[blob(layer)] = tarOf(t, folder("etc"), file("etc/motd", "h3llo")) }},
		"longer layer":    {bend: func(f map[string][]byte) { f[blob(layer)] = append(bytes.Clone(layer), make([]byte, 512)...) }},
		"cut layer":       {bend: func(f map[string][]byte) { f[blob(layer)] = layer[:700] }},
		"missing layer":   {bend: func(f map[string][]byte) { delete(f, blob(layer)) }},
		"changed config":  {bend: func(f map[string][]byte) { f[blob(base.image(t))] = []byte(`{}`) }},
		"index not JSON":  {bend: func(f map[string][]byte) { f["index.json"] = []byte("{") }},
		"changed gzip":    {bend: func(f map[string][]byte) { changed := bytes.Clone(packed); changed[4] ^= 1; f[blob(packed)] = changed }, packed: true},
		"docker layer":    {bend: func(f map[string][]byte) { f[digest.FromBytes(layer).Encoded()+"/layer.tar"] = tarOf(t) }, docker: true},
		"docker no layer": {bend: func(f map[string][]byte) { delete(f, digest.FromBytes(layer).Encoded()+"/layer.tar") }, docker: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := openStore(t, root, image.Options{})
			f := base
			f.bend = c.bend
			archive := f.oci
			if c.packed {
				f.pack = gzipped
				archive = f.oci
			}
			if c.docker {
				archive = f.docker
			}
			if _, err := importOne(t, s, archive(t)); !errors.Is(err, image.ErrCorrupt) {
				t.Errorf("error %v, want ErrCorrupt", err)
			}
			for _, sub := range []string{"images", "layers", "tmp"} {
				if left := entriesOf(t, filepath.Join(root, sub)); len(left) > 0 {
					t.Errorf("%s holds %v", sub, left)
				}
			}
		})
	}
}
