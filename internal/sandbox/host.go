package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// host is one host of a handle's sandbox, and acts on it. It takes no lock of the sandbox: who calls a method that
// changes the host holds the host's lock, or the sandbox's exclusively.
type host struct {
	hostRecord
	paths  paths
	cgroup string // relative to the root of every hierarchy
	env    []string
	groups cgroups
	lan    lan

	mu      sync.Mutex
	child   *child // guarded by mu; the last that this handle started
	reapers sync.WaitGroup
}

func (h *host) inspect() (Host, error) {
	pid, err := h.mainPID()
	if err != nil {
		return Host{}, err
	}
	out := Host{Name: h.Name, Role: h.Role, Address: h.Address.String(), PID: pid, NetNS: h.NetNS, State: StateRunning}
	switch {
	case pid == 0:
		out.State = StateStopped
	case h.groups.frozen(h.cgroup):
		out.State = StatePaused
	case h.isCut():
		out.State = StateCut
	}
	return out, nil
}

// boot makes what is missing of all that a host's process needs.
func (h *host) boot(ctx context.Context) error {
	for _, dir := range []string{h.paths.data, h.paths.log, h.paths.run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := h.lan.connect(h.hostRecord); err != nil {
		return err
	}
	if err := awaitLink(ctx, h.Link); err != nil {
		return err
	}
	if h.isCut() {
		if err := setCut(h.Link, true); err != nil {
			return err
		}
	}
	return h.groups.make(filepath.Join(h.cgroup, mainCgroup))
}

// start boots the host where it is not, and runs its holt process, which must not run.
func (h *host) start(ctx context.Context) error {
	if h.groups.frozen(h.cgroup) {
		return fmt.Errorf("%s: %w", h.Name, ErrPaused)
	}
	pid, err := h.mainPID()
	if err != nil {
		return err
	}
	if pid != 0 {
		return fmt.Errorf("%s: %w (pid %d)", h.Name, ErrRunning, pid)
	}
	if err := h.boot(ctx); err != nil {
		return err
	}
	return h.spawn()
}

func (h *host) endMain(ctx context.Context, signal unix.Signal) error {
	if h.groups.frozen(h.cgroup) {
		return fmt.Errorf("%s: %w", h.Name, ErrPaused)
	}
	return h.signalMain(ctx, signal)
}

// powerOff is Kill; Down begins with it. It can be repeated.
func (h *host) powerOff(ctx context.Context) error {
	// First the cable: the kernel says goodbye (FIN, RST) on behalf of a killed process, a host without power does not.
	if err := setCut(h.Link, true); err != nil {
		return err
	}
	if err := h.groups.kill(ctx, h.cgroup); err != nil {
		return err
	}
	if err := h.reaped(ctx); err != nil {
		return err
	}
	if err := unmountBelow(h.paths.dir); err != nil {
		return err
	}
	if err := h.lan.disconnect(h.hostRecord); err != nil {
		return err
	}
	if err := h.groups.remove(ctx, h.cgroup); err != nil {
		return err
	}
	if err := removeTree(h.paths.run); err != nil {
		return err
	}
	if err := os.Mkdir(h.paths.run, 0o700); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (h *host) pause(ctx context.Context) error {
	err := h.groups.freeze(ctx, h.cgroup)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", h.Name, ErrNotRunning)
	}
	if err != nil {
		// Half frozen is no state that anybody asked for.
		return errors.Join(err, h.groups.thaw(h.cgroup, false))
	}
	return nil
}

func (h *host) resume() error { return h.groups.thaw(h.cgroup, false) }

func (h *host) cut() error {
	if err := os.WriteFile(h.paths.cutMark, nil, 0o600); err != nil {
		return err
	}
	return setCut(h.Link, true)
}

func (h *host) heal() error {
	if err := setCut(h.Link, false); err != nil {
		return err
	}
	err := os.Remove(h.paths.cutMark)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// isCut reads the mark that outlives the host's cable.
func (h *host) isCut() bool {
	_, err := os.Stat(h.paths.cutMark)
	return err == nil
}
