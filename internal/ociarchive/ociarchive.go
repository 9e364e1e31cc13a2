package ociarchive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "crypto/sha256" // digests panic in a program that does not link it
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is one file of a layer: its content is Data, or that of the host's file Source if that is set.
type File struct {
	Source string
	Data   []byte
	// Mode is permission bits with setuid, setgid and sticky as in chmod(2). Zero means 0644.
	Mode int64
}

// Layer maps absolute paths in the image to files. Folders on the way are made, with mode 0755.
type Layer map[string]File

// Spec describes an image.
type Spec struct {
	// Name is the image's full name with its tag, such as holt.local/whoami:1.
	Name string
	// Layers are the image's files, the lowest layer first.
	Layers []Layer
	// Config is what the image says about how to run it.
	Config ociv1.ImageConfig
	// Architecture is in Go's spelling. Empty means that of the running program.
	Architecture string
}

// epoch is the time of everything in an archive.
var epoch = time.Unix(0, 0).UTC()

// Write writes an OCI-layout archive with the image. Errors are those of reading the sources and of w, and of a
// Spec that cannot be written.
func Write(w io.Writer, spec Spec) error {
	repo, tag, ok := strings.Cut(path.Base(spec.Name), ":")
	if !ok || repo == "" || tag == "" {
		return fmt.Errorf("image name %q: want a full name with a tag, such as holt.local/whoami:1", spec.Name)
	}
	image := ociv1.Image{Created: &epoch, Config: spec.Config, RootFS: ociv1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	image.OS, image.Architecture = "linux", spec.Architecture
	if image.Architecture == "" {
		image.Architecture = runtime.GOARCH
	}
	var b blobs
	manifest := ociv1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageManifest, Layers: []ociv1.Descriptor{},
	}
	for i, files := range spec.Layers {
		plain, packed, err := packLayer(files)
		if err != nil {
			return fmt.Errorf("image %s, layer %d: %w", spec.Name, i+1, err)
		}
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, digest.FromBytes(plain))
		manifest.Layers = append(manifest.Layers, b.add(ociv1.MediaTypeImageLayerGzip, packed))
	}
	var err error
	if manifest.Config, err = b.addJSON(ociv1.MediaTypeImageConfig, image); err != nil {
		return err
	}
	top, err := b.addJSON(ociv1.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	top.Platform = &ociv1.Platform{OS: image.OS, Architecture: image.Architecture}
	top.Annotations = map[string]string{
		ociv1.AnnotationRefName:    tag,
		"io.containerd.image.name": spec.Name, // what importers take for the full name
	}
	return b.writeLayout(w, ociv1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageIndex, Manifests: []ociv1.Descriptor{top},
	})
}

// blobs are an archive's contents by their names in it.
type blobs struct{ files map[string][]byte }

func (b *blobs) add(mediaType string, data []byte) ociv1.Descriptor {
	d := digest.FromBytes(data)
	if b.files == nil {
		b.files = map[string][]byte{}
	}
	b.files[path.Join(ociv1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())] = data
	return ociv1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (b *blobs) addJSON(mediaType string, v any) (ociv1.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ociv1.Descriptor{}, err
	}
	return b.add(mediaType, data), nil
}

func (b *blobs) writeLayout(w io.Writer, index ociv1.Index) error {
	layout, err := json.Marshal(ociv1.ImageLayout{Version: ociv1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	indexJSON, err := json.Marshal(index)
	if err != nil {
		return err
	}
	files := Layer{ociv1.ImageLayoutFile: {Data: layout}, ociv1.ImageIndexFile: {Data: indexJSON}}
	for name, data := range b.files {
		files[name] = File{Data: data}
	}
	return writeTar(w, files)
}

func packLayer(files Layer) (plain, packed []byte, err error) {
	var layer, zipped bytes.Buffer
	if err := writeTar(&layer, files); err != nil {
		return nil, nil, err
	}
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(layer.Bytes()); err != nil {
		return nil, nil, err
	}
	if err := z.Close(); err != nil {
		return nil, nil, err
	}
	return layer.Bytes(), zipped.Bytes(), nil
}

// writeTar writes files in the order of their names, each after the folders that it lies in.
func writeTar(w io.Writer, files Layer) error {
	t := tar.NewWriter(w)
	made := map[string]bool{".": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		inside := strings.TrimPrefix(path.Clean("/"+name), "/")
		if inside == "" {
			return errors.New("a file needs a name")
		}
		if err := writeFolders(t, path.Dir(inside), made); err != nil {
			return err
		}
		if err := writeFile(t, inside, files[name]); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeFolders(t *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := writeFolders(t, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch})
}

func writeFile(t *tar.Writer, name string, f File) error {
	data := f.Data
	if f.Source != "" {
		var err error
		if data, err = os.ReadFile(f.Source); err != nil {
			return err
		}
	}
	mode := f.Mode
	if mode == 0 {
		mode = 0o644
	}
	hdr := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: epoch}
	if err := t.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}
