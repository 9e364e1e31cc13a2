package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/seal"
)

// File is the name of the ring file in a server's data folder, unless it is kept elsewhere.
const File = "keyring.json"

// ErrNoFile says that there is no ring file, though something is sealed with its keys.
var ErrNoFile = errors.New("the key ring is not there")

// Load reads the ring file. It fails with ErrNoFile.
func Load(path string) (seal.Ring, error) {
	var ring seal.Ring
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ring, fmt.Errorf("%w: %s: without it the data folder cannot be read. %s", ErrNoFile, path, Advice(path))
	}
	if err == nil {
		err = json.Unmarshal(data, &ring)
	}
	if err != nil {
		return seal.Ring{}, fmt.Errorf("the key ring %s: %w", path, err)
	}
	return ring, nil
}

// Advice is what to do about a key that is missing.
func Advice(path string) string {
	return "Put a ring that has the key there: a copy of the file " + path + ", or what `holt keys export` printed when the " +
		"key was in use; or empty the data folder and join anew, if the other servers are well"
}

// Found returns the ring of a server that begins or joins a cluster, and keeps it in the file: what is there already, so
// that a ring can be brought from elsewhere, with the keys of granted, those first; a new one if both are empty.
func Found(path string, granted seal.Ring, now time.Time) (seal.Ring, error) {
	own, err := Load(path)
	if err != nil && !errors.Is(err, ErrNoFile) {
		return seal.Ring{}, err
	}
	ring, err := granted.With(own)
	if err == nil && ring.Primary() == "" {
		ring, err = seal.NewRing(now)
	}
	if err != nil {
		return seal.Ring{}, err
	}
	return ring, save(path, ring)
}

// save replaces the ring file durably.
func save(path string, ring seal.Ring) error {
	data, err := json.Marshal(ring)
	if err == nil {
		err = folder.WriteFile(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep the key ring: %w", err)
	}
	return nil
}
