package fsm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds of a snapshot on its way into the state, in bytes. All servers must draw them at the same place.
const (
	// MaxStaged bounds the whole of it, as it is compressed: every server keeps it in memory.
	MaxStaged = 256 << 20
	// MaxPiece bounds what one Stage carries.
	MaxPiece = 1 << 20
)

// What a Stage or a Replace fails with, as it stands in Result.Err.
var (
	// ErrNotStaged says that the pieces before this one are not there: another restore has begun, or this one was
	// dropped.
	ErrNotStaged = errors.New("another restore has begun, or this one was given up")
	// ErrStagedTooLarge says that the snapshot is beyond MaxStaged.
	ErrStagedTooLarge = fmt.Errorf("the snapshot is larger than %d MiB, or one piece of it than %d", MaxStaged>>20, MaxPiece>>20)
)

// staging is a snapshot on its way into the state, piece by piece. It is immutable. A nil staging is none.
type staging struct {
	id     string
	pieces [][]byte // append-only storage that versions share
	size   uint64
	// sum chains the pieces, so that a digest covers them.
	sum [sha256.Size]byte
}

// newStaging makes one without a piece.
func newStaging(id string) *staging { return &staging{id: id, sum: sha256.Sum256([]byte(id))} }

// is reports whether this is the staging of the restore, with exactly the pieces up to size.
func (s *staging) is(id string, size uint64) bool { return s != nil && s.id == id && s.size == size }

// with returns the staging after c.
func (s *staging) with(c Stage) (*staging, error) {
	switch {
	case c.Drop && s != nil && s.id == c.ID:
		return nil, nil
	case c.Drop:
		return s, nil
	case c.ID == "" || len(c.Data) == 0 || c.Offset > 0 && !s.is(c.ID, c.Offset):
		return s, ErrNotStaged
	case len(c.Data) > MaxPiece, c.Offset+uint64(len(c.Data)) > MaxStaged:
		return s, ErrStagedTooLarge
	case c.Offset == 0:
		s = newStaging(c.ID)
	}
	return s.append(c.Data), nil
}

func (s *staging) append(piece []byte) *staging {
	return &staging{
		id: s.id, pieces: append(s.pieces, piece), size: s.size + uint64(len(piece)),
		sum: sha256.Sum256(slices.Concat(s.sum[:], piece)),
	}
}

// reader reads the pieces as one stream.
func (s *staging) reader() io.Reader {
	readers := make([]io.Reader, len(s.pieces))
	for i, p := range s.pieces {
		readers[i] = bytes.NewReader(p)
	}
	return io.MultiReader(readers...)
}

// cover makes the digest's checksum cover what is staged.
func (s *staging) cover(sum *checksum) {
	if s == nil {
		return
	}
	for i := range sum {
		sum[i] ^= s.sum[i]
	}
}

// snapshotStaging stands in the header of a snapshot that was taken while another was staged; the pieces follow the
// objects.
type snapshotStaging struct {
	ID     string `cbor:"1,keyasint"`
	Pieces int    `cbor:"2,keyasint"`
}

func (s *staging) header() *snapshotStaging {
	if s == nil {
		return nil
	}
	return &snapshotStaging{s.id, len(s.pieces)}
}

// encode writes the pieces.
func (s *staging) encode(item func(any) error) error {
	if s == nil {
		return nil
	}
	for _, p := range s.pieces {
		if err := item(p); err != nil {
			return err
		}
	}
	return nil
}

// loadStaging is the inverse of encode.
func loadStaging(h *snapshotStaging, items *itemReader) (*staging, error) {
	if h == nil {
		return nil, nil
	}
	s := newStaging(h.ID)
	for range h.Pieces {
		var piece []byte
		if err := items.next(&piece, "staged piece"); err != nil {
			return nil, err
		}
		if len(piece) == 0 || len(piece) > MaxPiece || s.size+uint64(len(piece)) > MaxStaged {
			return nil, fmt.Errorf("%w: staged snapshot", ErrBadSnapshot)
		}
		s = s.append(piece)
	}
	return s, nil
}
