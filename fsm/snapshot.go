package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
)

// snapshotMagic begins every snapshot. Its last byte is the version of the format.
var snapshotMagic = []byte("holt-snapshot\x01")

// maxWindow bounds the memory that a damaged stream can ask for; the encoder's windows are smaller.
const maxWindow = 64 << 20

// ErrBadSnapshot says that a snapshot is damaged, cut short or of an unknown version.
var ErrBadSnapshot = errors.New("the snapshot is damaged or of an unknown version")

// A snapshot is the magic, then a zstd stream of CBOR items: a header, its count of records, a trailer. The
// trailer's digest is that of the whole state, so nothing that was damaged on the way is ever restored.
type (
	snapshotHeader struct {
		Revision uint64 `cbor:"1,keyasint"`
		Index    uint64 `cbor:"2,keyasint"`
		Count    int    `cbor:"3,keyasint"`
		// Staged is nil if there is none.
		Staged *snapshotStaging `cbor:"6,keyasint,omitempty"`
	}
	snapshotRecord struct {
		Resource  string `cbor:"1,keyasint"`
		Namespace string `cbor:"2,keyasint,omitempty"`
		Name      string `cbor:"3,keyasint"`
		Revision  uint64 `cbor:"4,keyasint"`
		Raw       []byte `cbor:"5,keyasint"`
	}
	snapshotTrailer struct {
		Digest string `cbor:"1,keyasint"`
	}
)

// WriteTo streams the view as a snapshot. Writes to the store go on meanwhile.
func (v View) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	if _, err := counted.Write(snapshotMagic); err != nil {
		return counted.n, err
	}
	z, err := zstd.NewWriter(counted, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return counted.n, err
	}
	if err := v.encode(encMode.NewEncoder(z)); err != nil {
		_ = z.Close() // the first error is the one to report
		return counted.n, fmt.Errorf("write snapshot: %w", err)
	}
	return counted.n, z.Close()
}

func (v View) encode(enc *cbor.Encoder) error {
	if err := enc.Encode(snapshotHeader{v.Revision(), v.Index(), v.Len(), v.s.staged.header()}); err != nil {
		return err
	}
	for o := range v.All() {
		if err := enc.Encode(snapshotRecord{o.Resource, o.Namespace, o.Name, o.Revision, o.Raw}); err != nil {
			return err
		}
	}
	if err := v.s.staged.encode(enc.Encode); err != nil {
		return err
	}
	return enc.Encode(snapshotTrailer{v.Digest()})
}

// Restore replaces the state with a snapshot's and cuts every watch. On error the state is unchanged.
func (s *Store) Restore(r io.Reader) error {
	next, err := readSnapshot(s.schema, r)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.reset(next)
	return nil
}

func readSnapshot(schema *Schema, r io.Reader) (*state, error) {
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r, magic); err != nil || !bytes.Equal(magic, snapshotMagic) {
		return nil, ErrBadSnapshot
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	dec := decMode.NewDecoder(z)
	var h snapshotHeader
	if err := dec.Decode(&h); err != nil {
		return nil, fmt.Errorf("%w: header: %v", ErrBadSnapshot, err)
	}
	t := emptyState().txn(schema)
	for range h.Count {
		if err := t.load(dec); err != nil {
			return nil, err
		}
	}
	t.revision = h.Revision
	next := t.commit(h.Index)
	if next.staged, err = loadStaging(h.Staged, dec.Decode); err != nil {
		return nil, fmt.Errorf("%w: staged: %v", ErrBadSnapshot, err)
	}
	var end snapshotTrailer
	if err := dec.Decode(&end); err != nil || end.Digest != next.digest() {
		return nil, fmt.Errorf("%w: digest %q, want %q", ErrBadSnapshot, next.digest(), end.Digest)
	}
	// The stream's own checksum is at its end, and covers the header, which the digest does not.
	if err := dec.Decode(&end); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: after the trailer: %v", ErrBadSnapshot, err)
	}
	return next, nil
}

// load reads one record. An object that this binary cannot decode stops the restore: to drop it would be to
// diverge.
func (t *txn) load(dec *cbor.Decoder) error {
	var rec snapshotRecord
	if err := dec.Decode(&rec); err != nil {
		return fmt.Errorf("%w: record: %v", ErrBadSnapshot, err)
	}
	o, err := t.object(Key{rec.Resource, rec.Namespace, rec.Name}, rec.Raw, rec.Revision)
	if err != nil {
		return err
	}
	t.put(nil, o)
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
