package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/agent/image"
)

func TestTheImagesImportAndRun(t *testing.T) {
	out := t.TempDir()
	// As the program of its own that it is: a test links packages that it may lack.
	if output, err := exec.Command("go", "run", ".", "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	s, err := image.Open(t.TempDir(), image.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.ImportFolder(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"holt.local/whoami:1", "holt.local/whoami:2", "holt.local/toolbox:1"} {
		if _, ok := s.Lookup(name); !ok {
			t.Errorf("%s was not imported", name)
		}
	}
	img, _ := s.Lookup("holt.local/toolbox:1")
	dir := filepath.Join(t.TempDir(), "c")
	rootfs, err := s.Mount(t.Context(), img, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Unmount(dir); err != nil {
			t.Error(err)
		}
	}()
	if uid, _, _, err := s.ResolveUser(rootfs, "nonroot"); err != nil || uid != 65532 {
		t.Errorf("nonroot is %d, %v", uid, err)
	}
	output, err := exec.Command("chroot", rootfs, "/bin/toolbox", "cat", "/etc/group").Output()
	if err != nil || string(output) != group {
		t.Errorf("toolbox prints %q, %v", output, err)
	}

	// A second build changes nothing, not even times: agents skip what did not change.
	before := times(t, out)
	if err := build(out); err != nil {
		t.Fatal(err)
	}
	for file, stamp := range times(t, out) {
		if !stamp.Equal(before[file]) || strings.HasPrefix(file, ".") {
			t.Errorf("%s was written again", file)
		}
	}
}

func times(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	stamps := map[string]time.Time{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		stamps[e.Name()] = info.ModTime()
	}
	return stamps
}
