//go:build linux && cgo

package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holt-project/holt/agent/shim/cgroup"
	"github.com/holt-project/holt/agent/shim/protocol"
	"github.com/holt-project/holt/agent/shim/record"
)

// killTimeout bounds how long killed processes may take to end. One that hangs
// in the kernel makes the operation fail, to be repeated.
const killTimeout = 30 * time.Second

// Supervisor holds one pod.
type Supervisor struct {
	dir   string
	pod   protocol.Pod
	group *cgroup.Group
	log   *slog.Logger
	fork  *thread       // every container is forked here
	ended chan struct{} // closed by end

	endOnce sync.Once

	// forking is held (shared) while a container is made, and taken by reap, which
	// would not know the processes that are waited for meanwhile.
	forking sync.RWMutex
	// creating orders creations, removals and the shutdown.
	creating sync.Mutex
	closed   bool // guarded by creating: nothing is created any more

	mu         sync.Mutex
	containers []*container  // in the order of creation; guarded by mu, as are their statuses
	changed    chan struct{} // closed and replaced at each change; guarded by mu
}

func newSupervisor(dir string, pod protocol.Pod, group *cgroup.Group, log *slog.Logger) *Supervisor {
	return &Supervisor{
		dir: dir, pod: pod, group: group, log: log,
		fork:    newThread(),
		ended:   make(chan struct{}),
		changed: make(chan struct{}),
	}
}

// state is a copy of all that is known, and a channel that is closed when it is outdated.
func (s *Supervisor) state() (protocol.State, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]protocol.ContainerStatus, len(s.containers))
	for i, c := range s.containers {
		all[i] = c.status
	}
	return protocol.State{
		PodUID: s.pod.UID, ShimPID: os.Getpid(), ShimVersion: protocol.Version, Containers: all,
	}, s.changed
}

// change applies do to what mu guards, and wakes the watchers.
func (s *Supervisor) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// find returns a container, or nil.
func (s *Supervisor) find(id string) *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.status.ID == id {
			return c
		}
	}
	return nil
}

func (s *Supervisor) statusOf(c *container) protocol.ContainerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.status
}

func (s *Supervisor) recordPath(id string) string {
	return filepath.Join(s.dir, protocol.RecordsIn, id+".json")
}

// create makes a container, unless there is one of that ID.
func (s *Supervisor) create(spec protocol.Container) error {
	if err := spec.Validate(); err != nil {
		return protocol.Errorf(protocol.CodeInvalid, "%s", err)
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	if s.closed {
		return protocol.Errorf(protocol.CodeState, "the pod is being shut down")
	}
	if s.find(spec.ID) != nil {
		return nil
	}
	// Until the container is listed, reap would take its first process for a stranger.
	s.forking.RLock()
	defer s.forking.RUnlock()
	c, err := s.newContainer(spec)
	if err != nil {
		return err
	}
	s.change(func() { s.containers = append(s.containers, c) })
	go s.watchExit(c)
	return nil
}

// start begins the command of a created container.
func (s *Supervisor) start(id string) error {
	c := s.find(id)
	if c == nil {
		return notFound(id)
	}
	return s.startContainer(c)
}

// signal sends a signal to the first process of a container.
func (s *Supervisor) signal(id string, number int) error {
	if number < 1 || number > 64 {
		return protocol.Errorf(protocol.CodeInvalid, "container %s: no signal has the number %d", id, number)
	}
	c := s.find(id)
	if c == nil {
		return notFound(id)
	}
	return c.signal(number)
}

// remove forgets an exited container. One that is unknown has been removed before.
func (s *Supervisor) remove(id string) error {
	s.creating.Lock()
	defer s.creating.Unlock()
	c := s.find(id)
	if c == nil {
		return nil
	}
	if s.statusOf(c).Status != protocol.Exited {
		return protocol.Errorf(protocol.CodeState, "container %s has not exited; signal it first", id)
	}
	<-c.exited // told already, so about to be closed
	if err := s.destroy(c); err != nil {
		return err
	}
	s.change(func() {
		s.containers = slices.DeleteFunc(s.containers, func(other *container) bool { return other == c })
	})
	return nil
}

// destroy removes what an exited container has left on the machine.
func (s *Supervisor) destroy(c *container) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	err := errors.Join(c.libcontainer.Destroy(), c.group.Kill(ctx), c.group.Remove(ctx),
		c.streams.removeStdin(), record.Remove(s.recordPath(c.id())))
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "remove container %s: %s", c.id(), err)
	}
	return nil
}

// shutdown kills and removes every container and lets the namespaces go. When it
// fails, it can be repeated; when it succeeds, end follows.
func (s *Supervisor) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	s.creating.Lock()
	s.closed = true
	s.creating.Unlock()
	state, _ := s.state()
	for _, status := range state.Containers {
		c := s.find(status.ID)
		if c == nil {
			continue
		}
		if err := c.group.Kill(ctx); err != nil {
			return err
		}
		select {
		case <-c.exited:
		case <-ctx.Done():
			return protocol.Errorf(protocol.CodeInternal, "container %s does not end", status.ID)
		}
		if err := s.remove(status.ID); err != nil {
			return err
		}
	}
	return unpinNamespaces(s.dir)
}

// end lets run return, after a complete shutdown.
func (s *Supervisor) end() { s.endOnce.Do(func() { close(s.ended) }) }

func notFound(id string) error {
	return protocol.Errorf(protocol.CodeNotFound, "no container %q in this pod", id)
}
