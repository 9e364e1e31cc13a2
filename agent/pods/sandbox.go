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

// sandbox is the ground that the containers of a pod share, as far as this agent has made or found it.
type sandbox struct {
	*book
	ground   *ground
	shim     *client.Shim  // nil if there is none
	watching chan struct{} // closed when the watch of the shim has ended; nil if there is none
	linked   bool          // the link was attached by this agent
	prepared bool          // the files were made by this agent
}

// up makes what is missing of the ground that the pod's containers share.
func (box *sandbox) up(ctx context.Context, pod *corev1.Pod) error {
	if box.shim == nil {
		if err := box.startShim(ctx, pod); err != nil {
			return err
		}
	}
	f := &box.rec.Facts
	if !box.linked {
		ip := box.m.cfg.NodeIP
		if !box.rec.HostNetwork {
			var err error
			if ip, err = box.m.parts.Links.Attach(ctx, string(box.uid), box.shim.NamespacePath("net")); err != nil {
				return err
			}
		}
		f.PodIP, box.linked = ip.String(), true
	}
	if box.prepared {
		return nil
	}
	if err := box.ground.files(pod, f.PodIP); err != nil {
		return err
	}
	if err := box.ground.makeShm(); err != nil {
		return err
	}
	f.SandboxReady, box.prepared = true, true
	return box.save()
}

func (box *sandbox) startShim(ctx context.Context, pod *corev1.Pod) error {
	box.rec.Sandbox = true // before it is, so that it will be found
	if err := box.save(); err != nil {
		return err
	}
	p := protocol.Pod{
		UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name, Hostname: hostname(pod),
		CgroupParent: filepath.Join(box.m.cfg.CgroupRoot, "pod"+string(pod.UID)),
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
	box.shim, err = client.Start(ctx, client.Launch{Binary: box.m.cfg.ShimBinary, Dir: box.runs, Pod: p}, box.log)
	return err
}

// observe takes over what the shim knows, and finds out when it has died.
func (box *sandbox) observe(ctx context.Context) error {
	if box.shim == nil {
		return nil
	}
	// First watch, then look: no change falls in between.
	if err := box.watch(ctx); err != nil && !errors.Is(err, client.ErrGone) {
		return err
	}
	callCtx, cancel := context.WithTimeout(ctx, box.m.cfg.Timing.Call)
	defer cancel()
	state, err := box.shim.State(callCtx)
	if errors.Is(err, client.ErrGone) {
		return box.lost(ctx)
	}
	if err != nil {
		return err
	}
	changed := false
	for _, c := range state.Containers {
		changed = box.take(c) || changed
	}
	for _, f := range box.rec.Facts.Containers {
		if f.Running() && !known(state.Containers, f.ID) {
			box.end(f, lostContainer(f.Started, "the shim does not know the container"))
			changed = true
		}
	}
	if changed {
		return box.save()
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
func (box *sandbox) watch(ctx context.Context) error {
	if box.watching != nil {
		select {
		case <-box.watching:
		default:
			return nil
		}
	}
	states, err := box.shim.Watch(ctx)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	box.watching = ended
	box.group.Go(func() {
		defer box.nudge()
		defer close(ended)
		for range states {
			box.nudge()
		}
	})
	return nil
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
func (box *sandbox) lost(ctx context.Context) error {
	recorded, err := client.Recorded(box.runs)
	if err != nil {
		box.log.Error("how the containers ended is unreadable", "error", err)
	}
	for _, s := range recorded {
		box.take(s)
	}
	for _, f := range box.rec.Facts.Containers {
		if f.Running() {
			box.end(f, lostContainer(f.Started, "the pod's shim ended"))
		}
	}
	if err := box.save(); err != nil { // before the shim's own records are removed
		return err
	}
	if err := client.Cleanup(ctx, box.runs); err != nil {
		return err
	}
	if !box.rec.HostNetwork {
		if err := box.m.parts.Links.Detach(ctx, string(box.uid)); err != nil {
			return err
		}
	}
	box.shim, box.watching, box.linked, box.prepared = nil, nil, false, false
	box.rec.Sandbox, box.rec.Volumes, box.rec.Facts.SandboxReady, box.rec.Facts.PodIP = false, false, false, ""
	pod, gone := box.desired()
	if box.rec.Stage == live && !gone && box.endReason(pod, gone) == "" {
		box.event("", corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		box.againFromStart(pod)
	}
	return box.save()
}

// againFromStart lets init containers run again, as they must in a new sandbox.
func (box *sandbox) againFromStart(pod *corev1.Pod) {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		f := box.rec.Facts.Containers[c.Name]
		if f == nil || f.Ended == nil || status.Sidecar(c) {
			continue
		}
		f.Last, f.Ended, f.Started, f.ID = f.Ended, nil, time.Time{}, ""
		f.Attempt++
	}
}

// failed tells why containers cannot be made yet.
func (box *sandbox) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	message := fmt.Sprintf("Failed to create pod sandbox: %s", err)
	box.event("", corev1.EventTypeWarning, "FailedCreatePodSandBox", message)
	return fmt.Errorf("sandbox: %w", err)
}
