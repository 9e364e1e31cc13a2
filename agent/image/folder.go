package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// folder is a store's folder, and knows what lies where in it.
type folder string

func (d folder) path(elem string) string { return filepath.Join(string(d), elem) }
func (d folder) tmp() string             { return d.path("tmp") }
func (d folder) layers() string          { return d.path("layers") }
func (d folder) images() string          { return d.path("images") }
func (d folder) imports() string         { return d.path("imports.json") }

func (d folder) record(id string) string {
	return filepath.Join(d.images(), strings.TrimPrefix(id, "sha256:")+".json")
}

func layerDirName(chainID string) string { return strings.TrimPrefix(chainID, "sha256:") }

func (d folder) layer(chainID string) string {
	return filepath.Join(d.layers(), layerDirName(chainID))
}

func (d folder) layerFS(chainID string) string { return filepath.Join(d.layer(chainID), "fs") }

func (d folder) hasLayer(chainID string) bool {
	_, err := os.Stat(d.layerFS(chainID))
	return err == nil
}

func (d folder) layerInfo(chainID string) (layerInfo, error) {
	var info layerInfo
	data, err := os.ReadFile(filepath.Join(d.layer(chainID), "layer.json"))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return info, fmt.Errorf("layer %s: %w", chainID, err)
	}
	return info, nil
}

// clearTmp deletes work that a crash left unfinished.
func (d folder) clearTmp() error {
	entries, err := os.ReadDir(d.tmp())
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.tmp(), e.Name())); err != nil {
			return fmt.Errorf("image store: sweep temporary files: %w", err)
		}
	}
	return nil
}

// writeJSON replaces a file of the store at once: a crash leaves the old or the new content.
func (d folder) writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	tmp, err := os.CreateTemp(d.tmp(), "json-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp.Name()))
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
