package pods

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/protocol"
)

// book is what is known about one pod: what is desired of it, and what it has come to.
type book struct {
	m     *Manager
	uid   types.UID
	data  string // folder on the disk
	runs  string // the shim's folder
	log   *slog.Logger
	wake  chan struct{}  // holds one wake-up
	group sync.WaitGroup // joins what the worker has going: watch, pull and writer
	logs  logs

	mu   sync.Mutex
	pod  *corev1.Pod // the latest that was desired; nil if none ever was; guarded by mu
	gone bool        // it is no longer desired; guarded by mu
	// endLive stops what brings the pod up; nil before the worker runs. Guarded by mu.
	endLive context.CancelFunc

	// What follows belongs to the worker's goroutine.

	rec    *podRecord        // nil until it was read
	silent bool              // the API's status is not ours to write: what we knew of the pod is lost
	told   map[string]string // the last event, by container
}

func (b *book) desired() (pod *corev1.Pod, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pod, b.gone
}

// nudge makes the worker look again.
func (b *book) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// endReason says why a living pod must stop, or nothing.
func (b *book) endReason(pod *corev1.Pod, gone bool) string {
	switch {
	case gone:
		return "it was removed"
	case pod.DeletionTimestamp != nil:
		return "it was deleted"
	case ended(pod):
		return "the API says that it is over"
	case b.rec.Facts.Complete(pod):
		return "its work is over"
	}
	return ""
}

// save makes the record durable. An agent that dies before it repeats the step.
func (b *book) save() error {
	b.logs.show(b.rec.Facts.Containers)
	return b.rec.write(b.data)
}

// event tells the API's users; the same thing about the same container is told once in a row.
func (b *book) event(about, kind, reason, message string) {
	pod, _ := b.desired()
	if pod == nil || b.told[about] == reason+message {
		return
	}
	b.told[about] = reason + message
	b.m.parts.Cluster.Record(pod, kind, reason, message)
}

// fact is what is known about a container, made if need be.
func (b *book) fact(name string) *status.Container {
	f := b.rec.Facts.Containers[name]
	if f == nil {
		f = &status.Container{}
		b.rec.Facts.Containers[name] = f
	}
	return f
}

// containerDir is where the root file system of one attempt is.
func (b *book) containerDir(id string) string { return filepath.Join(b.data, "c", id) }

// logPath of one attempt of a container.
func (b *book) logPath(container string, attempt int) string {
	return filepath.Join(logDir(b.m.cfg.LogDir, b.rec.Namespace, b.rec.Name, b.uid), container, fmt.Sprintf("%d.log", attempt))
}

// take lays what a shim says about one container over what is known, and tells whether that was news.
func (b *book) take(s protocol.ContainerStatus) bool {
	name, f := b.byID(s.ID)
	if f == nil || f.Ended != nil {
		return false
	}
	news := false
	if f.Started.IsZero() && !s.StartedAt.IsZero() {
		f.Started, f.Waiting, news = s.StartedAt, nil, true
		b.event(name, corev1.EventTypeNormal, "Started", "Started container "+name)
	}
	if s.Status == protocol.Exited {
		ended := exitOf(s)
		if ended.Message = readMessage(b.messageFile(s.ID)); ended.Message == "" {
			ended.Message = s.Error
		}
		b.end(f, ended)
		news = true
	}
	return news
}

// end notes how the current attempt ended, and settles how long the next one waits.
func (b *book) end(f *status.Container, ended *corev1.ContainerStateTerminated) {
	f.Ended = ended
	if ended.FinishedAt.Sub(ended.StartedAt.Time) >= b.m.cfg.Timing.RestartReset && !ended.StartedAt.IsZero() {
		f.Delay = 0
	}
	if f.ID != "" {
		ended.ContainerID = status.IDPrefix + string(b.uid) + "." + f.ID
	}
}

// byID finds the container whose current attempt has the ID.
func (b *book) byID(id string) (string, *status.Container) {
	for name, f := range b.rec.Facts.Containers {
		if f.ID == id {
			return name, f
		}
	}
	return "", nil
}

// messageFile is mounted in the container for its last words.
func (b *book) messageFile(id string) string { return filepath.Join(b.data, "message", id) }

func (b *book) makeMessageFile(id string) error {
	path := b.messageFile(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // whoever the container runs as
}
