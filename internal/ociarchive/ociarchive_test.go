package ociarchive_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/holt-project/holt/internal/ociarchive"
)

func spec() ociarchive.Spec {
	return ociarchive.Spec{
		Name: "holt.local/x:1",
		Layers: []ociarchive.Layer{
			{"/bin/x": {Data: []byte("x"), Mode: 0o755}, "/etc/a/b": {Data: []byte("b")}},
			{"/etc/a/c": {Data: []byte("c")}},
		},
		Config: ociv1.ImageConfig{Entrypoint: []string{"/bin/x"}, User: "1:1", Labels: map[string]string{"l": "v", "k": "w"}},
	}
}

func write(t *testing.T, s ociarchive.Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := ociarchive.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteIsDeterministic(t *testing.T) {
	if !bytes.Equal(write(t, spec()), write(t, spec())) {
		t.Error("two archives of one spec differ")
	}
}

func TestWriteMakesALayoutWithMatchingDigests(t *testing.T) {
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(write(t, spec())))
	for {
		hdr, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[hdr.Name] = data
		if want, ok := strings.CutPrefix(hdr.Name, "blobs/sha256/"); ok && hdr.Typeflag == tar.TypeReg {
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
				t.Errorf("blob %s has the digest %x", want, sum)
			}
		}
	}
	var index ociv1.Index
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "holt.local/x:1"}
	if diff := cmp.Diff(want, index.Manifests[0].Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	var m ociv1.Manifest
	if err := json.Unmarshal(files["blobs/sha256/"+index.Manifests[0].Digest.Encoded()], &m); err != nil {
		t.Fatal(err)
	}
	var image ociv1.Image
	if err := json.Unmarshal(files["blobs/sha256/"+m.Config.Digest.Encoded()], &image); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec().Config, image.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if len(m.Layers) != 2 || len(image.RootFS.DiffIDs) != 2 {
		t.Errorf("%d layers, %d diff IDs; want 2", len(m.Layers), len(image.RootFS.DiffIDs))
	}
}

func TestWriteTakesFilesOfTheHost(t *testing.T) {
	s := spec()
	source := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(source, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Layers[0]["/bin/x"] = ociarchive.File{Source: source, Mode: 0o755}
	if !bytes.Equal(write(t, s), write(t, spec())) {
		t.Error("a source and the same data give different archives")
	}
}

func TestWriteRefusesWhatItCannotWrite(t *testing.T) {
	for name, change := range map[string]func(*ociarchive.Spec){
		"no tag":     func(s *ociarchive.Spec) { s.Name = "localhost:5000/x" },
		"no name":    func(s *ociarchive.Spec) { s.Name = "" },
		"no source":  func(s *ociarchive.Spec) { s.Layers[0]["/y"] = ociarchive.File{Source: "/does/not/exist"} },
		"empty path": func(s *ociarchive.Spec) { s.Layers[0]["/"] = ociarchive.File{} },
	} {
		s := spec()
		change(&s)
		if err := ociarchive.Write(io.Discard, s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
