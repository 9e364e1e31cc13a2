package folder

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile replaces a file as a whole: after a crash or a power cut there is the old one or the new one. Only its owner
// may read it. A file has one writer at a time; what a crash leaves half-written beside it, the next write replaces.
func WriteFile(path string, data []byte) error {
	half := path + ".new"
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(half, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half))
	}
	return Sync(filepath.Dir(path))
}

// Sync makes what was renamed, made or removed in dir outlive a power cut.
func Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
