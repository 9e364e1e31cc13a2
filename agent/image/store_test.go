package image_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/agent/image"
)

func jsonInto(data []byte, v any) error { return json.Unmarshal(data, v) }

func TestImagesOutliveTheProcess(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root, image.Options{})
	mustImport(t, s, small(t, "holt.local/x:1", "one").oci(t))
	mustImport(t, s, small(t, "holt.local/y:1", "two").docker(t))
	before := s.List()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after := openStore(t, root, image.Options{}).List()
	if diff := cmp.Diff(before, after); diff != "" || len(after) != 2 {
		t.Errorf("images (-before +after):\n%s", diff)
	}
}

func TestOpenSweepsWhatACrashLeft(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root, image.Options{})
	img := mustImport(t, s, small(t, "holt.local/x:1", "one").oci(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	layers := entriesOf(t, filepath.Join(root, "layers"))
	writeFile(t, filepath.Join(root, "tmp/layer-1/fs/half"), nil)
	writeFile(t, filepath.Join(root, "tmp/json-2"), nil)
	writeFile(t, filepath.Join(root, "layers/0123/fs/of-no-record"), nil)
	s = openStore(t, root, image.Options{})
	if left := entriesOf(t, filepath.Join(root, "tmp")); len(left) > 0 {
		t.Errorf("tmp holds %v", left)
	}
	if diff := cmp.Diff(layers, entriesOf(t, filepath.Join(root, "layers"))); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// An image that lost a layer is no image: it must be fetched again rather than fail at each mount.
	if err := os.RemoveAll(filepath.Join(root, "layers", layers[0])); err != nil {
		t.Fatal(err)
	}
	if _, ok := openStore(t, root, image.Options{}).Lookup(img.ID); ok {
		t.Error("an image without its layer is still there")
	}
}

func TestAnUnreadableRecordKeepsLayers(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root, image.Options{})
	mustImport(t, s, small(t, "holt.local/x:1", "one").oci(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	layers := entriesOf(t, filepath.Join(root, "layers"))
	record := filepath.Join(root, "images", entriesOf(t, filepath.Join(root, "images"))[0])
	writeFile(t, record, []byte(`{"id":`))
	s = openStore(t, root, image.Options{})
	if diff := cmp.Diff(layers, entriesOf(t, filepath.Join(root, "layers"))); diff != "" || len(s.List()) != 0 {
		t.Errorf("layers (-want +got):\n%s\nimages %v", diff, s.List())
	}
}

func TestAFolderHasOneOwner(t *testing.T) {
	root := t.TempDir()
	openStore(t, root, image.Options{})
	if s, err := image.Open(root, image.Options{}, slog.New(slog.DiscardHandler)); err == nil {
		_ = s.Close()
		t.Error("a second owner got the folder")
	}
}

func TestANameBelongsToTheLastImage(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root, image.Options{})
	first := mustImport(t, s, small(t, "holt.local/x:1", "one").oci(t))
	second := mustImport(t, s, small(t, "holt.local/x:1", "two").oci(t))
	check := func(s *image.Store) {
		t.Helper()
		if got, _ := s.Lookup("holt.local/x:1"); got.ID != second.ID {
			t.Errorf("the name stands for %s", got.ID)
		}
		got, ok := s.Lookup(first.ID)
		if !ok || slices.Contains(got.Names, "holt.local/x:1") {
			t.Errorf("the first image is %v, %v", got, ok)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(openStore(t, root, image.Options{}))
}

func TestRemoveKeepsSharedLayers(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root, image.Options{})
	base := tarOf(t, file("base", "base"))
	a := fixture{name: "holt.local/a:1", layers: [][]byte{base, tarOf(t, file("a", "a"))}}
	b := fixture{name: "holt.local/b:1", layers: [][]byte{base, tarOf(t, file("b", "b"))}}
	mustImport(t, s, a.oci(t))
	imgB := mustImport(t, s, b.oci(t))
	if n := len(entriesOf(t, filepath.Join(root, "layers"))); n != 3 {
		t.Errorf("%d layers, want 3: the base is shared", n)
	}
	if err := s.Remove(t.Context(), "holt.local/a:1"); err != nil {
		t.Fatal(err)
	}
	if n := len(entriesOf(t, filepath.Join(root, "layers"))); n != 2 {
		t.Errorf("%d layers after the removal, want 2", n)
	}
	rootfs := mount(t, s, imgB)
	if got := mustRead(t, filepath.Join(rootfs, "base")) + mustRead(t, filepath.Join(rootfs, "b")); got != "baseb" {
		t.Errorf("files hold %q", got)
	}
	if err := s.Remove(t.Context(), "holt.local/a:1"); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("a second removal gives %v", err)
	}
}

func TestRemoveOfOneTagLeavesTheOthers(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	img := mustImport(t, s, small(t, "holt.local/x:1", "one").oci(t))
	mustImport(t, s, small(t, "holt.local/x:2", "one").oci(t))
	if err := s.Remove(t.Context(), "holt.local/x:1"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Lookup("holt.local/x:1"); ok {
		t.Error("the tag is still there")
	}
	if got, ok := s.Lookup("holt.local/x:2"); !ok || got.ID != img.ID {
		t.Error("the other tag is gone")
	}
	if err := s.Remove(t.Context(), img.ID); err != nil {
		t.Fatal(err)
	}
	if len(s.List()) != 0 {
		t.Errorf("left: %v", s.List())
	}
}
