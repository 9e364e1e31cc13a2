package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPatience bounds the wait for a lock. Only Up may hold one for longer than that.
const lockPatience = 30 * time.Second

// machineLockName is a socket in the abstract namespace, whose scope is the network namespace: just the scope of
// the links, addresses and routes that the lock arbitrates. It leaves no file, and dies with its process.
const machineLockName = "@holt-sandbox-allocation"

// lockMachine serialises, over all folders of sandboxes, what claims or gives back names, subnets and forwarding.
func lockMachine(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		l, err := net.Listen("unix", machineLockName)
		if errors.Is(err, unix.EADDRINUSE) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		unlock = func() { _ = l.Close() }
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for other sandboxes to be made or removed: %w", err)
	}
	return unlock, nil
}

// lockFolder takes a lock on the folder itself: unix.LOCK_EX or unix.LOCK_SH. The error wraps os.ErrNotExist if
// the folder is not there, or not any more.
func lockFolder(ctx context.Context, dir string, how int) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		f, err := os.Open(dir)
		if err != nil {
			return false, err
		}
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return false, nil
			}
			return false, err
		}
		if !sameFile(f, dir) {
			_ = f.Close()
			return false, nil
		}
		unlock = func() { _ = f.Close() }
		return true, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s: %w; try again when it has ended", dir, ErrBusy)
	}
	return unlock, err
}

// sameFile tells whether the open folder is still the one at dir: a lock on a removed folder guards nothing.
func sameFile(f *os.File, dir string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(dir)
	return err == nil && os.SameFile(a, b)
}

// pollInterval is short because what is waited for (a process's end, a socket) takes milliseconds.
const pollInterval = 20 * time.Millisecond

// poll waits for a condition that nothing announces, until ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
