package pods

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/client"
)

// stopper ends a pod's containers and gives back what it held.
type stopper struct {
	*book
	box      *sandbox
	signaled map[string]bool // container IDs that were asked to end by this agent
	killed   map[string]bool // container IDs that were told to end by this agent
}

// begin starts the pod's end. From here it is not Ready, and only its end can follow.
func (s *stopper) begin(pod *corev1.Pod, gone bool, why string) error {
	s.mu.Lock()
	s.endLive()
	s.mu.Unlock()
	s.log.Info("pod is stopped", "why", why)
	s.rec.Stage = stopping
	s.rec.StopUntil = time.Now().Add(s.grace(pod, gone))
	s.rec.Facts.Stopping = true
	for name, f := range s.rec.Facts.Containers {
		f.Waiting = nil
		if f.Running() {
			s.event(name, corev1.EventTypeNormal, "Killing", "Stopping container "+name)
		}
	}
	return s.save()
}

// grace is how long containers have to end by themselves.
func (s *stopper) grace(pod *corev1.Pod, gone bool) time.Duration {
	switch {
	case gone || pod == nil:
		return s.m.cfg.Timing.ForcedGrace
	case pod.DeletionGracePeriodSeconds != nil:
		return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// stop asks the containers to end, later kills them, and releases the pod when none runs.
func (s *stopper) stop(ctx context.Context, pod *corev1.Pod, gone bool) (time.Duration, error) {
	if until := time.Now().Add(s.grace(pod, gone)); until.Before(s.rec.StopUntil) {
		s.rec.StopUntil = until // a second deletion with less patience
	}
	sidecars := map[string]bool{}
	if pod != nil {
		for i := range pod.Spec.InitContainers {
			sidecars[pod.Spec.InitContainers[i].Name] = status.Sidecar(&pod.Spec.InitContainers[i])
		}
	}
	running, mains := 0, 0
	for name, f := range s.rec.Facts.Containers {
		if f.Running() {
			running++
			if !sidecars[name] {
				mains++
			}
		}
	}
	late := time.Since(s.rec.StopUntil)
	if running == 0 || s.box.shim == nil || s.late() {
		return 0, s.release(ctx)
	}
	for name, f := range s.rec.Facts.Containers {
		if !f.Running() || late < 0 && mains > 0 && sidecars[name] { // sidecars outlive what they serve
			continue
		}
		if err := s.signal(ctx, f, late >= 0); err != nil {
			return 0, err
		}
	}
	if late < 0 {
		return -late, nil
	}
	return s.m.cfg.Timing.KillWait - late, nil
}

// late tells whether what hangs is to be ended by force.
func (s *stopper) late() bool { return time.Since(s.rec.StopUntil) >= s.m.cfg.Timing.KillWait }

// signal asks a container to end, or ends it; each once.
func (s *stopper) signal(ctx context.Context, f *status.Container, kill bool) error {
	number, sent := signalNumber(f.StopSignal), s.signaled
	if kill {
		number, sent = unix.SIGKILL, s.killed
	}
	if sent[f.ID] {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.m.cfg.Timing.Call)
	defer cancel()
	if err := s.box.shim.Signal(ctx, f.ID, int(number)); err != nil {
		return err
	}
	sent[f.ID] = true
	return nil
}

// signalNumber reads SIGTERM, TERM, SIGRTMIN+3 or 15; what cannot be read is SIGTERM.
func signalNumber(name string) unix.Signal {
	const rtmin, last = 34, 64 // as the C library numbers them
	name = strings.ToUpper(name)
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= last {
		return unix.Signal(n)
	}
	if name != "" && !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "+")); err == nil && rtmin+n <= last {
			return unix.Signal(rtmin + n)
		}
	}
	if n := unix.SignalNum(name); n != 0 {
		return n
	}
	return unix.SIGTERM
}

// release gives back all that the pod held, but its logs and what must be told about it.
func (s *stopper) release(ctx context.Context) error {
	if s.box.shim != nil {
		shutdown, cancel := context.WithTimeout(ctx, 6*s.m.cfg.Timing.Call)
		defer cancel()
		if err := s.box.shim.Shutdown(shutdown); err != nil && !errors.Is(err, client.ErrGone) {
			s.log.Error("the shim does not end; it is ended by force", "error", err)
		}
		s.box.shim, s.box.watching = nil, nil
	}
	if err := client.Cleanup(ctx, s.runs); err != nil {
		return err
	}
	if !s.rec.HostNetwork {
		if err := s.m.parts.Links.Detach(ctx, string(s.uid)); err != nil {
			return err
		}
	}
	if err := s.releaseDisk(); err != nil {
		return err
	}
	for _, f := range s.rec.Facts.Containers {
		if f.Running() {
			s.end(f, lostContainer(f.Started, "the container was killed with its sandbox"))
		}
	}
	s.rec.Stage, s.rec.Sandbox = released, false
	s.rec.Facts.Stopping, s.rec.Facts.SandboxReady, s.rec.Facts.Final = true, false, true
	if s.silent {
		return nil
	}
	return s.save()
}

// releaseDisk removes everything but the record.
func (s *stopper) releaseDisk() error {
	entries, err := os.ReadDir(filepath.Join(s.data, "c"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := s.m.parts.Images.Unmount(s.containerDir(e.Name())); err != nil {
			return err
		}
	}
	if err := unmountAll(s.data); err != nil {
		return err
	}
	for _, name := range []string{"c", "volumes", "etc", "message"} {
		if err := os.RemoveAll(filepath.Join(s.data, name)); err != nil {
			return err
		}
	}
	return nil
}
