package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/pods/oci"
	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/protocol"
)

// runner brings a pod's containers to run.
type runner struct {
	*book
	box     *sandbox
	puller  *puller
	volumes map[string]string    // places by name; nil until they were made by this agent
	retryAt map[string]time.Time // when a container that could not be configured is tried again
}

// converge brings a living pod one step nearer to what is desired.
func (r *runner) converge(ctx context.Context, pod *corev1.Pod) (time.Duration, error) {
	facts := &r.rec.Facts
	if why := unsupported(pod); why != "" {
		facts.Reason, facts.Message = "Unsupported", why
		r.event("", corev1.EventTypeWarning, "Unsupported", why)
		return forever, nil
	}
	facts.Reason, facts.Message = "", ""
	if err := r.box.up(ctx, pod); err != nil {
		return 0, r.box.failed(err)
	}
	if r.volumes == nil {
		if err := r.makeVolumes(ctx, pod); err != nil {
			return 0, err
		}
	}
	wait := forever
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		next, err := r.ensure(ctx, pod, c, true)
		if err != nil {
			return 0, err
		}
		if wait = min(wait, next); !facts.InitDone(c) {
			return wait, nil
		}
	}
	for i := range pod.Spec.Containers {
		next, err := r.ensure(ctx, pod, &pod.Spec.Containers[i], false)
		if err != nil {
			return 0, err
		}
		wait = min(wait, next)
	}
	return wait, nil
}

// makeVolumes makes the pod's volumes, or brings them up to date after a restart of the agent.
func (r *runner) makeVolumes(ctx context.Context, pod *corev1.Pod) error {
	volumes, err := r.box.ground.volumes(ctx, pod)
	switch {
	case err == nil && !r.rec.Volumes:
		r.rec.Volumes = true
		if err := r.save(); err != nil {
			return err
		}
	case err != nil && !r.rec.Volumes:
		r.event("volumes", corev1.EventTypeWarning, "FailedMount", err.Error())
		return err
	case err != nil:
		// Containers had them already; an API that is away must not keep one from being restarted.
		r.log.Warn("volumes stay as they were", "error", err)
	}
	r.volumes = volumes
	return nil
}

// ensure does the next thing for one container. An error means that the pod's shim or disk failed; what is wrong
// with the container alone becomes its waiting state.
func (r *runner) ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container, init bool) (time.Duration, error) {
	f := r.fact(c.Name)
	if f.Running() {
		return forever, nil
	}
	if f.Ended != nil {
		if !status.Restarts(pod, c, init, f.Ended) {
			return forever, nil
		}
		if wait := time.Until(f.Ended.FinishedAt.Add(f.Delay)); wait > 0 && f.Delay > 0 {
			f.Waiting = waitFor("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				f.Delay, c.Name, pod.Name, pod.Namespace, pod.UID))
			r.event(c.Name, corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)",
				c.Name, pod.Name, pod.Namespace, pod.UID))
			return wait, nil
		}
	}
	if wait := time.Until(r.retryAt[c.Name]); wait > 0 {
		return wait, nil
	}
	img, waiting, wait := r.puller.need(ctx, pod, c)
	if img == nil {
		if waiting != nil {
			f.Waiting = waiting
		}
		return wait, nil
	}
	return r.launch(ctx, pod, c, f, *img)
}

// launch makes and starts the next attempt of a container.
func (r *runner) launch(ctx context.Context, pod *corev1.Pod, c *corev1.Container, f *status.Container, img image.Image) (time.Duration, error) {
	if err := r.nextAttempt(ctx, c, f, img); err != nil {
		return 0, err
	}
	request, reason, err := r.configure(ctx, pod, c, f, img)
	if err != nil {
		return r.postpone(c, f, reason, err)
	}
	callCtx, cancel := context.WithTimeout(ctx, 6*r.m.cfg.Timing.Call)
	defer cancel()
	err = r.box.shim.Create(callCtx, request)
	var answer *protocol.Error
	if errors.As(err, &answer) {
		if answer.Code == protocol.CodeRuntime {
			return 0, r.startFailed(c, f, answer)
		}
		return r.postpone(c, f, "CreateContainerError", err)
	}
	if err != nil {
		return 0, err
	}
	r.event(c.Name, corev1.EventTypeNormal, "Created", "Created container: "+c.Name)
	err = r.box.shim.Start(callCtx, f.ID)
	if errors.As(err, &answer) && answer.Code == protocol.CodeRuntime {
		if err := r.box.shim.Signal(callCtx, f.ID, int(unix.SIGKILL)); err != nil {
			return 0, err
		}
		return 0, r.startFailed(c, f, answer)
	}
	if err != nil {
		return 0, err
	}
	f.Waiting = nil
	r.puller.used(c.Name)
	return 0, nil // its start is observed next
}

// nextAttempt gives the attempt its identity before anything of it exists. An attempt that was begun and not made
// keeps its own.
func (r *runner) nextAttempt(ctx context.Context, c *corev1.Container, f *status.Container, img image.Image) error {
	again := f.Ended != nil
	if f.ID != "" && !again {
		return nil
	}
	if again {
		if err := r.clear(ctx, f.ID); err != nil {
			return err
		}
		f.Last, f.Ended, f.Started = f.Ended, nil, time.Time{}
		f.Attempt++
		if f.Delay == 0 {
			f.Delay = r.m.cfg.Timing.Restart
		} else {
			f.Delay = min(2*f.Delay, r.m.cfg.Timing.RestartMax)
		}
	}
	f.ID = fmt.Sprintf("%s-%d", c.Name, f.Attempt)
	f.ImageID, f.StopSignal = imageID(img), stopSignal(c, img)
	delete(r.told, c.Name)                                                         // a new attempt has its own story
	if err := os.MkdirAll(filepath.Dir(r.logPath(c.Name, 0)), 0o700); err != nil { // before a reader looks for it
		return err
	}
	for _, suffix := range []string{"", ".1"} {
		if err := os.Remove(r.logPath(c.Name, f.Attempt-2) + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("an old log stays", "error", err)
		}
	}
	return r.save()
}

// clear removes what is left of an attempt that ended, except its log.
func (r *runner) clear(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.m.cfg.Timing.Call)
	defer cancel()
	if err := r.box.shim.Remove(ctx, id); err != nil {
		return err
	}
	if err := os.Remove(r.messageFile(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return r.m.parts.Images.Unmount(r.containerDir(id))
}

// configure makes the request for the shim. reason is the waiting reason of an error.
func (r *runner) configure(ctx context.Context, pod *corev1.Pod, c *corev1.Container, f *status.Container,
	img image.Image) (request protocol.Container, reason string, err error) {
	const creation, config = "CreateContainerError", "CreateContainerConfigError"
	services := slices.Concat(r.m.parts.Sources.Services(pod.Namespace), kubernetesService(r.m.parts.Sources, pod))
	env, err := oci.Env(ctx, pod, c, oci.Surroundings{
		HostIP: r.rec.Facts.HostIP, PodIP: r.rec.Facts.PodIP, Capacity: r.m.cfg.Capacity, Services: services,
	}, r.m.parts.Sources)
	if err != nil {
		return request, config, err
	}
	rootfs, err := r.m.parts.Images.Mount(ctx, img, r.containerDir(f.ID))
	if err != nil {
		return request, creation, errors.Join(err, r.m.parts.Images.Unmount(r.containerDir(f.ID)))
	}
	user, err := oci.User(pod, c, img.Config.User, rootfs, r.m.parts.Users)
	if err != nil {
		return request, config, err
	}
	if err := r.makeMessageFile(f.ID); err != nil {
		return request, creation, err
	}
	mounts, err := r.box.ground.mounts(pod, c, r.volumes, r.messageFile(f.ID))
	if err != nil {
		return request, config, err
	}
	shm := r.box.ground.shm()
	if pod.Spec.HostIPC {
		shm = "/dev/shm"
	}
	spec, err := oci.Spec(oci.Container{
		Pod: pod, Container: c, Image: img.Config, Rootfs: rootfs, User: user, Env: env, Hostname: hostname(pod),
		Shm: shm, Mounts: mounts, Capacity: r.m.cfg.Capacity,
		OOMFloor: r.m.oomFloor, Capabilities: r.m.capabilities,
	})
	return protocol.Container{
		ID: f.ID, Spec: spec, LogPath: r.logPath(c.Name, f.Attempt), LogMaxSize: r.m.cfg.LogMaxSize,
		Stdin: c.Stdin, TTY: c.TTY,
	}, config, err
}

// kubernetesService is the API's own, which every pod is told about.
func kubernetesService(sources Sources, pod *corev1.Pod) []*corev1.Service {
	if pod.Namespace == corev1.NamespaceDefault {
		return nil // among its own already
	}
	for _, s := range sources.Services(corev1.NamespaceDefault) {
		if s.Name == "kubernetes" {
			return []*corev1.Service{s}
		}
	}
	return nil
}

// postpone tells what is wrong with a container that could not be made, and when it is tried again.
func (r *runner) postpone(c *corev1.Container, f *status.Container, reason string, err error) (time.Duration, error) {
	if errors.Is(err, context.Canceled) {
		return 0, err
	}
	f.Waiting = waitFor(reason, err.Error())
	r.event(c.Name, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	r.retryAt[c.Name] = time.Now().Add(r.m.cfg.Timing.Pull)
	return r.m.cfg.Timing.Pull, nil
}

// startFailed ends an attempt whose command could not be begun; policy decides about the next.
func (r *runner) startFailed(c *corev1.Container, f *status.Container, err error) error {
	r.event(c.Name, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	r.puller.used(c.Name)
	r.end(f, &corev1.ContainerStateTerminated{
		ExitCode: 128, Reason: "StartError", Message: err.Error(), FinishedAt: status.Time(time.Now()),
	})
	f.Waiting = nil
	return r.save()
}

// stopSignal is the pod's choice, or the image's.
func stopSignal(c *corev1.Container, img image.Image) string {
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		return string(*c.Lifecycle.StopSignal)
	}
	return img.Config.StopSignal
}
