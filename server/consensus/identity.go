package consensus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holt-project/holt/internal/folder"
)

// identityFile is the file in a data folder that says whose it is.
const identityFile = "identity.json"

// identity says whose a data folder is.
type identity struct {
	Cluster string `json:"cluster"`
	Server  string `json:"server"`
}

// claim makes the folder mine, or fails with ErrForeign if it is somebody else's. The caller holds the store's lock.
func claim(dir string, mine identity) error {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return mine.write(path)
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

func (i identity) write(path string) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return folder.WriteFile(path, append(data, '\n'))
}
