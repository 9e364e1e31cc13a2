package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of the verbs on a host.
var (
	ErrNotRunning = errors.New("its holt process does not run")
	ErrRunning    = errors.New("its holt process runs already")
	ErrPaused     = errors.New("the host is paused; resume it first")
)

// verbTimeout bounds what a verb waits for, unless its caller's context ends sooner.
const verbTimeout = 30 * time.Second

// onHost runs f with the host's lock held.
func (s *Sandbox) onHost(ctx context.Context, name string, f func(context.Context, hostRecord) error) error {
	if err := requireRoot(); err != nil {
		return err
	}
	h, err := s.rec.host(name)
	if err != nil {
		return err
	}
	unlockSandbox, err := lockFolder(ctx, s.dir, unix.LOCK_SH)
	if errors.Is(err, os.ErrNotExist) {
		return notFound(s.rec.Name)
	}
	if err != nil {
		return err
	}
	defer unlockSandbox()
	unlockHost, err := lockFolder(ctx, hostPaths(s.dir, name).dir, unix.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sandbox %s was never completed: remove it with: holt down --name %s", s.rec.Name, s.rec.Name)
	}
	if err != nil {
		return err
	}
	defer unlockHost()
	ctx, cancel := context.WithTimeout(ctx, verbTimeout)
	defer cancel()
	return f(ctx, h)
}

// Kill is a power cut: every process of the host ends at one instant, in silence, and what lives in memory is gone:
// mounts, the network namespace, cgroups and the run folder. The data and log folders stay.
func (s *Sandbox) Kill(ctx context.Context, host string) error {
	return s.onHost(ctx, host, s.powerOff)
}

// powerOff needs the lock of the host or of the sandbox. It can be repeated.
func (s *Sandbox) powerOff(ctx context.Context, h hostRecord) error {
	// First the cable: the kernel says goodbye (FIN, RST) on behalf of a killed process, a host without power does not.
	if err := setCut(h, true); err != nil {
		return err
	}
	group := s.rec.cgroup(h)
	if err := s.groups.kill(ctx, group); err != nil {
		return err
	}
	if c := s.childOf(h.Name); c != nil {
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p := hostPaths(s.dir, h.Name)
	if err := unmountBelow(p.dir); err != nil {
		return err
	}
	if err := s.rec.disconnect(h); err != nil {
		return err
	}
	if err := s.groups.remove(ctx, group); err != nil {
		return err
	}
	if err := removeTree(p.run); err != nil {
		return err
	}
	if err := os.Mkdir(p.run, 0o700); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// KillProcess sends SIGKILL to the host's holt process alone, as kill -9 does; pods keep running.
func (s *Sandbox) KillProcess(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(ctx context.Context, h hostRecord) error {
		return s.endMain(ctx, h, unix.SIGKILL)
	})
}

// Stop asks the host's holt process to end (SIGTERM), and waits until it has, at most 30 seconds; pods keep running.
func (s *Sandbox) Stop(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(ctx context.Context, h hostRecord) error {
		err := s.endMain(ctx, h, unix.SIGTERM)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s did not end after SIGTERM; end it with: holt host kill --process %s --name %s: %w",
				host, host, s.rec.Name, err)
		}
		return err
	})
}

func (s *Sandbox) endMain(ctx context.Context, h hostRecord, signal unix.Signal) error {
	if s.groups.frozen(s.rec.cgroup(h)) {
		return fmt.Errorf("%s: %w", h.Name, ErrPaused)
	}
	return s.signalMain(ctx, h, signal)
}

// Start runs the host's holt process again, after Stop or KillProcess beside the pods that still run, after Kill on
// a freshly booted host. It returns once the process runs, not once it serves.
func (s *Sandbox) Start(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(ctx context.Context, h hostRecord) error {
		if s.groups.frozen(s.rec.cgroup(h)) {
			return fmt.Errorf("%s: %w", h.Name, ErrPaused)
		}
		pid, err := s.mainPID(h)
		if err != nil {
			return err
		}
		if pid != 0 {
			return fmt.Errorf("%s: %w (pid %d)", h.Name, ErrRunning, pid)
		}
		if err := s.boot(ctx, h); err != nil {
			return err
		}
		return s.spawn(h)
	})
}

// boot makes what is missing of all that a host's process needs.
func (s *Sandbox) boot(ctx context.Context, h hostRecord) error {
	p := hostPaths(s.dir, h.Name)
	for _, dir := range []string{p.data, p.log, p.run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := s.rec.connect(h); err != nil {
		return err
	}
	if err := awaitLink(ctx, h); err != nil {
		return err
	}
	if isCut(s.dir, h.Name) {
		if err := setCut(h, true); err != nil {
			return err
		}
	}
	return s.groups.make(filepath.Join(s.rec.cgroup(h), mainCgroup))
}

// Pause freezes every process of the host, pods too, until Resume. Packets still reach its kernel, which answers
// pings and accepts connections, as on a host that starves.
func (s *Sandbox) Pause(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(ctx context.Context, h hostRecord) error {
		group := s.rec.cgroup(h)
		err := s.groups.freeze(ctx, group)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %w", h.Name, ErrNotRunning)
		}
		if err != nil {
			// Half frozen is no state that anybody asked for.
			return errors.Join(err, s.groups.thaw(group, false))
		}
		return nil
	})
}

// Resume undoes Pause; a host that is not paused stays as it is.
func (s *Sandbox) Resume(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(_ context.Context, h hostRecord) error {
		return s.groups.thaw(s.rec.cgroup(h), false)
	})
}

// Cut drops all packets to and from the host, in silence: connections hang. It holds over Kill and Start, until Heal.
func (s *Sandbox) Cut(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(_ context.Context, h hostRecord) error {
		if err := os.WriteFile(hostPaths(s.dir, host).cutMark, nil, 0o600); err != nil {
			return err
		}
		return setCut(h, true)
	})
}

// Heal undoes Cut; a host that is not cut stays as it is.
func (s *Sandbox) Heal(ctx context.Context, host string) error {
	return s.onHost(ctx, host, func(_ context.Context, h hostRecord) error {
		if err := setCut(h, false); err != nil {
			return err
		}
		err := os.Remove(hostPaths(s.dir, host).cutMark)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

// isCut reads the mark that outlives the host's cable.
func isCut(dir, host string) bool {
	_, err := os.Stat(hostPaths(dir, host).cutMark)
	return err == nil
}
