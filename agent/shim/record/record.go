package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/holt-project/holt/internal/folder"
)

// suffix of every record; what a crash leaves half written does not have it.
const suffix = ".json"

// Write stores value as JSON at path, durably and atomically, with mode 0600.
func Write(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	err = folder.WriteFile(path, data)
	if err != nil {
		return fmt.Errorf("record %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Read fills in value from path.
func Read(path string, value any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("record %s: %w", filepath.Base(path), err)
	}
	return nil
}

// ReadAll reads every record in dir, in the order of their names. A folder that
// is not there holds none.
func ReadAll[T any](dir string) ([]T, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []T
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), suffix) {
			continue
		}
		var one T
		if err := Read(filepath.Join(dir, entry.Name()), &one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// Remove deletes a record; one that is not there is fine.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return folder.Sync(filepath.Dir(path))
}
