package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/pods/oci"
	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/protocol"
)

// converge brings a living pod one step nearer to what is desired.
func (w *worker) converge(ctx context.Context, pod *corev1.Pod) (time.Duration, error) {
	facts := &w.rec.Facts
	if why := unsupported(pod); why != "" {
		facts.Reason, facts.Message = "Unsupported", why
		w.event("", corev1.EventTypeWarning, "Unsupported", why)
		return forever, nil
	}
	facts.Reason, facts.Message = "", ""
	if err := w.sandbox(ctx, pod); err != nil {
		return 0, w.sandboxFailed(err)
	}
	if w.volumes == nil {
		volumes, err := w.ground.volumes(ctx, pod)
		if err != nil {
			w.event("volumes", corev1.EventTypeWarning, "FailedMount", err.Error())
			return 0, err
		}
		w.volumes = volumes
	}
	wait := forever
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		next, err := w.ensure(ctx, pod, c, true)
		if err != nil {
			return 0, err
		}
		if wait = min(wait, next); !facts.InitDone(c) {
			return wait, nil
		}
	}
	for i := range pod.Spec.Containers {
		next, err := w.ensure(ctx, pod, &pod.Spec.Containers[i], false)
		if err != nil {
			return 0, err
		}
		wait = min(wait, next)
	}
	return wait, nil
}

// ensure does the next thing for one container. An error means that the pod's shim or disk failed; what is wrong
// with the container alone becomes its waiting state.
func (w *worker) ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container, init bool) (time.Duration, error) {
	f := w.fact(c.Name)
	if f.Running() {
		return forever, nil
	}
	if f.Ended != nil {
		if !status.Restarts(pod, c, init, f.Ended) || init && !status.Sidecar(c) && w.mainsBegan(pod) {
			return forever, nil
		}
		if wait := time.Until(f.Ended.FinishedAt.Add(f.Delay)); wait > 0 && f.Delay > 0 {
			f.Waiting = waitFor("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				f.Delay, c.Name, pod.Name, pod.Namespace, pod.UID))
			w.event(c.Name, corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)",
				c.Name, pod.Name, pod.Namespace, pod.UID))
			return wait, nil
		}
	}
	if wait := time.Until(w.retryAt[c.Name]); wait > 0 {
		return wait, nil
	}
	img, waiting, wait := w.puller.need(ctx, pod, c)
	if img == nil {
		if waiting != nil {
			f.Waiting = waiting
		}
		return wait, nil
	}
	return w.launch(ctx, pod, c, f, *img)
}

// mainsBegan tells whether a container that is not an init container was begun: no init container runs after that.
func (w *worker) mainsBegan(pod *corev1.Pod) bool {
	for i := range pod.Spec.Containers {
		if f := w.rec.Facts.Containers[pod.Spec.Containers[i].Name]; f != nil && f.ID != "" {
			return true
		}
	}
	return false
}

// launch makes and starts the next attempt of a container.
func (w *worker) launch(ctx context.Context, pod *corev1.Pod, c *corev1.Container, f *status.Container, img image.Image) (time.Duration, error) {
	if err := w.nextAttempt(ctx, c, f, img); err != nil {
		return 0, err
	}
	request, reason, err := w.configure(ctx, pod, c, f, img)
	if err != nil {
		return w.postpone(c, f, reason, err)
	}
	callCtx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	err = w.shim.Create(callCtx, request)
	var answer *protocol.Error
	if errors.As(err, &answer) {
		if answer.Code == protocol.CodeRuntime {
			return 0, w.startFailed(c, f, answer)
		}
		return w.postpone(c, f, "CreateContainerError", err)
	}
	if err != nil {
		return 0, err
	}
	w.event(c.Name, corev1.EventTypeNormal, "Created", "Created container: "+c.Name)
	err = w.shim.Start(callCtx, f.ID)
	if errors.As(err, &answer) && answer.Code == protocol.CodeRuntime {
		if err := w.shim.Signal(callCtx, f.ID, int(unix.SIGKILL)); err != nil {
			return 0, err
		}
		return 0, w.startFailed(c, f, answer)
	}
	if err != nil {
		return 0, err
	}
	f.Waiting = nil
	w.puller.used(c.Name)
	return 0, nil // its start is observed next
}

// nextAttempt gives the attempt its identity before anything of it exists. An attempt that was begun and not made
// keeps its own.
func (w *worker) nextAttempt(ctx context.Context, c *corev1.Container, f *status.Container, img image.Image) error {
	again := f.Ended != nil
	if f.ID != "" && !again {
		return nil
	}
	if again {
		if err := w.clear(ctx, f.ID); err != nil {
			return err
		}
		f.Last, f.Ended, f.Started = f.Ended, nil, time.Time{}
		f.Attempt++
		if f.Delay == 0 {
			f.Delay = w.m.cfg.Timing.Restart
		} else {
			f.Delay = min(2*f.Delay, w.m.cfg.Timing.RestartMax)
		}
	}
	f.ID = fmt.Sprintf("%s-%d", c.Name, f.Attempt)
	f.ImageID, f.StopSignal = imageID(img), stopSignal(c, img)
	delete(w.told, c.Name) // a new attempt has its own story
	for _, suffix := range []string{"", ".1"} {
		if err := os.Remove(w.logPath(c.Name, f.Attempt-2) + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.log.Warn("an old log stays", "error", err)
		}
	}
	return w.save()
}

// clear removes what is left of an attempt that ended, except its log.
func (w *worker) clear(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	if err := w.shim.Remove(ctx, id); err != nil {
		return err
	}
	if err := os.Remove(w.messageFile(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return w.m.parts.Images.Unmount(w.containerDir(id))
}

// configure makes the request for the shim. reason is the waiting reason of an error.
func (w *worker) configure(ctx context.Context, pod *corev1.Pod, c *corev1.Container, f *status.Container,
	img image.Image) (request protocol.Container, reason string, err error) {
	const creation, config = "CreateContainerError", "CreateContainerConfigError"
	services := append(w.m.parts.Sources.Services(pod.Namespace), kubernetesService(w.m.parts.Sources, pod)...)
	env, err := oci.Env(ctx, pod, c, oci.Surroundings{
		HostIP: w.rec.Facts.HostIP, PodIP: w.rec.Facts.PodIP, Capacity: w.m.cfg.Capacity, Services: services,
	}, w.m.parts.Sources)
	if err != nil {
		return request, config, err
	}
	rootfs, err := w.m.parts.Images.Mount(ctx, img, w.containerDir(f.ID))
	if err != nil {
		return request, creation, errors.Join(err, w.m.parts.Images.Unmount(w.containerDir(f.ID)))
	}
	user, err := oci.User(pod, c, img.Config.User, rootfs, w.m.parts.Users)
	if err != nil {
		return request, config, err
	}
	if err := w.makeMessageFile(f.ID); err != nil {
		return request, creation, err
	}
	mounts, err := w.ground.mounts(pod, c, w.volumes, w.messageFile(f.ID))
	if err != nil {
		return request, config, err
	}
	shm := w.ground.shm()
	if pod.Spec.HostIPC {
		shm = "/dev/shm"
	}
	spec, err := oci.Spec(oci.Container{
		Pod: pod, Container: c, Image: img.Config, Rootfs: rootfs, User: user, Env: env, Hostname: hostname(pod),
		Shm: shm, Mounts: mounts, Capacity: w.m.cfg.Capacity,
	})
	return protocol.Container{
		ID: f.ID, Spec: spec, LogPath: w.logPath(c.Name, f.Attempt), LogMaxSize: w.m.cfg.LogMaxSize,
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
func (w *worker) postpone(c *corev1.Container, f *status.Container, reason string, err error) (time.Duration, error) {
	if errors.Is(err, context.Canceled) {
		return 0, err
	}
	f.Waiting = waitFor(reason, err.Error())
	w.event(c.Name, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	w.retryAt[c.Name] = time.Now().Add(w.m.cfg.Timing.Pull)
	return w.m.cfg.Timing.Pull, nil
}

// startFailed ends an attempt whose command could not be begun; policy decides about the next.
func (w *worker) startFailed(c *corev1.Container, f *status.Container, err error) error {
	w.event(c.Name, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	w.puller.used(c.Name)
	w.end(f, &corev1.ContainerStateTerminated{
		ExitCode: 128, Reason: "StartError", Message: err.Error(), FinishedAt: status.Time(time.Now()),
	})
	f.Waiting = nil
	return w.save()
}

// stopSignal is the pod's choice, or the image's.
func stopSignal(c *corev1.Container, img image.Image) string {
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		return string(*c.Lifecycle.StopSignal)
	}
	return img.Config.StopSignal
}

// messageFile is mounted in the container for its last words.
func (w *worker) messageFile(id string) string { return filepath.Join(w.data, "message", id) }

func (w *worker) makeMessageFile(id string) error {
	path := w.messageFile(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // whoever the container runs as
}
