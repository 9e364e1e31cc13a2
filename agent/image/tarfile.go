package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxMembers bounds the files in an archive of images: a few per layer.
const maxMembers = 100_000

// tarFile gives random access to the members of an archive, which may be compressed.
type tarFile struct {
	file    *os.File
	temp    bool // file is a decompressed copy, to be removed
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // the member that this one stands for
}

// openTar lists an archive. A compressed one is unpacked below tmp first, up to limit bytes.
func openTar(ctx context.Context, file, tmp string, limit int64) (*tarFile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	t := &tarFile{file: f, members: map[string]member{}}
	err = t.inflate(ctx, tmp, limit)
	if err == nil {
		err = t.index()
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *tarFile) close() error {
	err := t.file.Close()
	if t.temp {
		err = errors.Join(err, os.Remove(t.file.Name()))
	}
	return err
}

// inflate replaces a compressed file by a plain copy.
func (t *tarFile) inflate(ctx context.Context, tmp string, limit int64) error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrCorrupt)
	}
	plain, packed, err := decompress(t.file)
	if err != nil {
		return err
	}
	defer plain.Close()
	if !packed {
		_, err := t.file.Seek(0, io.SeekStart)
		return err
	}
	out, err := os.CreateTemp(tmp, "archive-")
	if err != nil {
		return err
	}
	compressed := t.file
	t.file, t.temp = out, true
	in := bounded{readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return plain.Read(p)
	}), &budget{stream: limit}}
	_, err = io.Copy(out, in)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it is truncated: %w", ErrCorrupt, err)
	}
	if err := errors.Join(err, compressed.Close()); err != nil {
		return err
	}
	_, err = out.Seek(0, io.SeekStart)
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// index notes where each member's content lies. The tar reader seeks over contents, so this is quick.
func (t *tarFile) index() error {
	r := tar.NewReader(t.file)
	for {
		hdr, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: not a whole tar archive: %w", ErrCorrupt, err)
		}
		if len(t.members) >= maxMembers {
			return fmt.Errorf("%w: more than %d files in the archive", ErrTooLarge, maxMembers)
		}
		offset, err := t.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		name := path.Clean(hdr.Name)
		switch hdr.Typeflag {
		case tar.TypeReg:
			if isSparse(hdr) {
				return fmt.Errorf("%w: %q is a sparse file", ErrCorrupt, hdr.Name)
			}
			t.members[name] = member{offset: offset, size: hdr.Size}
		case tar.TypeLink:
			t.members[name] = member{link: path.Clean(hdr.Linkname)}
		case tar.TypeSymlink: // older docker-save archives share layers in this way
			t.members[name] = member{link: path.Join(path.Dir(name), hdr.Linkname)}
		}
	}
}

// isSparse finds files whose content in the archive is not what they hold; offsets into it would mean nothing.
func isSparse(hdr *tar.Header) bool {
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (t *tarFile) has(name string) bool {
	_, ok := t.members[name]
	return ok
}

// open gives a member's content. Links are followed among the members, never in the file system.
func (t *tarFile) open(name string) (*io.SectionReader, error) {
	at := path.Clean(name)
	m, ok := t.members[at]
	if ok && m.link != "" {
		at = m.link
		m, ok = t.members[at]
	}
	if !ok || m.link != "" {
		return nil, fmt.Errorf("%w: the archive has no file %s", ErrCorrupt, at)
	}
	return io.NewSectionReader(t.file, m.offset, m.size), nil
}

// read gives a member of bounded size.
func (t *tarFile) read(name string) ([]byte, error) {
	r, err := t.open(name)
	if err != nil {
		return nil, err
	}
	if r.Size() > maxMetadata {
		return nil, fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrTooLarge, name, r.Size(), maxMetadata)
	}
	return io.ReadAll(r)
}

func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// readBlob gives a small blob of an OCI layout, verified.
func (t *tarFile) readBlob(d ociv1.Descriptor) ([]byte, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	data, err := t.read(blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != d.Digest {
		return nil, fmt.Errorf("%w: blob %s has the digest %s", ErrCorrupt, d.Digest, got)
	}
	return data, nil
}
