package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"}

// imported is what imports.json remembers of an archive.
type imported struct {
	Size    int64    `json:"size"`
	ModTime int64    `json:"modTime"` // nanoseconds since 1970
	Images  []string `json:"images"`  // IDs
}

// ImportFolder imports the archives in a folder (.tar, .tar.gz, .tgz, .tar.zst, .tzst; not in folders below it),
// in the order of their names. An archive of the same size and modification time as before is skipped while its
// images are there. A bad archive does not stop the others; the error names each bad one.
func (s *Store) ImportFolder(ctx context.Context, folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("import images: %w", err)
	}
	s.importing.Lock()
	defer s.importing.Unlock()
	known := s.readImports()
	changed := false
	var errs []error
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !hasArchiveSuffix(e.Name()) || e.IsDir() {
			continue
		}
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		fresh, err := s.importUnlessKnown(ctx, path, known)
		changed = changed || fresh
		errs = append(errs, err)
	}
	if changed {
		errs = append(errs, s.dir.writeJSON(s.dir.imports(), known))
	}
	return errors.Join(errs...)
}

func hasArchiveSuffix(name string) bool {
	return slices.ContainsFunc(archiveSuffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

// readImports needs importing held. Without the file everything is imported again, which changes nothing.
func (s *Store) readImports() map[string]imported {
	known := map[string]imported{}
	data, err := os.ReadFile(s.dir.imports())
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("importing every archive again", "err", err)
		return map[string]imported{}
	}
	return known
}

// importUnlessKnown imports an archive that known does not have as it is, and tells whether known changed.
func (s *Store) importUnlessKnown(ctx context.Context, path string, known map[string]imported) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("import %s: %w", path, err)
	}
	now := imported{Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	if old, ok := known[path]; ok && old.Size == now.Size && old.ModTime == now.ModTime && s.catalog.hasAll(old.Images) {
		return false, nil
	}
	images, err := s.importArchive(ctx, path)
	if err != nil {
		return false, err
	}
	for _, img := range images {
		now.Images = append(now.Images, img.ID)
	}
	known[path] = now
	return true, nil
}

// ImportFile imports the images of one archive, whatever its name: an OCI layout or docker save's form, plain or
// compressed by gzip or zstd. On an error it returns the images that were imported before it.
func (s *Store) ImportFile(ctx context.Context, path string) ([]Image, error) {
	s.importing.Lock()
	defer s.importing.Unlock()
	return s.importArchive(ctx, path)
}

// importArchive needs importing held.
func (s *Store) importArchive(ctx context.Context, path string) ([]Image, error) {
	t, err := openTar(ctx, path, s.dir.tmp(), s.opts.MaxUnpacked)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	images, err := s.importTar(ctx, t)
	if err := errors.Join(err, t.close()); err != nil {
		return images, fmt.Errorf("import %s: %w", path, err)
	}
	for _, img := range images {
		s.log.Info("image imported", "archive", path, "names", img.Names, "image", img.ID)
	}
	return images, nil
}

func (s *Store) importTar(ctx context.Context, t *tarFile) ([]Image, error) {
	var plans []*plan
	var err error
	switch {
	case t.has(ociv1.ImageLayoutFile) && t.has(ociv1.ImageIndexFile): // docker's newer archives are both
		plans, err = planLayout(t)
	case t.has(dockerManifestFile):
		plans, err = planDocker(t)
	default:
		err = fmt.Errorf("%w: neither an OCI layout (oci-layout, index.json) nor a docker-save archive (%s)",
			ErrCorrupt, dockerManifestFile)
	}
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, p := range plans {
		img, err := s.install(ctx, p)
		if err != nil {
			return images, err
		}
		images = append(images, img)
	}
	return images, nil
}
