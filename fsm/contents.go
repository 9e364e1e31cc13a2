package fsm

import (
	"fmt"
	"io"
)

// Contents is what a snapshot holds.
type Contents struct {
	Revision uint64 `json:"revision"`
	// Index is the position in the log up to which the state had applied.
	Index   uint64 `json:"index"`
	Objects int    `json:"objects"`
	Digest  string `json:"digest"`
	// Usage is what each resource takes.
	Usage map[string]Usage `json:"usage"`
}

// Usage is what the objects of one resource take.
type Usage struct {
	Objects int `json:"objects"`
	// Bytes are those of the encoded objects, not compressed.
	Bytes int64 `json:"bytes"`
}

// ReadContents reads a whole snapshot and verifies it, without knowing its kinds. It keeps one object at a time in
// memory. It fails with ErrBadSnapshot, or with the error of r.
func ReadContents(r io.Reader) (Contents, error) {
	c := Contents{Usage: map[string]Usage{}}
	s, err := scanSnapshot(r, func(items *itemReader, h snapshotHeader) (*state, error) {
		c.Revision, c.Index, c.Objects = h.Revision, h.Index, h.Count
		s := &state{revision: h.Revision, outcomes: outcomes{forgotten: h.Forgotten}}
		for range h.Count {
			var rec snapshotRecord
			if err := items.next(&rec, "object"); err != nil {
				return nil, err
			}
			s.sum.toggleObject(&Object{Key: Key{rec.Resource, rec.Namespace, rec.Name}, Revision: rec.Revision, Raw: rec.Raw})
			u := c.Usage[rec.Resource]
			c.Usage[rec.Resource] = Usage{u.Objects + 1, u.Bytes + int64(len(rec.Raw))}
		}
		for range h.Outcomes {
			var o snapshotOutcome
			if err := items.next(&o, "outcome"); err != nil {
				return nil, err
			}
			s.sum.toggleOutcome(o.outcome())
		}
		if h.Staged != nil {
			return nil, fmt.Errorf("%w: another one is staged in it", ErrBadSnapshot)
		}
		return s, nil
	})
	if err != nil {
		return c, err
	}
	c.Digest = s.digest()
	return c, nil
}
