package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
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
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r, magic); err != nil || !bytes.Equal(magic, snapshotMagic) {
		return c, errors.Join(ErrBadSnapshot, err)
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return c, err
	}
	defer z.Close()
	dec := decMode.NewDecoder(z)
	var h snapshotHeader
	if err := dec.Decode(&h); err != nil {
		return c, fmt.Errorf("%w: header: %w", ErrBadSnapshot, err)
	}
	c.Revision, c.Index, c.Objects = h.Revision, h.Index, h.Count
	s := &state{revision: h.Revision}
	for range h.Count {
		var rec snapshotRecord
		if err := dec.Decode(&rec); err != nil {
			return c, fmt.Errorf("%w: record: %w", ErrBadSnapshot, err)
		}
		o := &Object{Key: Key{rec.Resource, rec.Namespace, rec.Name}, Revision: rec.Revision, Raw: rec.Raw}
		s.sum.toggle(o)
		u := c.Usage[o.Resource]
		c.Usage[o.Resource] = Usage{u.Objects + 1, u.Bytes + int64(len(o.Raw))}
	}
	var end snapshotTrailer
	if err := dec.Decode(&end); err != nil || end.Digest != s.digest() {
		return c, errors.Join(ErrBadSnapshot, err)
	}
	c.Digest = end.Digest
	if err := dec.Decode(&end); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%w: after the trailer: %w", ErrBadSnapshot, err)
	}
	return c, nil
}
