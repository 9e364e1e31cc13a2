package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// maxZstdWindow bounds the decoder's memory; zstd's own command needs a flag to make or read more.
const maxZstdWindow = 128 << 20

// budget is what is left of an image's bounds. It belongs to one goroutine.
type budget struct {
	stream  int64 // bytes of uncompressed layers
	bytes   int64 // bytes of files
	entries int64 // files and folders
}

func newBudget(o Options) *budget {
	return &budget{stream: o.MaxUnpacked, bytes: o.MaxUnpacked, entries: o.MaxEntries}
}

func (b *budget) take(size, entries int64) error {
	if size > b.bytes {
		return fmt.Errorf("%w: its files exceed the limit of bytes", ErrTooLarge)
	}
	if entries > b.entries {
		return fmt.Errorf("%w: its files exceed the limit in number", ErrTooLarge)
	}
	b.bytes -= size
	b.entries -= entries
	return nil
}

// bounded charges what it reads to the budget.
type bounded struct {
	r io.Reader
	b *budget
}

func (l bounded) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.b.stream -= int64(n); l.b.stream < 0 {
		return n, fmt.Errorf("%w: its layers exceed the limit of bytes", ErrTooLarge)
	}
	return n, err
}

// decompress detects gzip and zstd by their first bytes, not by what a manifest or a file name says. The
// reader must be closed; that does not close r.
func decompress(r io.Reader) (plain io.ReadCloser, compressed bool, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, true, fmt.Errorf("%w: gzip: %w", ErrCorrupt, err)
		}
		return z, true, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, true, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(buffered), false, nil
}

// unpack writes a layer below root, which must be empty and private to the caller. It returns the digest of the
// uncompressed layer and the bytes in its files. Parents are the layers below, the nearest first.
func (l *layers) unpack(ctx context.Context, root string, parents []string, r io.Reader, b *budget) (digest.Digest, int64, error) {
	plain, _, err := decompress(r)
	if err != nil {
		return "", 0, err
	}
	defer plain.Close()
	hash := digest.SHA256.Digester()
	stream := io.TeeReader(bounded{plain, b}, hash.Hash())
	w := &layerWriter{root: root, budget: b, log: l.log, whiteouts: map[string]bool{}, folders: map[string]bool{}}
	size, err := archive.Apply(ctx, root, stream, archive.WithParents(parents),
		archive.WithFilter(w.admit), archive.WithConvertWhiteout(w.convert))
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return "", 0, fmt.Errorf("unpack layer: %w", err)
	}
	// The padding after a tar's end counts for its digest.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return "", 0, fmt.Errorf("unpack layer: %w", err)
	}
	return hash.Digest(), size, nil
}

// layerWriter decides, entry by entry, what of a layer is unpacked and how.
type layerWriter struct {
	root      string
	budget    *budget
	log       *slog.Logger
	whiteouts map[string]bool // paths on disk where this layer put a whiteout
	folders   map[string]bool // names of folders that were counted
}

// admit is called for every entry before anything of it is done. It may edit the header.
func (w *layerWriter) admit(hdr *tar.Header) (bool, error) {
	name := strings.TrimPrefix(path.Clean(hdr.Name), "/")
	if escapes(name) {
		return false, fmt.Errorf("%w: the name %q leaves the image", ErrUnsafe, hdr.Name)
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeFifo:
	case tar.TypeLink:
		if escapes(strings.TrimPrefix(path.Clean(hdr.Linkname), "/")) {
			return false, fmt.Errorf("%w: the hard link %q leads out of the image, to %q", ErrUnsafe, hdr.Name, hdr.Linkname)
		}
	case tar.TypeChar, tar.TypeBlock:
		// The runtime covers dev/ with its own, so leaving these out changes nothing.
		if strings.HasPrefix(name, "dev/") {
			w.log.Debug("device node left out", "name", hdr.Name)
			return false, nil
		}
		return false, fmt.Errorf("%w: %q is a device node", ErrUnsafe, hdr.Name)
	case tar.TypeXGlobalHeader:
		return false, nil
	default:
		return false, fmt.Errorf("%w: %q has the unsupported type %q", ErrUnsafe, hdr.Name, hdr.Typeflag)
	}
	if base := path.Base(name); strings.HasPrefix(base, whiteoutPrefix+whiteoutPrefix) && base != opaqueMarker {
		return false, nil // aufs' own bookkeeping
	}
	// The largest number means "leave the owner as it is" to the kernel.
	if hdr.Uid < 0 || hdr.Gid < 0 || int64(hdr.Uid) >= math.MaxUint32 || int64(hdr.Gid) >= math.MaxUint32 {
		return false, fmt.Errorf("%w: %q has the owner %d:%d", ErrUnsafe, hdr.Name, hdr.Uid, hdr.Gid)
	}
	if err := w.budget.take(hdr.Size, 1+w.newFolders(name)); err != nil {
		return false, err
	}
	keepSafeAttributes(hdr)
	return true, w.openWhiteouts(name)
}

// newFolders counts the folders above name that no entry was charged for yet: they are made on the way, and a
// bomb of deep names would make many more of them than it has entries.
func (w *layerWriter) newFolders(name string) int64 {
	var n int64
	for dir := path.Dir(name); dir != "." && dir != "/" && !w.folders[dir]; dir = path.Dir(dir) {
		w.folders[dir] = true
		n++
	}
	return n
}

func escapes(clean string) bool { return clean == ".." || strings.HasPrefix(clean, "../") }

// keepSafeAttributes drops the extended attributes that could steer the node: those of overlayfs, of the
// security modules other than file capabilities, and access lists that name the node's users.
func keepSafeAttributes(hdr *tar.Header) {
	const prefix = "SCHILY.xattr."
	for key := range hdr.PAXRecords {
		attr, ok := strings.CutPrefix(key, prefix)
		if !ok || attr == "security.capability" {
			continue
		}
		if !strings.HasPrefix(attr, "user.") || strings.HasPrefix(attr, "user.overlay.") {
			delete(hdr.PAXRecords, key)
		}
	}
}
