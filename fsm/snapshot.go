package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/holt-project/holt/internal/bugs"
)

// snapshotMagic begins every snapshot, and the version of the format follows: outcomes of requests are in the second.
const (
	snapshotMagic   = "holt-snapshot"
	snapshotOldest  = 1
	snapshotVersion = 2
)

// Bounds on the memory that a damaged stream can ask for before it is found out.
const (
	// maxWindow is the encoder's default.
	maxWindow = 8 << 20
	// maxItem is well above what one entry of the log can hold, and so an object.
	maxItem = 8 << 20
)

// ErrBadSnapshot says that a snapshot is damaged, cut short or of an unknown version.
var ErrBadSnapshot = errors.New("the snapshot is damaged or of an unknown version")

// A snapshot is the magic, then a zstd stream of CBOR items: a header, its counts of objects in order of their keys
// and of outcomes in order of the log, a trailer. The trailer's digest is that of the whole state, so nothing that was
// damaged on the way is ever restored.
type (
	snapshotHeader struct {
		Revision  uint64 `cbor:"1,keyasint"`
		Index     uint64 `cbor:"2,keyasint"`
		Count     int    `cbor:"3,keyasint"`
		Outcomes  int    `cbor:"4,keyasint,omitempty"`
		Forgotten uint64 `cbor:"5,keyasint,omitempty"`
		// Staged is nil if nothing is staged.
		Staged *snapshotStaging `cbor:"6,keyasint,omitempty"`
	}
	snapshotRecord struct {
		Resource  string `cbor:"1,keyasint"`
		Namespace string `cbor:"2,keyasint,omitempty"`
		Name      string `cbor:"3,keyasint"`
		Revision  uint64 `cbor:"4,keyasint"`
		Raw       []byte `cbor:"5,keyasint"`
	}
	snapshotOutcome struct {
		ID        RequestID `cbor:"1,keyasint"`
		Verb      Verb      `cbor:"2,keyasint"`
		Resource  string    `cbor:"3,keyasint,omitempty"`
		Namespace string    `cbor:"4,keyasint,omitempty"`
		Name      string    `cbor:"5,keyasint,omitempty"`
		Revision  uint64    `cbor:"6,keyasint,omitempty"`
		Index     uint64    `cbor:"7,keyasint"`
	}
	snapshotTrailer struct {
		Digest string `cbor:"1,keyasint"`
	}
)

func (o snapshotOutcome) outcome() Outcome {
	return Outcome{o.ID, o.Verb, Key{o.Resource, o.Namespace, o.Name}, o.Revision, o.Index}
}

// WriteTo streams the view as a snapshot. Writes to the store go on meanwhile.
func (v View) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	if _, err := counted.Write(append([]byte(snapshotMagic), snapshotVersion)); err != nil {
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
	done, count, skipped := v.s.outcomes, v.Len(), 0
	if count > 0 && bugs.On(bugs.SnapshotLeavesOut) {
		count, skipped = count-1, 1
	}
	h := snapshotHeader{v.Revision(), v.Index(), count, len(done.recent), done.forgotten, v.s.staged.header()}
	if err := enc.Encode(h); err != nil {
		return err
	}
	for o := range v.All() {
		if skipped > 0 {
			skipped--
			continue
		}
		if err := enc.Encode(snapshotRecord{o.Resource, o.Namespace, o.Name, o.Revision, o.Raw}); err != nil {
			return err
		}
	}
	for _, o := range done.recent {
		if err := enc.Encode(snapshotOutcome{o.ID, o.Verb, o.Resource, o.Namespace, o.Name, o.Revision, o.Index}); err != nil {
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
	next, err := s.readSnapshot(r)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.reset(next)
	return nil
}

func (s *Store) readSnapshot(r io.Reader) (*state, error) {
	return scanSnapshot(r, func(items *itemReader, h snapshotHeader) (_ *state, err error) {
		before := emptyState()
		if bugs.On(bugs.RestoreKeepsOld) {
			before = s.state.Load()
		}
		if bugs.On(bugs.WrongIndexAfterRestore) {
			h.Index++
		}
		t := before.txn(s.schema, s.cache, h.Index)
		if err := t.load(items, h); err != nil {
			return nil, err
		}
		if t.staged, err = loadStaging(h.Staged, items); err != nil {
			return nil, err
		}
		t.revision, t.outcomes.forgotten = h.Revision, h.Forgotten
		next, _ := t.commit()
		return next, nil
	})
}

// scanSnapshot reads a snapshot. load reads what the header counts, and returns the state that it makes, of which only
// the digest is used here.
func scanSnapshot(r io.Reader, load func(*itemReader, snapshotHeader) (*state, error)) (*state, error) {
	magic := make([]byte, len(snapshotMagic)+1)
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, ErrBadSnapshot
	}
	if v := magic[len(snapshotMagic)]; string(magic[:len(snapshotMagic)]) != snapshotMagic || v < snapshotOldest || v > snapshotVersion {
		return nil, ErrBadSnapshot
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	items := newItemReader(z)
	var h snapshotHeader
	if err := items.next(&h, "header"); err != nil {
		return nil, err
	}
	next, err := load(items, h)
	if err != nil {
		return nil, err
	}
	var end snapshotTrailer
	if err := items.next(&end, "trailer"); err != nil {
		return nil, err
	}
	if end.Digest != next.digest() {
		return nil, fmt.Errorf("%w: digest %q, want %q", ErrBadSnapshot, next.digest(), end.Digest)
	}
	return next, items.end()
}

// load reads the objects and outcomes that the header counts.
func (t *txn) load(items *itemReader, h snapshotHeader) error {
	if h.Outcomes < 0 || h.Outcomes > MaxOutcomes {
		return fmt.Errorf("%w: %d outcomes", ErrBadSnapshot, h.Outcomes)
	}
	var last []byte
	for range h.Count {
		key, err := t.loadObject(items, last)
		if err != nil {
			return err
		}
		last = key
	}
	t.done = make(map[RequestID]Outcome, h.Outcomes)
	at := h.Forgotten
	for range h.Outcomes {
		var o snapshotOutcome
		if err := items.next(&o, "outcome"); err != nil {
			return err
		}
		if _, twice := t.done[o.ID]; twice || o.Index < at || o.Index > h.Index {
			return fmt.Errorf("%w: outcome of entry %d out of order", ErrBadSnapshot, o.Index)
		}
		at = o.Index
		t.remember(o.outcome())
	}
	return nil
}

// loadObject reads an object, whose key must be above last. One that this binary cannot decode stops the restore: to
// drop it would be to diverge.
func (t *txn) loadObject(items *itemReader, last []byte) (key []byte, err error) {
	var rec snapshotRecord
	if err := items.next(&rec, "object"); err != nil {
		return nil, err
	}
	o, err := t.object(Key{rec.Resource, rec.Namespace, rec.Name}, rec.Raw, rec.Revision)
	if err != nil {
		return nil, err
	}
	key = objectKey(o.Key)
	if bytes.Compare(key, last) <= 0 || t.size+o.footprint() > t.schema.maxState {
		return nil, fmt.Errorf("%w: %s out of order, or beyond what a state can hold", ErrBadSnapshot, o.Key)
	}
	t.put(nil, o)
	return key, nil
}

// itemReader reads the items of a snapshot, and bounds what each may take.
type itemReader struct {
	from *io.LimitedReader
	dec  *cbor.Decoder
}

func newItemReader(r io.Reader) *itemReader {
	from := &io.LimitedReader{R: r}
	return &itemReader{from, decMode.NewDecoder(from)}
}

func (r *itemReader) next(into any, what string) error {
	r.from.N = maxItem
	if err := r.dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrBadSnapshot, what, err)
	}
	return nil
}

// end checks that nothing follows. The stream's own checksum is at its end, and covers the header, which the digest
// does not.
func (r *itemReader) end() error {
	r.from.N = maxItem
	var none any
	if err := r.dec.Decode(&none); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: after the trailer: %v", ErrBadSnapshot, err)
	}
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
