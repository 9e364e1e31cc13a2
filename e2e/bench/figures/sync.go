package figures

import (
	"errors"
	"os"
	"time"
)

// syncs is how many are timed, of a block each, in bytes.
const (
	syncs = 100
	block = 4 << 10
)

// Sync is the median time that a write of 4 KiB takes to reach the disk below dir: what bounds a store whose writes wait
// for that one after the other.
func Sync(dir string) (median time.Duration, err error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	data := make([]byte, block)
	var took []time.Duration
	for i := range syncs {
		begun := time.Now()
		if _, err := f.WriteAt(data, int64(i)*block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	return Percentile(took, 50), nil
}
