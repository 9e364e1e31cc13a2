package pods

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/client"
	"github.com/holt-project/holt/agent/shim/protocol"
)

// sandbox makes what is missing of the ground that the pod's containers share.
func (w *worker) sandbox(ctx context.Context, pod *corev1.Pod) error {
	if w.shim == nil {
		if err := w.startShim(ctx, pod); err != nil {
			return err
		}
	}
	f := &w.rec.Facts
	if !w.linked {
		ip := w.m.cfg.NodeIP
		if !w.rec.HostNetwork {
			var err error
			if ip, err = w.m.parts.Links.Attach(ctx, string(w.uid), w.shim.NamespacePath("net")); err != nil {
				return err
			}
		}
		f.PodIP, w.linked = ip.String(), true
	}
	if w.prepared {
		return nil
	}
	if err := w.ground.files(pod, f.PodIP); err != nil {
		return err
	}
	if err := w.ground.makeShm(); err != nil {
		return err
	}
	f.SandboxReady, w.prepared = true, true
	return w.save()
}

func (w *worker) startShim(ctx context.Context, pod *corev1.Pod) error {
	w.rec.Sandbox = true // before it is, so that it will be found
	if err := w.save(); err != nil {
		return err
	}
	p := protocol.Pod{
		UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name, Hostname: hostname(pod),
		CgroupParent: filepath.Join(w.m.cfg.CgroupRoot, "pod"+string(pod.UID)),
		HostNetwork:  pod.Spec.HostNetwork, HostIPC: pod.Spec.HostIPC, HostPID: pod.Spec.HostPID,
	}
	if pod.Spec.HostNetwork {
		p.Hostname = ""
	}
	if sc := pod.Spec.SecurityContext; sc != nil && len(sc.Sysctls) > 0 {
		p.Sysctls = map[string]string{}
		for _, s := range sc.Sysctls {
			p.Sysctls[s.Name] = s.Value
		}
	}
	var err error
	w.shim, err = client.Start(ctx, client.Launch{Binary: w.m.cfg.ShimBinary, Dir: w.runs, Pod: p}, w.log)
	return err
}

// observe takes over what the shim knows, and finds out when it has died.
func (w *worker) observe(ctx context.Context) error {
	if w.shim == nil {
		return nil
	}
	// First watch, then look: no change falls in between.
	if err := w.watch(ctx); err != nil && !errors.Is(err, client.ErrGone) {
		return err
	}
	callCtx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	state, err := w.shim.State(callCtx)
	if errors.Is(err, client.ErrGone) {
		return w.lost(ctx)
	}
	if err != nil {
		return err
	}
	changed := false
	for _, c := range state.Containers {
		changed = w.take(c) || changed
	}
	for _, f := range w.rec.Facts.Containers {
		if f.Running() && !known(state.Containers, f.ID) {
			w.end(f, lostContainer(f.Started, "the shim does not know the container"))
			changed = true
		}
	}
	if changed {
		return w.save()
	}
	return nil
}

func known(list []protocol.ContainerStatus, id string) bool {
	for _, c := range list {
		if c.ID == id {
			return true
		}
	}
	return false
}

// watch has every change of the shim wake the worker.
func (w *worker) watch(ctx context.Context) error {
	if w.watching != nil {
		select {
		case <-w.watching:
		default:
			return nil
		}
	}
	states, err := w.shim.Watch(ctx)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	w.watching = ended
	w.group.Go(func() {
		defer w.nudge()
		defer close(ended)
		for range states {
			w.nudge()
		}
	})
	return nil
}

// take lays what a shim says about one container over what is known, and tells whether that was news.
func (w *worker) take(s protocol.ContainerStatus) bool {
	name, f := w.byID(s.ID)
	if f == nil || f.Ended != nil {
		return false
	}
	news := false
	if f.Started.IsZero() && !s.StartedAt.IsZero() {
		f.Started, f.Waiting, news = s.StartedAt, nil, true
		w.event(name, corev1.EventTypeNormal, "Started", "Started container "+name)
	}
	if s.Status == protocol.Exited {
		ended := exitOf(s)
		if ended.Message = readMessage(w.messageFile(s.ID)); ended.Message == "" {
			ended.Message = s.Error
		}
		w.end(f, ended)
		news = true
	}
	return news
}

// end notes how the current attempt ended, and settles how long the next one waits.
func (w *worker) end(f *status.Container, ended *corev1.ContainerStateTerminated) {
	f.Ended = ended
	if ended.FinishedAt.Sub(ended.StartedAt.Time) >= w.m.cfg.Timing.RestartReset && !ended.StartedAt.IsZero() {
		f.Delay = 0
	}
	if f.ID != "" {
		ended.ContainerID = status.IDPrefix + string(w.uid) + "." + f.ID
	}
}

// byID finds the container whose current attempt has the ID.
func (w *worker) byID(id string) (string, *status.Container) {
	for name, f := range w.rec.Facts.Containers {
		if f.ID == id {
			return name, f
		}
	}
	return "", nil
}

// exitOf turns the shim's words into the API's.
func exitOf(s protocol.ContainerStatus) *corev1.ContainerStateTerminated {
	out := &corev1.ContainerStateTerminated{
		ExitCode: int32(s.ExitCode), Signal: int32(s.Signal), Reason: "Error",
		StartedAt: status.Time(s.StartedAt), FinishedAt: status.Time(s.FinishedAt),
	}
	switch {
	case s.OOMKilled && s.ExitCode != 0: // another process than the first may have been killed
		out.Reason = "OOMKilled"
	case s.ExitCode == 0:
		out.Reason = "Completed"
	}
	return out
}

// lostContainer ends a container of whose end nobody knows more.
func lostContainer(started time.Time, why string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "Error", Message: why, StartedAt: status.Time(started), FinishedAt: status.Time(time.Now()),
	}
}

// lost deals with the death of the shim: its containers are dead, and its namespaces go.
func (w *worker) lost(ctx context.Context) error {
	recorded, err := client.Recorded(w.runs)
	if err != nil {
		w.log.Error("how the containers ended is unreadable", "error", err)
	}
	for _, s := range recorded {
		w.take(s)
	}
	for _, f := range w.rec.Facts.Containers {
		if f.Running() {
			w.end(f, lostContainer(f.Started, "the pod's shim ended"))
		}
	}
	if err := w.save(); err != nil { // before the shim's own records are removed
		return err
	}
	if err := client.Cleanup(ctx, w.runs); err != nil {
		return err
	}
	if !w.rec.HostNetwork {
		if err := w.m.parts.Links.Detach(ctx, string(w.uid)); err != nil {
			return err
		}
	}
	w.shim, w.watching, w.linked, w.prepared = nil, nil, false, false
	w.rec.Sandbox, w.rec.Facts.SandboxReady, w.rec.Facts.PodIP = false, false, ""
	pod, gone := w.desired()
	if w.rec.Stage == live && !gone && w.endReason(pod, gone) == "" {
		w.event("", corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		w.againFromStart(pod)
	}
	return w.save()
}

// againFromStart lets init containers run again, as they must in a new sandbox.
func (w *worker) againFromStart(pod *corev1.Pod) {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		f := w.rec.Facts.Containers[c.Name]
		if f == nil || f.Ended == nil || status.Sidecar(c) {
			continue
		}
		f.Last, f.Ended, f.Started, f.ID = f.Ended, nil, time.Time{}, ""
		f.Attempt++
	}
}

// sandboxFailed tells why containers cannot be made yet.
func (w *worker) sandboxFailed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	message := fmt.Sprintf("Failed to create pod sandbox: %s", err)
	w.event("", corev1.EventTypeWarning, "FailedCreatePodSandBox", message)
	return fmt.Errorf("sandbox: %w", err)
}
