package binary

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteOutNamesByContentAndRepairs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	first, err := writeOut(dir, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := writeOut(dir, []byte("two"))
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Fatalf("two programs share the path %s", first)
	}
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	if before.Mode() != 0o700 {
		t.Errorf("mode is %v, want 0700", before.Mode())
	}
	if _, err := writeOut(dir, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(first); !os.SameFile(before, after) {
		t.Error("a whole program was written again")
	}
	if err := os.WriteFile(first, []byte("on"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := writeOut(dir, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(first); string(got) != "one" {
		t.Errorf("a torn program was kept: %q", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestWriteOutSaysWhatToDoWhenNotBuilt(t *testing.T) {
	path, err := WriteOut(t.TempDir())
	if err == nil { // built in: it must be a program
		if head, _ := os.ReadFile(path); !strings.HasPrefix(string(head), "\x7fELF") {
			t.Errorf("%s is no program", path)
		}
		return
	}
	if !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
}
