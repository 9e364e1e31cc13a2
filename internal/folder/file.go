package folder

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// halfSuffix names what is being written, until it is whole.
const halfSuffix = ".new"

// WriteFile replaces a file as a whole: after a crash or a power cut there is the old one or the new one. Only its owner
// may read it. A file has one writer at a time; what a crash leaves half-written beside it, the next write replaces.
func WriteFile(path string, data []byte) error {
	return Replace(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Replace is WriteFile for what write writes. If write fails, the old file stays, and nothing of the new one.
func Replace(path string, write func(io.Writer) error) error {
	half := path + halfSuffix
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(half, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half))
	}
	return Sync(filepath.Dir(path))
}

// RemoveHalves removes what crashes have left half-written in dir. Nobody may be writing there.
func RemoveHalves(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), halfSuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Sync makes what was renamed, made or removed in dir outlive a power cut.
func Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
