package record_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/agent/shim/record"
)

type fact struct{ Name string }

func TestWhatIsWrittenCanBeRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.json")
	for _, name := range []string{"old", "new"} {
		if err := record.Write(path, fact{name}); err != nil {
			t.Fatal(err)
		}
	}
	var got fact
	if err := record.Read(path, &got); err != nil || got.Name != "new" {
		t.Errorf("read %+v, %v", got, err)
	}
	if err := record.Write(filepath.Join(dir, "a.json"), fact{"first"}); err != nil {
		t.Fatal(err)
	}
	// A crash left half a record behind: it is no record.
	if err := os.WriteFile(filepath.Join(dir, "c.json.new"), []byte(`{"Na`), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := record.ReadAll[fact](dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fact{{"first"}, {"new"}}, all); diff != "" {
		t.Error(diff)
	}
}

func TestMissingAndTornRecords(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	var got fact
	if err := record.Read(path, &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of the missing: %v", err)
	}
	if all, err := record.ReadAll[fact](filepath.Join(dir, "missing")); err != nil || len(all) != 0 {
		t.Errorf("a missing folder: %v, %v", all, err)
	}
	for range 2 {
		if err := record.Remove(path); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := record.ReadAll[fact](dir); err == nil || !strings.Contains(err.Error(), "a.json") {
		t.Errorf("a torn record: %v, want an error with its name", err)
	}
}
