package pods

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/agent/pods/status"
)

// logs tells readers which attempts of a pod's containers there are, and when one ends.
type logs struct {
	mu       sync.Mutex
	attempts map[string]*attempt // by container; guarded by mu
	waiting  map[string]string   // why a container that has no attempt yet has none; guarded by mu
}

// attempt is the latest of one container that has begun to run, or failed to.
type attempt struct {
	number int
	ended  bool
	done   chan struct{} // closed when it has ended, or the worker has
}

// show takes over the current attempts.
func (l *logs) show(facts map[string]*status.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attempts == nil {
		l.attempts, l.waiting = map[string]*attempt{}, map[string]string{}
	}
	for name, f := range facts {
		l.waiting[name] = "ContainerCreating"
		if f.Waiting != nil {
			l.waiting[name] = f.Waiting.Reason
		}
		a := l.attempts[name]
		if (f.Running() || f.Ended != nil) && (a == nil || a.number != f.Attempt) {
			if a != nil {
				a.end()
			}
			a = &attempt{number: f.Attempt, done: make(chan struct{})}
			l.attempts[name] = a
		}
		if a != nil && f.Ended != nil {
			a.end()
		}
	}
}

// close lets every reader go.
func (l *logs) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.attempts {
		a.end()
	}
}

// end needs logs.mu.
func (a *attempt) end() {
	if !a.ended {
		a.ended = true
		close(a.done)
	}
}

// find gives the latest attempt of a container, or the one before.
func (l *logs) find(container string, previous bool) (number int, done <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.attempts[container]
	if a == nil || previous && a.number == 0 {
		return 0, nil, false
	}
	if previous {
		ended := make(chan struct{})
		close(ended)
		return a.number - 1, ended, true
	}
	return a.number, a.done, true
}

// reason says what a container without an attempt waits for.
func (l *logs) reason(container string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why := l.waiting[container]; why != "" {
		return why
	}
	return "ContainerCreating"
}

// ContainerLog tells where the log of a container's latest attempt is (or, with previous, of the one before), as a
// path below Config.LogDir, and gives a channel that is closed when the attempt has ended and its log is whole.
// Errors are the API's: NotFound for a pod that is not here, BadRequest for a container without such an attempt.
func (m *Manager) ContainerLog(namespace, pod, container string, previous bool) (path string, done <-chan struct{}, err error) {
	w := m.find(namespace, pod)
	if w == nil {
		return "", nil, apierrors.NewNotFound(corev1.Resource("pods"), pod)
	}
	desired, _ := w.desired()
	if !hasContainer(desired, container) {
		return "", nil, apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", container, pod))
	}
	number, done, ok := w.logs.find(container, previous)
	switch {
	case !ok && previous:
		return "", nil, apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", container, pod))
	case !ok:
		return "", nil, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", container, pod, w.logs.reason(container)))
	}
	return filepath.Join(logDir("", namespace, pod, desired.UID), container, fmt.Sprintf("%d.log", number)), done, nil
}

func hasContainer(pod *corev1.Pod, name string) bool {
	is := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(pod.Spec.Containers, is) || slices.ContainsFunc(pod.Spec.InitContainers, is)
}

// find gives the worker of a desired pod.
func (m *Manager) find(namespace, name string) *worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.workers {
		if pod, gone := w.desired(); pod != nil && !gone && pod.Namespace == namespace && pod.Name == name {
			return w
		}
	}
	return nil
}

// Running names the pods that have something on this node.
func (m *Manager) Running() []types.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]types.UID, 0, len(m.workers))
	for uid := range m.workers {
		out = append(out, uid)
	}
	slices.Sort(out)
	return out
}
