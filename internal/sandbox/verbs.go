package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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
func (s *Sandbox) onHost(ctx context.Context, name string, f func(context.Context, *host) error) error {
	if err := requireRoot(); err != nil {
		return err
	}
	h, err := s.host(name)
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
	unlockHost, err := lockFolder(ctx, h.paths.dir, unix.LOCK_EX)
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

func (s *Sandbox) host(name string) (*host, error) {
	var names []string
	for _, h := range s.hosts {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return nil, fmt.Errorf("%w: %q; sandbox %s has %s", ErrUnknownHost, name, s.rec.Name, strings.Join(names, ", "))
}

// Kill is a power cut: every process of the host ends at one instant, in silence, and what lives in memory is gone:
// mounts, the network namespace, cgroups and the run folder. The data and log folders stay.
func (s *Sandbox) Kill(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(ctx context.Context, h *host) error { return h.powerOff(ctx) })
}

// KillProcess sends SIGKILL to the host's holt process alone, as kill -9 does; pods keep running.
func (s *Sandbox) KillProcess(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(ctx context.Context, h *host) error {
		return h.endMain(ctx, unix.SIGKILL)
	})
}

// Stop asks the host's holt process to end (SIGTERM), and waits until it has, at most 30 seconds; pods keep running.
func (s *Sandbox) Stop(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(ctx context.Context, h *host) error {
		err := h.endMain(ctx, unix.SIGTERM)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s did not end after SIGTERM; end it with: holt host kill --process %s --name %s: %w",
				name, name, s.rec.Name, err)
		}
		return err
	})
}

// Start runs the host's holt process again, after Stop or KillProcess beside the pods that still run, after Kill on
// a freshly booted host. It returns once the process runs, not once it serves.
func (s *Sandbox) Start(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(ctx context.Context, h *host) error { return h.start(ctx) })
}

// Pause freezes every process of the host, pods too, until Resume. Packets still reach its kernel, which answers
// pings and accepts connections, as on a host that starves.
func (s *Sandbox) Pause(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(ctx context.Context, h *host) error { return h.pause(ctx) })
}

// Resume undoes Pause; a host that is not paused stays as it is.
func (s *Sandbox) Resume(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(_ context.Context, h *host) error { return h.resume() })
}

// Cut drops all packets to and from the host, in silence: connections hang. It holds over Kill and Start, until Heal.
func (s *Sandbox) Cut(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(_ context.Context, h *host) error { return h.cut() })
}

// Heal undoes Cut; a host that is not cut stays as it is.
func (s *Sandbox) Heal(ctx context.Context, name string) error {
	return s.onHost(ctx, name, func(_ context.Context, h *host) error { return h.heal() })
}
