package image

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

func (c *catalog) lookup(ref string) (Image, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.find(ref)
	if r == nil {
		return Image{}, false
	}
	return r.image(), true
}

// find needs mu held. It returns nil if there is no such image.
func (c *catalog) find(ref string) *record {
	if id, ok := asID(ref); ok {
		return c.records[id]
	}
	full, err := Normalize(ref)
	if err != nil {
		return nil
	}
	return c.records[c.names[full]]
}

func (c *catalog) list() []Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	images := make([]Image, 0, len(c.records))
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		images = append(images, c.records[id].image())
	}
	return images
}

func (c *catalog) hasAll(ids []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id string) bool { return c.records[id] == nil })
}

// pin keeps layers from being swept until the returned function is called.
func (c *catalog) pin(chain []string) (unpin func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range chain {
		c.pins[id]++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range chain {
			if c.pins[id]--; c.pins[id] == 0 {
				delete(c.pins, id)
			}
		}
	}
}

// remove takes a name away, and with the last one the image and the layers that only it has.
func (c *catalog) remove(ref string) error {
	doomed, err := c.unlink(ref)
	for _, dir := range doomed {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	return nil
}

// unlink does what needs the lock of remove, and gives what is left to delete.
func (c *catalog) unlink(ref string) (doomed []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.find(ref)
	if r == nil {
		return nil, ErrNotFound
	}
	if left := tagsWithout(r, ref); len(left) > 0 {
		return nil, c.rename(r, left)
	}
	if err := c.drop(r); err != nil {
		return nil, err
	}
	return c.unlinkUnused(), nil
}

// tagsWithout gives the names that an image keeps when ref is taken away: none if ref is its last tag, or not a
// tag at all.
func tagsWithout(r *record, ref string) []string {
	full, err := Normalize(ref)
	if _, id := asID(ref); id || err != nil || strings.Contains(full, "@") {
		return nil
	}
	left := slices.DeleteFunc(slices.Clone(r.Names), func(n string) bool { return n == full })
	if !slices.ContainsFunc(left, func(n string) bool { return !strings.Contains(n, "@") }) {
		return nil
	}
	return left
}
