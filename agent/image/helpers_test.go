package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"github.com/holt-project/holt/agent/image"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t *testing.T, dir string, opts image.Options) *image.Store {
	t.Helper()
	s, err := image.Open(dir, opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// entry is one member of a hand-made tar.
type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, body}
}

func folder(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, ""}
}

func hardlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}, ""}
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// fixture is an image whose archives tests make, and bend.
type fixture struct {
	name   string
	layers [][]byte // plain tars
	config ociv1.ImageConfig
	arch   string
	pack   func(*testing.T, []byte) []byte // how layers are compressed; nil: not
	bend   func(files map[string][]byte)   // changes the finished archive
}

func (f fixture) image(t *testing.T) []byte {
	t.Helper()
	img := ociv1.Image{Config: f.config}
	img.OS, img.Architecture = "linux", runtime.GOARCH
	if f.arch != "" {
		img.Architecture = f.arch
	}
	for _, l := range f.layers {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromBytes(l))
	}
	return toJSON(t, img)
}

// oci gives an OCI-layout archive.
func (f fixture) oci(t *testing.T) []byte {
	t.Helper()
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	add := func(mediaType string, data []byte) ociv1.Descriptor {
		d := digest.FromBytes(data)
		files["blobs/sha256/"+d.Encoded()] = data
		return ociv1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	m := ociv1.Manifest{MediaType: ociv1.MediaTypeImageManifest, Config: add(ociv1.MediaTypeImageConfig, f.image(t))}
	for _, l := range f.layers {
		if f.pack != nil {
			l = f.pack(t, l)
		}
		m.Layers = append(m.Layers, add(ociv1.MediaTypeImageLayer, l))
	}
	top := add(ociv1.MediaTypeImageManifest, toJSON(t, m))
	top.Annotations = map[string]string{"io.containerd.image.name": f.name}
	files["index.json"] = toJSON(t, ociv1.Index{Manifests: []ociv1.Descriptor{top}})
	return f.archive(t, files)
}

// docker gives an archive in docker save's older form.
func (f fixture) docker(t *testing.T) []byte {
	t.Helper()
	config := f.image(t)
	files := map[string][]byte{digest.FromBytes(config).Encoded() + ".json": config}
	var names []string
	for _, l := range f.layers {
		names = append(names, digest.FromBytes(l).Encoded()+"/layer.tar")
		files[names[len(names)-1]] = l
	}
	files["manifest.json"] = toJSON(t, []map[string]any{{
		"Config": digest.FromBytes(config).Encoded() + ".json", "RepoTags": []string{f.name}, "Layers": names,
	}})
	return f.archive(t, files)
}

func (f fixture) archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	if f.bend != nil {
		f.bend(files)
	}
	var entries []entry
	for name, data := range files {
		entries = append(entries, file(name, string(data)))
	}
	return tarOf(t, entries...)
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// importOne imports an archive of one image.
func importOne(t *testing.T, s *image.Store, archive []byte) (image.Image, error) {
	t.Helper()
	images, err := s.ImportFile(t.Context(), writeFile(t, filepath.Join(t.TempDir(), "a.tar"), archive))
	if err != nil {
		return image.Image{}, err
	}
	if len(images) != 1 {
		t.Fatalf("%d images, want 1", len(images))
	}
	return images[0], nil
}

func mustImport(t *testing.T, s *image.Store, archive []byte) image.Image {
	t.Helper()
	img, err := importOne(t, s, archive)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// mount mounts an image until the end of the test.
func mount(t *testing.T, s *image.Store, img image.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "container")
	t.Cleanup(func() {
		if err := s.Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	rootfs, err := s.Mount(context.Background(), img, dir)
	if err != nil {
		t.Fatal(err)
	}
	return rootfs
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func entriesOf(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
