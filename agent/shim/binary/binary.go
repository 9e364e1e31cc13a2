package binary

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// name of the program in this folder, ignored by git.
const name = "holt-shim"

//go:embed all:*
var folder embed.FS

// ErrNotBuilt: this holt was compiled without a shim in it.
var ErrNotBuilt = errors.New("this holt carries no shim; build it with: make build")

// WriteOut writes the program into dir, which is made with mode 0700 if missing,
// and returns its path. The name contains a hash of the content: the programs
// of running shims are never written to, and an upgrade lies beside them.
func WriteOut(dir string) (path string, err error) {
	program, err := folder.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotBuilt
	}
	if err != nil {
		return "", err
	}
	return writeOut(dir, program)
}

func writeOut(dir string, program []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	sum := sha256.Sum256(program)
	path := filepath.Join(dir, name+"-"+hex.EncodeToString(sum[:8]))
	if whole(path, sum) {
		return path, nil
	}
	f, err := os.CreateTemp(dir, name+".new-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(program)
	if err = errors.Join(err, f.Chmod(0o700), f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write out the shim: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return "", fmt.Errorf("write out the shim: %w", err)
	}
	return path, nil
}

// whole: the file is there, executable, and has the content it should.
func whole(path string, sum [sha256.Size]byte) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o700 {
		return false
	}
	program, err := os.ReadFile(path)
	return err == nil && sha256.Sum256(program) == sum
}
