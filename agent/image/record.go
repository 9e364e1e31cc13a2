package image

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

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

// catalog knows which images there are, in memory and in their records. Its methods may be called concurrently,
// except for recover.
type catalog struct {
	dir folder
	log *slog.Logger

	mu      sync.Mutex         // guards the rest
	records map[string]*record // by image ID
	names   map[string]string  // normalized name to image ID
	pins    map[string]int     // chain IDs that work in progress counts on
	nextGen uint64             // above every record's generation
}

func newCatalog(dir folder, log *slog.Logger) *catalog {
	return &catalog{dir: dir, log: log, records: map[string]*record{}, names: map[string]string{},
		pins: map[string]int{}, nextGen: 1}
}

// keep writes an image with its names, merging it with what is known of the same image, and takes the names
// away from the images that had them.
func (c *catalog) keep(r record) (Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.records[r.ID]; old != nil {
		r.Names = append(r.Names, old.Names...)
		r.Digest = cmp.Or(r.Digest, old.Digest)
	}
	slices.Sort(r.Names)
	r.Names = slices.Compact(r.Names)
	r.Generation = c.nextGen
	if err := c.dir.writeJSON(c.dir.record(r.ID), r); err != nil {
		return Image{}, err
	}
	c.nextGen++
	c.records[r.ID] = &r
	for _, n := range r.Names {
		previous := c.records[c.names[n]]
		c.names[n] = r.ID
		if previous == nil || previous.ID == r.ID {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(previous.Names), func(o string) bool { return o == n })
		if err := c.rename(previous, left); err != nil {
			return Image{}, err
		}
	}
	return r.image(), nil
}

// rename gives a record other names, in its file first. It needs mu held.
func (c *catalog) rename(r *record, names []string) error {
	changed := *r
	changed.Names = names
	if err := c.dir.writeJSON(c.dir.record(r.ID), changed); err != nil {
		return err
	}
	for _, n := range r.Names {
		if c.names[n] == r.ID && !slices.Contains(names, n) {
			delete(c.names, n)
		}
	}
	c.records[r.ID] = &changed
	return nil
}

// drop deletes a record. It needs mu held.
func (c *catalog) drop(r *record) error {
	if err := os.Remove(c.dir.record(r.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(c.dir.images()); err != nil {
		return err
	}
	for _, n := range r.Names {
		if c.names[n] == r.ID {
			delete(c.names, n)
		}
	}
	delete(c.records, r.ID)
	return nil
}

// unlinkUnused moves the layers that neither a record nor work in progress needs to tmp/, and gives the places
// for the caller to delete without the lock. It needs mu held.
func (c *catalog) unlinkUnused() []string {
	used := map[string]bool{}
	for _, r := range c.records {
		for _, l := range r.Layers {
			used[layerDirName(l)] = true
		}
	}
	for l := range c.pins {
		used[layerDirName(l)] = true
	}
	entries, err := os.ReadDir(c.dir.layers())
	if err != nil {
		c.log.Warn("cannot list layers; unused ones stay until the next start", "err", err)
		return nil
	}
	var doomed []string
	for _, e := range entries {
		if used[e.Name()] {
			continue
		}
		dst, err := os.MkdirTemp(c.dir.tmp(), "gone-")
		if err == nil {
			err = os.Rename(filepath.Join(c.dir.layers(), e.Name()), filepath.Join(dst, e.Name()))
			doomed = append(doomed, dst)
		}
		if err != nil {
			c.log.Warn("an unused layer stays until the next start", "layer", e.Name(), "err", err)
		}
	}
	return doomed
}

// recover reads the records and clears what a crash left: temporary folders, layers that nobody names, and
// records whose layers are gone.
func (c *catalog) recover() error {
	if err := c.dir.clearTmp(); err != nil {
		return err
	}
	records, damaged, err := c.readRecords()
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(a.Generation, b.Generation) })
	for _, r := range records {
		for _, n := range r.Names {
			c.names[n] = r.ID
		}
		c.records[r.ID] = r
		c.nextGen = max(c.nextGen, r.Generation+1)
	}
	for _, r := range records {
		r.Names = slices.DeleteFunc(r.Names, func(n string) bool { return c.names[n] != r.ID })
	}
	if damaged {
		// An unreadable record may stand for an image that runs: its layers must not be taken for unused.
		c.log.Warn("layers are not swept while an image record is unreadable; delete the record to go on")
		return nil
	}
	for _, dir := range c.unlinkUnused() {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("image store: sweep unused layers: %w", err)
		}
	}
	return nil
}

// readRecords reads every record whose layers are there; damaged tells that some file could not be parsed.
func (c *catalog) readRecords() (records []*record, damaged bool, err error) {
	entries, err := os.ReadDir(c.dir.images())
	if err != nil {
		return nil, false, fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(c.dir.images(), e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, false, fmt.Errorf("image store: %w", err)
		}
		r := &record{}
		if err := json.Unmarshal(data, r); err != nil || c.dir.record(r.ID) != path {
			c.log.Warn("unreadable image record", "file", path, "err", err)
			damaged = true
			continue
		}
		if missing := slices.IndexFunc(r.Layers, func(l string) bool { return !c.dir.hasLayer(l) }); missing >= 0 {
			c.log.Warn("image has lost a layer and is forgotten", "image", r.ID, "layer", r.Layers[missing])
			if err := os.Remove(path); err != nil {
				return nil, false, fmt.Errorf("image store: %w", err)
			}
			continue
		}
		records = append(records, r)
	}
	return records, damaged, nil
}
