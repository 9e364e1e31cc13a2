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
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/client"
)

// beginStop starts the pod's end. From here it is not Ready, and only its end can follow.
func (w *worker) beginStop(pod *corev1.Pod, gone bool, why string) error {
	w.mu.Lock()
	w.endLive()
	w.mu.Unlock()
	w.log.Info("pod is stopped", "why", why)
	w.rec.Stage = stopping
	w.rec.StopUntil = time.Now().Add(w.grace(pod, gone))
	w.rec.Facts.Stopping = true
	for name, f := range w.rec.Facts.Containers {
		f.Waiting = nil
		if f.Running() {
			w.event(name, corev1.EventTypeNormal, "Killing", "Stopping container "+name)
		}
	}
	return w.save()
}

// grace is how long containers have to end by themselves.
func (w *worker) grace(pod *corev1.Pod, gone bool) time.Duration {
	switch {
	case gone || pod == nil:
		return w.m.cfg.Timing.ForcedGrace
	case pod.DeletionGracePeriodSeconds != nil:
		return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// stop asks the containers to end, later kills them, and releases the pod when none runs.
func (w *worker) stop(ctx context.Context, pod *corev1.Pod, gone bool) (time.Duration, error) {
	if until := time.Now().Add(w.grace(pod, gone)); until.Before(w.rec.StopUntil) {
		w.rec.StopUntil = until // a second deletion with less patience
	}
	sidecars := map[string]bool{}
	if pod != nil {
		for i := range pod.Spec.InitContainers {
			sidecars[pod.Spec.InitContainers[i].Name] = status.Sidecar(&pod.Spec.InitContainers[i])
		}
	}
	running, mains := 0, 0
	for name, f := range w.rec.Facts.Containers {
		if f.Running() {
			running++
			if !sidecars[name] {
				mains++
			}
		}
	}
	late := time.Since(w.rec.StopUntil)
	if running == 0 || w.shim == nil || late >= w.m.cfg.Timing.KillWait {
		return 0, w.release(ctx)
	}
	for name, f := range w.rec.Facts.Containers {
		if !f.Running() || late < 0 && mains > 0 && sidecars[name] { // sidecars outlive what they serve
			continue
		}
		if err := w.signal(ctx, f, late >= 0); err != nil {
			return 0, err
		}
	}
	if late < 0 {
		return -late, nil
	}
	return w.m.cfg.Timing.KillWait - late, nil
}

// signal asks a container to end, or ends it; each once.
func (w *worker) signal(ctx context.Context, f *status.Container, kill bool) error {
	number, sent := signalNumber(f.StopSignal), w.signaled
	if kill {
		number, sent = unix.SIGKILL, w.killed
	}
	if sent[f.ID] {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	if err := w.shim.Signal(ctx, f.ID, int(number)); err != nil {
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
func (w *worker) release(ctx context.Context) error {
	if w.shim != nil {
		shutdown, cancel := context.WithTimeout(ctx, shimTimeout)
		defer cancel()
		if err := w.shim.Shutdown(shutdown); err != nil && !errors.Is(err, client.ErrGone) {
			w.log.Error("the shim does not end; it is ended by force", "error", err)
		}
		w.shim, w.watching = nil, nil
	}
	if err := client.Cleanup(ctx, w.runs); err != nil {
		return err
	}
	if !w.rec.HostNetwork {
		if err := w.m.parts.Links.Detach(ctx, string(w.uid)); err != nil {
			return err
		}
	}
	if err := w.releaseDisk(); err != nil {
		return err
	}
	for _, f := range w.rec.Facts.Containers {
		if f.Running() {
			w.end(f, lostContainer(f.Started, "the container was killed with its sandbox"))
		}
	}
	w.rec.Stage, w.rec.Sandbox = released, false
	w.rec.Facts.Stopping, w.rec.Facts.SandboxReady, w.rec.Facts.Final = true, false, true
	if w.silent {
		return nil
	}
	return w.save()
}

// releaseDisk removes everything but the record.
func (w *worker) releaseDisk() error {
	entries, err := os.ReadDir(filepath.Join(w.data, "c"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := w.m.parts.Images.Unmount(w.containerDir(e.Name())); err != nil {
			return err
		}
	}
	if err := unmountAll(w.data); err != nil {
		return err
	}
	for _, name := range []string{"c", "volumes", "etc", "message"} {
		if err := os.RemoveAll(filepath.Join(w.data, name)); err != nil {
			return err
		}
	}
	return nil
}

// finish has the object deleted once its last status is there, and forgets the pod once it is gone.
func (w *worker) finish(ctx context.Context, pod *corev1.Pod, gone bool) (time.Duration, error) {
	if gone {
		return 0, w.forget()
	}
	if pod.DeletionTimestamp == nil || w.finished || !w.writer.done() {
		return forever, nil
	}
	if err := w.m.parts.Cluster.Finish(ctx, pod); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return 0, err
	}
	w.finished = true
	return forever, nil
}

// forget removes the last files.
func (w *worker) forget() error {
	logs := ""
	if w.rec.Name != "" {
		logs = logDir(w.m.cfg.LogDir, w.rec.Namespace, w.rec.Name, w.uid)
	}
	for _, dir := range []string{w.runs, logs, w.data} {
		if dir == "" {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return errForgotten
}
