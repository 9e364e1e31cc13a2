package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OOMKills counts the processes of the group that the kernel killed for want of
// memory. A group without the memory controller has none.
func (g *Group) OOMKills() (uint64, error) {
	dir, v2, ok := g.dirOf("memory")
	if !ok {
		return 0, nil
	}
	name := "memory.oom_control"
	if v2 {
		name = "memory.events"
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, gone(err)
	}
	for line := range strings.Lines(string(data)) {
		if count, found := strings.CutPrefix(line, "oom_kill "); found {
			return strconv.ParseUint(strings.TrimSpace(count), 10, 64)
		}
	}
	return 0, nil
}

// OOMWatch waits for the kernel to run out of memory in a group.
type OOMWatch struct {
	file     *os.File
	happened func() bool
}

// WatchOOM starts a watch. It sleeps in the runtime's poller and costs no
// thread. The group must exist and have a memory controller.
func (g *Group) WatchOOM() (*OOMWatch, error) {
	dir, v2, ok := g.dirOf("memory")
	if !ok {
		return nil, errors.New("cgroup: no memory controller is mounted")
	}
	if !v2 {
		return watchControl(dir)
	}
	return watchEvents(filepath.Join(dir, "memory.events"), func() bool {
		kills, err := g.OOMKills()
		return err == nil && kills > 0
	})
}

// watchEvents watches v2's memory.events, which changes for other reasons too.
func watchEvents(path string, happened func() bool) (*OOMWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cgroup: inotify: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cgroup: watch %s: %w", path, err)
	}
	return &OOMWatch{file: os.NewFile(uintptr(fd), path), happened: happened}, nil
}

// watchControl registers an eventfd with v1's memory.oom_control. The kernel
// signals it before it counts the kill, and once more when the group is removed.
func watchControl(dir string) (*OOMWatch, error) {
	control, err := os.Open(filepath.Join(dir, "memory.oom_control"))
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	defer control.Close() // the registration holds its own reference
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cgroup: eventfd: %w", err)
	}
	line := fmt.Sprintf("%d %d", fd, control.Fd())
	register := filepath.Join(dir, "cgroup.event_control")
	if err := os.WriteFile(register, []byte(line), 0); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cgroup: watch memory.oom_control: %w", err)
	}
	return &OOMWatch{file: os.NewFile(uintptr(fd), register), happened: func() bool {
		_, err := os.Lstat(register)
		return err == nil
	}}, nil
}

// Wait blocks until the kernel killed for want of memory, and tells false once
// the watch was closed.
func (w *OOMWatch) Wait() bool {
	var buf [4096]byte
	for {
		if _, err := w.file.Read(buf[:]); err != nil {
			return false
		}
		if w.happened() {
			return true
		}
	}
}

// Close ends the watch and its Wait.
func (w *OOMWatch) Close() error { return w.file.Close() }
