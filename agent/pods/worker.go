package pods

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/client"
)

// forever is the pause of a step that waits for an event alone.
const forever = time.Duration(math.MaxInt64)

// errForgotten ends a worker: nothing of its pod is left.
var errForgotten = errors.New("pod is forgotten")

// worker brings one pod from where it is to where it should be.
type worker struct {
	*book
	box      *sandbox
	runner   *runner
	stopper  *stopper
	writer   *statusWriter
	retry    backoff
	finished bool // the API was told to delete the object
}

func newWorker(m *Manager, uid types.UID, pod *corev1.Pod) *worker {
	log := m.log.With("uid", uid)
	if pod != nil {
		log = log.With("pod", pod.Namespace+"/"+pod.Name)
	}
	b := &book{
		m: m, uid: uid, data: podDir(m.cfg.DataDir, uid), runs: podDir(m.cfg.RunDir, uid),
		log: log, wake: make(chan struct{}, 1), pod: pod, gone: pod == nil, told: map[string]string{},
	}
	retry := backoff{first: m.cfg.Timing.Retry, most: m.cfg.Timing.RetryMax}
	box := &sandbox{book: b, ground: &ground{dir: b.data, cfg: &m.cfg, sources: m.parts.Sources}}
	return &worker{
		book: b, box: box, retry: retry,
		runner: &runner{book: b, box: box, retryAt: map[string]time.Time{}, puller: &puller{
			images: m.parts.Images, timing: m.cfg.Timing, auth: credentials(m.parts.Sources, log),
			event: b.event, nudge: b.nudge, group: &b.group, states: map[string]*pullState{},
		}},
		stopper: &stopper{book: b, box: box, signaled: map[string]bool{}, killed: map[string]bool{}},
		writer:  &statusWriter{cluster: m.parts.Cluster, log: log, settled: b.nudge, kick: make(chan struct{}, 1), retry: retry},
	}
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

// run works until nothing is left of the pod, or ctx ends.
func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer w.group.Wait()
	defer w.logs.close()
	defer cancel()
	bringUp := w.liveContext(ctx)
	w.group.Go(func() { w.writer.run(ctx) })
	for ctx.Err() == nil {
		if bringUp.Err() != nil {
			bringUp = w.liveContext(ctx)
		}
		wait, err := w.step(ctx, bringUp)
		if errors.Is(err, errForgotten) {
			return
		}
		switch {
		case err == nil:
			w.retry.reset()
		case errors.Is(err, context.Canceled) && bringUp.Err() != nil && w.rec != nil && w.rec.Stage == live:
			wait = 0 // the pod is to end now; the next step begins with that
		case ctx.Err() != nil:
			return
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

// liveContext is for what brings the pod up; it ends as soon as the pod is to end.
func (w *worker) liveContext(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLive = cancel
	if w.gone || w.pod.DeletionTimestamp != nil {
		cancel()
	}
	return ctx
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
	// A shim that hangs must not keep its pod from being ended.
	observed := w.box.observe(ctx)
	switch w.rec.Stage {
	case live:
		if why := w.endReason(pod, gone); why != "" {
			return 0, w.stopper.begin(pod, gone, why)
		}
		if observed != nil {
			return 0, observed
		}
		return w.runner.converge(bringUp, pod)
	case stopping:
		if observed != nil && !w.stopper.late() {
			return 0, observed
		}
		return w.stopper.stop(ctx, pod, gone)
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
	attaching, cancel := context.WithTimeout(ctx, w.m.cfg.Timing.Call)
	defer cancel()
	w.box.shim, err = client.Attach(attaching, w.runs, w.log)
	ending := rec.Stage != live || w.endReason(pod, gone) != ""
	if errors.Is(err, client.ErrGone) || err != nil && ending && ctx.Err() == nil { // one that hangs ends with its pod
		err = w.box.lost(ctx)
	}
	if err != nil {
		w.rec = nil // try again from the start
		return err
	}
	w.log.Info("pod found again", "running", w.box.shim != nil)
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
	if err := w.stopper.releaseDisk(); err != nil {
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

// publish lets the API know the status.
func (w *worker) publish() {
	pod, gone := w.desired()
	if pod == nil || gone || w.rec == nil || w.silent {
		return
	}
	w.logs.show(w.rec.Facts.Containers)
	w.writer.set(pod, status.Of(pod, &w.rec.Facts))
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
