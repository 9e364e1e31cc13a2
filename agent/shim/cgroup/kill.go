package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// pidfdWait bounds one wait for a killed process, so that a cancelled context
// is noticed while a process sits in an uninterruptible call.
const pidfdWait = 200 * time.Millisecond

// Kill ends every process of the group and below it with SIGKILL and returns
// when none is left, or with the context's error. Processes that fork while
// they are being killed are caught in the next round.
func (g *Group) Kill(ctx context.Context) error {
	for {
		if err := g.thaw(); err != nil {
			return err
		}
		pids, err := g.Processes()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := g.killOne(pid); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cgroup: %s: %d processes do not die: %w", g.path, len(pids), err)
		}
	}
}

// killOne kills one process if it still belongs to the group, and waits a while
// for its end. The descriptor is taken before membership is looked up again: a
// number that has meanwhile gone to a stranger is then seen, and spared.
func (g *Group) killOne(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroup: pidfd of %d: %w", pid, err)
	}
	defer unix.Close(fd)
	pids, err := g.Processes()
	if err != nil || !slices.Contains(pids, pid) {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cgroup: kill %d: %w", pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, int(pidfdWait.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("cgroup: wait for %d: %w", pid, err)
	}
	return nil
}

// thaw lets frozen groups run again: a frozen process of v1 does not die of SIGKILL.
func (g *Group) thaw() error {
	return g.walk(func(m mount, dir string) error {
		name, value := "freezer.state", "THAWED"
		if m.v2 {
			name, value = "cgroup.freeze", "0"
		} else if !m.has("freezer") {
			return nil
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			return gone(err)
		}
		defer f.Close()
		_, err = f.WriteString(value)
		return gone(err)
	})
}

// Remove removes the group and all groups below it, which must hold no process.
func (g *Group) Remove(ctx context.Context) error {
	var dirs []string
	if err := g.walk(func(_ mount, dir string) error {
		dirs = append(dirs, dir)
		return nil
	}); err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := rmdir(ctx, dir); err != nil {
			return fmt.Errorf("cgroup: remove: %w", err)
		}
	}
	return nil
}

// rmdir removes one empty group. The kernel says EBUSY for a moment after the
// last process has gone, and offers nothing to wait for on v1.
func rmdir(ctx context.Context, dir string) error {
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
