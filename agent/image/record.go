package image

import (
	"cmp"
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

// record is an image as its file holds it.
type record struct {
	ID     string            `json:"id"`
	Digest string            `json:"digest,omitempty"`
	Names  []string          `json:"names"`
	Size   int64             `json:"size"`
	Config ociv1.ImageConfig `json:"config"`
	Layers []string          `json:"layers"`
	// Generation orders records: a crash while a name moves leaves it in two of them, and the higher
	// generation has it.
	Generation uint64 `json:"generation"`
}

func (r *record) image() Image {
	return Image{ID: r.ID, Digest: r.Digest, Names: slices.Clone(r.Names), Size: r.Size, Config: r.Config,
		Layers: slices.Clone(r.Layers)}
}

func (s *Store) recordPath(id string) string {
	return filepath.Join(s.dir, "images", strings.TrimPrefix(id, "sha256:")+".json")
}

// keep writes an image with its names, merging it with what is known of the same image, and takes the names
// away from the images that had them.
func (s *Store) keep(r record) (Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.records[r.ID]; old != nil {
		r.Names = append(r.Names, old.Names...)
		r.Digest = cmp.Or(r.Digest, old.Digest)
	}
	slices.Sort(r.Names)
	r.Names = slices.Compact(r.Names)
	r.Generation = s.nextGen
	if err := s.writeJSON(s.recordPath(r.ID), r); err != nil {
		return Image{}, err
	}
	s.nextGen++
	s.records[r.ID] = &r
	for _, n := range r.Names {
		previous := s.records[s.names[n]]
		s.names[n] = r.ID
		if previous == nil || previous.ID == r.ID {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(previous.Names), func(o string) bool { return o == n })
		if err := s.rename(previous, left); err != nil {
			return Image{}, err
		}
	}
	return r.image(), nil
}

// rename gives a record other names, in its file first. It needs mu held.
func (s *Store) rename(r *record, names []string) error {
	changed := *r
	changed.Names = names
	if err := s.writeJSON(s.recordPath(r.ID), changed); err != nil {
		return err
	}
	for _, n := range r.Names {
		if s.names[n] == r.ID && !slices.Contains(names, n) {
			delete(s.names, n)
		}
	}
	s.records[r.ID] = &changed
	return nil
}

// drop deletes a record. It needs mu held.
func (s *Store) drop(r *record) error {
	if err := os.Remove(s.recordPath(r.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(filepath.Join(s.dir, "images")); err != nil {
		return err
	}
	for _, n := range r.Names {
		if s.names[n] == r.ID {
			delete(s.names, n)
		}
	}
	delete(s.records, r.ID)
	return nil
}

// unlinkUnused moves the layers that neither a record nor work in progress needs to tmp/, and gives the places
// for the caller to delete without the lock. It needs mu held.
func (s *Store) unlinkUnused() []string {
	used := map[string]bool{}
	for _, r := range s.records {
		for _, l := range r.Layers {
			used[layerDirName(l)] = true
		}
	}
	for l := range s.pins {
		used[layerDirName(l)] = true
	}
	entries, err := os.ReadDir(s.layersDir())
	if err != nil {
		s.log.Warn("cannot list layers; unused ones stay until the next start", "err", err)
		return nil
	}
	var doomed []string
	for _, e := range entries {
		if used[e.Name()] {
			continue
		}
		dst, err := os.MkdirTemp(s.tmpDir(), "gone-")
		if err == nil {
			err = os.Rename(filepath.Join(s.layersDir(), e.Name()), filepath.Join(dst, e.Name()))
			doomed = append(doomed, dst)
		}
		if err != nil {
			s.log.Warn("an unused layer stays until the next start", "layer", e.Name(), "err", err)
		}
	}
	return doomed
}

// recover reads the records and clears what a crash left: temporary folders, layers that nobody names, and
// records whose layers are gone.
func (s *Store) recover() error {
	if err := s.clearTmp(); err != nil {
		return err
	}
	records, damaged, err := s.readRecords()
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(a.Generation, b.Generation) })
	for _, r := range records {
		for _, n := range r.Names {
			s.names[n] = r.ID
		}
		s.records[r.ID] = r
		s.nextGen = max(s.nextGen, r.Generation+1)
	}
	for _, r := range records {
		r.Names = slices.DeleteFunc(r.Names, func(n string) bool { return s.names[n] != r.ID })
	}
	if damaged {
		// An unreadable record may stand for an image that runs: its layers must not be taken for unused.
		s.log.Warn("layers are not swept while an image record is unreadable; delete the record to go on")
		return nil
	}
	for _, dir := range s.unlinkUnused() {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("image store: sweep unused layers: %w", err)
		}
	}
	return nil
}

func (s *Store) clearTmp() error {
	entries, err := os.ReadDir(s.tmpDir())
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.tmpDir(), e.Name())); err != nil {
			return fmt.Errorf("image store: sweep temporary files: %w", err)
		}
	}
	return nil
}

// readRecords reads every record whose layers are there; damaged tells that some file could not be parsed.
func (s *Store) readRecords() (records []*record, damaged bool, err error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "images"))
	if err != nil {
		return nil, false, fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, "images", e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, false, fmt.Errorf("image store: %w", err)
		}
		r := &record{}
		if err := json.Unmarshal(data, r); err != nil || s.recordPath(r.ID) != path {
			s.log.Warn("unreadable image record", "file", path, "err", err)
			damaged = true
			continue
		}
		if missing := slices.IndexFunc(r.Layers, func(l string) bool { return !s.hasLayer(l) }); missing >= 0 {
			s.log.Warn("image has lost a layer and is forgotten", "image", r.ID, "layer", r.Layers[missing])
			if err := os.Remove(path); err != nil {
				return nil, false, fmt.Errorf("image store: %w", err)
			}
			continue
		}
		records = append(records, r)
	}
	return records, damaged, nil
}

// writeJSON replaces a file of the store at once: a crash leaves the old or the new content.
func (s *Store) writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	tmp, err := os.CreateTemp(s.tmpDir(), "json-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
