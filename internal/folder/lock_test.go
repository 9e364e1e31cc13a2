package folder_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/holt-project/holt/internal/folder"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	release, err := folder.Lock(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Lock(dir, "server"); err == nil || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("taken twice: %v", err)
	}
	release()
	release, err = folder.Lock(dir, "server")
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	release()
}
