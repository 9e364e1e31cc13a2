package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
	"github.com/holt-project/holt/agent/shim/record"
)

// launchTimeout bounds the start of a shim; it takes milliseconds.
const launchTimeout = 30 * time.Second

// Launch says what to start.
type Launch struct {
	Binary string // path of holt-shim (see package binary)
	Dir    string // the pod's run folder; made with mode 0700
	Pod    protocol.Pod
}

// Start returns the shim that serves the pod, and starts it if there is none;
// what a dead one has left in the folder is cleaned up first. The shim runs in
// a cgroup of its own, out of reach of the terminal, and is nobody's child. When Start fails,
// nothing is left running.
func Start(ctx context.Context, l Launch, log *slog.Logger) (*Shim, error) {
	if err := l.Pod.Validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(l.Dir)
	if err != nil {
		return nil, err
	}
	l.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := findShim(ctx, l, log)
	if s != nil || err != nil {
		return s, err
	}
	if err := record.Write(filepath.Join(dir, protocol.PodFile), l.Pod); err != nil {
		return nil, err
	}
	if err := launch(ctx, l); err != nil {
		return nil, abort(ctx, dir, err)
	}
	if s, err = Attach(ctx, dir, log); err != nil {
		return nil, abort(ctx, dir, err)
	}
	s.log.Debug("shim started", "pod", l.Pod.UID, "dir", dir)
	return s, nil
}

// findShim returns the shim that already serves the pod, or nil when the folder
// is free for a new one.
func findShim(ctx context.Context, l Launch, log *slog.Logger) (*Shim, error) {
	s := newShim(l.Dir, log)
	state, err := s.State(ctx)
	if errors.Is(err, ErrGone) {
		return nil, Cleanup(ctx, l.Dir)
	}
	if err != nil {
		return nil, err
	}
	if state.PodUID != l.Pod.UID {
		return nil, fmt.Errorf("%s is the folder of pod %s, whose shim (pid %d) lives; use another folder for pod %s",
			l.Dir, state.PodUID, state.ShimPID, l.Pod.UID)
	}
	return s, nil
}

// launch runs "holt-shim launch", which returns when the shim answers.
func launch(ctx context.Context, l Launch) error {
	ctx, cancel := context.WithTimeout(ctx, launchTimeout)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, l.Binary, "launch", l.Dir)
	cmd.Env = []string{} // nothing of the agent's is the shim's business
	cmd.Dir = "/"
	cmd.Stderr = &said
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // it takes the shim along
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("gave up waiting: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("start shim of pod %s: %w: %s", l.Pod.UID, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// abort undoes a failed start even if its caller has given up.
func abort(ctx context.Context, dir string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), launchTimeout)
	defer cancel()
	return errors.Join(err, Cleanup(ctx, dir))
}

// Recorded reads from the disk how the containers of a pod fared, in the order
// of their IDs. It is for a pod whose shim is gone (before Cleanup, which
// removes the records): a container that is not recorded as exited died with
// the shim. Nothing recorded is not an error.
func Recorded(dir string) ([]protocol.ContainerStatus, error) {
	all, err := record.ReadAll[protocol.ContainerStatus](filepath.Join(dir, protocol.RecordsIn))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}
