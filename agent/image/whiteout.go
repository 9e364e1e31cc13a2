package image

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// How layers say that something of a lower layer is gone (OCI image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// convert writes whiteouts as overlayfs has them: a 0:0 character device hides one name, an attribute hides all
// that a folder has below. It is called with the place on disk, inside the layer, of each entry, and tells
// whether the entry itself is still to be written.
//
// Whiteouts concern lower layers only, wherever in the archive they stand: what this layer itself has at that
// place stays, and if it is a folder, it hides the lower one.
func (w *layerWriter) convert(hdr *tar.Header, path string) (bool, error) {
	dir, base := filepath.Split(path)
	if base == opaqueMarker {
		return false, setOpaque(dir)
	}
	original, isWhiteout := strings.CutPrefix(base, whiteoutPrefix)
	if !isWhiteout {
		if w.whiteouts[path] && hdr.Typeflag == tar.TypeDir {
			return true, w.openWhiteout(path)
		}
		delete(w.whiteouts, path)
		return true, nil
	}
	target := filepath.Join(dir, original)
	switch info, err := os.Lstat(target); {
	case errors.Is(err, fs.ErrNotExist):
		w.whiteouts[target] = true
		return false, unix.Mknod(target, unix.S_IFCHR, 0)
	case err != nil:
		return false, err
	case info.IsDir():
		return false, setOpaque(target)
	}
	return false, nil
}

// openWhiteouts turns whiteouts among the parents of name into opaque folders: the layer deleted something and
// put a folder in its place. It stops at anything that is not a folder, so that it never acts through a link
// that has since replaced one.
func (w *layerWriter) openWhiteouts(name string) error {
	if len(w.whiteouts) == 0 {
		return nil
	}
	dir := w.root
	for part := range strings.SplitSeq(filepath.Dir(name), "/") {
		dir = filepath.Join(dir, part)
		info, err := os.Lstat(dir)
		switch {
		case err == nil && info.IsDir():
		case err == nil && w.whiteouts[dir]:
			if err := w.openWhiteout(dir); err != nil {
				return err
			}
		default:
			return nil // what cannot be made is for the unpacking itself to find out
		}
	}
	return nil
}

// openWhiteout replaces a whiteout by an opaque folder. The folders above it must not be links.
func (w *layerWriter) openWhiteout(path string) error {
	delete(w.whiteouts, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil // replaced since
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
		return err
	}
	return setOpaque(path)
}

func setOpaque(dir string) error {
	return unix.Lsetxattr(filepath.Clean(dir), "trusted.overlay.opaque", []byte{'y'}, 0)
}
