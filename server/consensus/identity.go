package consensus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// identity says whose a data folder is.
type identity struct {
	Cluster string `json:"cluster"`
	Server  string `json:"server"`
}

// claim makes the folder mine, or fails with ErrForeign if it is somebody else's. The caller holds the store's lock.
func claim(dir string, mine identity) error {
	path := filepath.Join(dir, "identity.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeSynced(path, mine)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var theirs identity
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&theirs); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	}
	if theirs != mine {
		return fmt.Errorf("%w: %s is of server %q of cluster %q, this is server %q of cluster %q",
			ErrForeign, dir, theirs.Server, theirs.Cluster, mine.Server, mine.Cluster)
	}
	return nil
}

// writeSynced writes the file so that after a power cut it is there as a whole or not at all.
func writeSynced(path string, content identity) (err error) {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".identity-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
