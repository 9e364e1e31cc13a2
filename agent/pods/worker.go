package pods

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/client"
)

// forever is the pause of a step that waits for an event alone.
const forever = time.Duration(math.MaxInt64)

// shimTimeout bounds one call of a shim; making a container is the longest.
const shimTimeout = time.Minute

// errForgotten ends a worker: nothing of its pod is left.
var errForgotten = errors.New("pod is forgotten")

// worker brings one pod from where it is to where it should be.
type worker struct {
	m    *Manager
	uid  types.UID
	data string // folder on the disk
	runs string // the shim's folder
	log  *slog.Logger
	wake chan struct{} // holds one wake-up
	logs logs

	mu   sync.Mutex
	pod  *corev1.Pod // the latest that was desired; nil if none ever was; guarded by mu
	gone bool        // it is no longer desired; guarded by mu
	// endLive stops what brings the pod up; nil before run. Guarded by mu.
	endLive context.CancelFunc

	// What follows belongs to the goroutine of run.

	rec      *podRecord
	silent   bool // the API's status is not ours to write: what we knew of the pod is lost
	finished bool // the API was told to delete the object
	shim     *client.Shim
	watching chan struct{} // closed when the watch of the shim has ended; nil if there is none
	linked   bool          // the link was attached by this agent
	prepared bool          // files and volumes were made by this agent
	volumes  map[string]string
	ground   *ground
	puller   *puller
	retryAt  map[string]time.Time // when a container that cannot be configured is tried again
	told     map[string]string    // the last event of a kind, by container
	signaled map[string]bool      // container IDs that were asked to end
	killed   map[string]bool      // container IDs that were told to end
	retry    backoff
	writer   *statusWriter
	group    sync.WaitGroup // watch, pull and writer
}

func newWorker(m *Manager, uid types.UID, pod *corev1.Pod) *worker {
	w := &worker{
		m: m, uid: uid, data: podDir(m.cfg.DataDir, uid), runs: podDir(m.cfg.RunDir, uid),
		log: m.log.With("pod", uid), wake: make(chan struct{}, 1), pod: pod, gone: pod == nil,
		retryAt: map[string]time.Time{}, told: map[string]string{},
		signaled: map[string]bool{}, killed: map[string]bool{},
		retry: backoff{first: m.cfg.Timing.Retry, most: m.cfg.Timing.RetryMax},
	}
	if pod != nil {
		w.log = m.log.With("pod", pod.Namespace+"/"+pod.Name, "uid", uid)
	}
	w.writer = &statusWriter{cluster: m.parts.Cluster, log: w.log, settled: w.nudge, kick: make(chan struct{}, 1),
		retry: backoff{first: m.cfg.Timing.Retry, most: m.cfg.Timing.RetryMax}}
	w.ground = &ground{dir: w.data, cfg: &m.cfg, sources: m.parts.Sources}
	w.puller = &puller{images: m.parts.Images, timing: m.cfg.Timing, auth: credentials(m.parts.Sources, w.log),
		event: w.event, nudge: w.nudge, group: &w.group, states: map[string]*pullState{}}
	return w
}

// update says what is desired of the pod now; nil if nothing is.
func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	changed := w.gone != (pod == nil) || pod != nil && pod != w.pod
	w.gone = pod == nil
	if pod != nil {
		w.pod = pod
	}
	if w.endLive != nil && (w.gone || w.pod.DeletionTimestamp != nil) {
		w.endLive()
	}
	w.mu.Unlock()
	if changed {
		w.nudge()
	}
}

func (w *worker) desired() (pod *corev1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod, w.gone
}

// nudge makes the worker look again.
func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run works until nothing is left of the pod, or ctx ends.
func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer w.group.Wait()
	defer w.logs.close()
	defer cancel()
	bringUp, endLive := context.WithCancel(ctx)
	defer endLive()
	w.mu.Lock()
	w.endLive = endLive
	if w.gone || w.pod.DeletionTimestamp != nil {
		endLive()
	}
	w.mu.Unlock()
	w.group.Go(func() { w.writer.run(ctx) })
	for ctx.Err() == nil {
		wait, err := w.step(ctx, bringUp)
		if errors.Is(err, errForgotten) {
			return
		}
		switch {
		case err == nil:
			w.retry.reset()
		case errors.Is(err, context.Canceled) && bringUp.Err() != nil && w.rec != nil && w.rec.Stage == live:
			wait = 0 // the pod is to end now; the next step begins with that
		default:
			wait = w.retry.pause()
			w.log.Warn("pod is tried again", "in", wait, "error", err)
		}
		w.publish()
		if wait > 0 {
			w.sleep(ctx, wait)
		}
	}
}

func (w *worker) sleep(ctx context.Context, d time.Duration) {
	var timer <-chan time.Time
	if d != forever {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-w.wake:
	case <-timer:
	case <-ctx.Done():
	}
}

// step does one thing and says how long there is nothing else to do; 0 means look again.
func (w *worker) step(ctx, bringUp context.Context) (time.Duration, error) {
	pod, gone := w.desired()
	if w.rec == nil {
		return 0, w.recover(ctx, pod, gone)
	}
	if err := w.observe(ctx); err != nil {
		return 0, err
	}
	switch w.rec.Stage {
	case live:
		if why := w.endReason(pod, gone); why != "" {
			return 0, w.beginStop(pod, gone, why)
		}
		return w.converge(bringUp, pod)
	case stopping:
		return w.stop(ctx, pod, gone)
	}
	return w.finish(ctx, pod, gone)
}

// recover reads what an earlier agent knew, and finds the pod's shim.
func (w *worker) recover(ctx context.Context, pod *corev1.Pod, gone bool) error {
	rec, err := readRecord(w.data)
	if err != nil {
		w.log.Error("the pod's record is unreadable; what runs of it is ended", "error", err)
	}
	if rec == nil {
		return w.begin(ctx, pod, gone)
	}
	w.rec = rec
	w.logs.show(rec.Facts.Containers)
	if !rec.Sandbox {
		return nil
	}
	w.shim, err = client.Attach(ctx, w.runs, w.log)
	if errors.Is(err, client.ErrGone) {
		return w.lost(ctx)
	}
	if err != nil {
		w.rec = nil // try again from the start
		return err
	}
	w.log.Info("pod found again")
	return nil
}

// begin takes up a pod of which nothing is known.
func (w *worker) begin(ctx context.Context, pod *corev1.Pod, gone bool) error {
	if err := client.Cleanup(ctx, w.runs); err != nil {
		return err
	}
	if gone {
		pod = &corev1.Pod{}
		pod.UID = w.uid
	}
	rec := newRecord(pod, w.m.cfg.NodeIP.String())
	if gone || pod.DeletionTimestamp != nil || ended(pod) {
		w.silent = true
		rec.Stage = stopping // nothing runs, so that it is released at once
	}
	if err := unmountAll(w.data); err != nil {
		return err
	}
	if !w.silent {
		if err := rec.write(w.data); err != nil {
			return err
		}
	}
	w.rec = rec
	return nil
}

// ended tells whether the API says that the pod's life is over.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// endReason says why a living pod must stop, or nothing.
func (w *worker) endReason(pod *corev1.Pod, gone bool) string {
	switch {
	case gone:
		return "it was removed"
	case pod.DeletionTimestamp != nil:
		return "it was deleted"
	case ended(pod):
		return "the API says that it is over"
	case w.rec.Facts.Complete(pod):
		return "its work is over"
	}
	return ""
}

// save makes the record durable. An agent that dies before it repeats the step.
func (w *worker) save() error {
	w.logs.show(w.rec.Facts.Containers)
	return w.rec.write(w.data)
}

// publish lets the API know the status.
func (w *worker) publish() {
	pod, gone := w.desired()
	if pod == nil || gone || w.rec == nil || w.silent {
		return
	}
	w.writer.set(pod, status.Of(pod, &w.rec.Facts))
}

// event tells the API's users; the same thing about the same container is told once in a row.
func (w *worker) event(about, kind, reason, message string) {
	pod, _ := w.desired()
	if pod == nil || w.told[about] == reason+message {
		return
	}
	w.told[about] = reason + message
	w.m.parts.Cluster.Record(pod, kind, reason, message)
}

// fact is what is known about a container, made if need be.
func (w *worker) fact(name string) *status.Container {
	f := w.rec.Facts.Containers[name]
	if f == nil {
		f = &status.Container{}
		w.rec.Facts.Containers[name] = f
	}
	return f
}

// containerDir is where the root file system of one attempt is.
func (w *worker) containerDir(id string) string { return filepath.Join(w.data, "c", id) }

// logPath of one attempt of a container.
func (w *worker) logPath(container string, attempt int) string {
	return filepath.Join(logDir(w.m.cfg.LogDir, w.rec.Namespace, w.rec.Name, w.uid), container, fmt.Sprintf("%d.log", attempt))
}
