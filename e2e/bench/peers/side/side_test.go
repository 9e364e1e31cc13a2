package side_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/bench/peers/side"
)

// script makes a program of a few shell commands.
func script(t *testing.T, dir, commands string) string {
	t.Helper()
	file := filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+commands+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAProcessThatEndsSaysWhy(t *testing.T) {
	dir := t.TempDir()
	c := side.Holt(script(t, dir, "echo the disk is full >&2; exit 3"), dir, 1)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := c.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "server-1") {
		t.Errorf("got %v", err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestStopEndsWhatRuns(t *testing.T) {
	dir := t.TempDir()
	c, err := side.Kubernetes(script(t, dir, "exec sleep 1000"), filepath.Join(dir, "program"), dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if memory, err := c.Memory(); err != nil || memory <= 0 {
		t.Errorf("%d bytes, error %v", memory, err)
	}
	if urls := c.APIs(); len(urls) != 1 {
		t.Errorf("the API is at %v, want one", urls)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if cpu, err := c.CPU(); err != nil || cpu != time.Duration(0) {
		t.Errorf("what runs has taken %s, error %v; nothing should run", cpu, err)
	}
}

func TestAProgramThatIsMissing(t *testing.T) {
	dir := t.TempDir()
	c := side.Holt(filepath.Join(dir, "none"), dir, 1)
	if err := c.Start(t.Context()); err == nil {
		t.Error("it was started")
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}
