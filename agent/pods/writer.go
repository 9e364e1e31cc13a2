package pods

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/agent/pods/status"
)

// statusTimeout bounds one write of a status.
const statusTimeout = 15 * time.Second

// statusWriter keeps the API's copy of one pod's status equal to the node's view. Writes happen on its own
// goroutine, so that an API that is away stops no container from being restarted.
type statusWriter struct {
	cluster Cluster
	log     *slog.Logger
	retry   backoff
	settled func() // called after a write that leaves nothing to do
	kick    chan struct{}

	mu       sync.Mutex
	seen     *corev1.Pod       // the cache's copy; guarded by mu
	want     *corev1.PodStatus // nil until the first set; guarded by mu
	written  *corev1.Pod       // what the API answered to the last write; guarded by mu
	writtenN string            // the resourceVersion of seen at that write; guarded by mu
	gone     bool              // the API no longer has the pod; guarded by mu
}

// set says what the status should be, and what the cache holds.
func (s *statusWriter) set(seen *corev1.Pod, want corev1.PodStatus) {
	s.mu.Lock()
	_, before := s.next()
	s.seen, s.want = seen, &want
	_, todo := s.next()
	s.mu.Unlock()
	switch {
	case todo:
		select {
		case s.kick <- struct{}{}:
		default:
		}
	case before:
		s.settled() // the cache has what was to be written: whoever waits for that looks again
	}
}

// done tells whether the API has the last status that was set, or has no such pod.
func (s *statusWriter) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, todo := s.next()
	return !todo
}

// next gives the object to write, if there is something to write. s.mu is held.
func (s *statusWriter) next() (*corev1.Pod, bool) {
	if s.want == nil || s.gone {
		return nil, false
	}
	base := s.seen
	if s.written != nil && s.seen.ResourceVersion == s.writtenN {
		base = s.written // the cache has not caught up with our own write
	}
	merged := status.Merge(base.Status, *s.want, time.Now())
	if apiequality.Semantic.DeepEqual(base.Status, merged) {
		return nil, false
	}
	out := base.DeepCopy()
	out.Status = merged
	return out, true
}

// run writes until ctx ends.
func (s *statusWriter) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		pod, todo := s.next()
		seen := s.seen
		s.mu.Unlock()
		if !todo {
			select {
			case <-s.kick:
			case <-ctx.Done():
			}
			continue
		}
		if err := s.write(ctx, seen, pod); err != nil {
			pause(ctx, s.retry.pause(), s.kick, apierrors.IsConflict(err))
			continue
		}
		s.retry.reset()
		if s.done() {
			s.settled()
		}
	}
}

func (s *statusWriter) write(ctx context.Context, seen, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	err := s.cluster.UpdateStatus(ctx, pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.written, s.writtenN = pod, seen.ResourceVersion
	case apierrors.IsNotFound(err):
		s.gone = true
		return nil
	case apierrors.IsConflict(err):
		s.written = nil // somebody else wrote; the cache will tell
	default:
		s.log.Warn("status is not written; it is tried again", "error", err)
	}
	return err
}

// pause waits, or less if early and something happens.
func pause(ctx context.Context, d time.Duration, happened <-chan struct{}, early bool) {
	if !early {
		happened = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-happened:
	case <-ctx.Done():
	}
}
