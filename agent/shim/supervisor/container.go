//go:build linux && cgo

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"

	"github.com/holt-project/holt/agent/shim/cgroup"
	"github.com/holt-project/holt/agent/shim/protocol"
	"github.com/holt-project/holt/agent/shim/record"
)

// container is one container of the pod.
type container struct {
	libcontainer *libcontainer.Container
	process      *libcontainer.Process
	group        *cgroup.Group
	streams      *streams
	oom          *cgroup.OOMWatch // nil without a memory controller
	exited       chan struct{}    // closed when the exit has been recorded and told

	// step orders the start and the exit.
	step sync.Mutex

	status protocol.ContainerStatus // guarded by Supervisor.mu; its ID never changes
	waited bool                     // guarded by Supervisor.mu: the first process was reaped
}

func (c *container) id() string { return c.libcontainer.ID() }

// newContainer sets a container up to the point where its command could begin.
// When it fails, nothing of it is left.
func (s *Supervisor) newContainer(spec protocol.Container) (_ *container, err error) {
	c := &container{group: s.group.Child(spec.ID), exited: make(chan struct{})}
	if c.streams, err = openStreams(s.dir, spec); err != nil {
		return nil, protocol.Errorf(protocol.CodeRuntime, "container %s: %s", spec.ID, err)
	}
	if err := s.forkContainer(c, spec); err != nil {
		err = errors.Join(err, s.discard(c, spec.ID))
		return nil, protocol.Errorf(protocol.CodeRuntime, "container %s: %s", spec.ID, err)
	}
	pid, err := c.process.Pid()
	if err == nil {
		c.status = protocol.ContainerStatus{
			ID: spec.ID, PID: pid, Status: protocol.Created, CreatedAt: time.Now().UTC(),
		}
		err = record.Write(s.recordPath(spec.ID), c.status)
	}
	if err != nil {
		err = errors.Join(err, s.discard(c, spec.ID))
		return nil, protocol.Errorf(protocol.CodeInternal, "container %s: %s", spec.ID, err)
	}
	if c.oom, err = c.group.WatchOOM(); err != nil {
		s.log.Warn("want of memory is told only at the exit", "container", spec.ID, "err", err)
	} else {
		go s.watchOOM(c)
	}
	debug.FreeOSMemory()
	return c, nil
}

// forkContainer has libcontainer make the container and its first process,
// which then waits to be started.
func (s *Supervisor) forkContainer(c *container, spec protocol.Container) error {
	config, err := s.config(spec)
	if err != nil {
		return err
	}
	if c.process, err = process(spec.Spec.Process); err != nil {
		return err
	}
	c.streams.attach(c.process)
	s.fork.do(func() {
		c.libcontainer, err = libcontainer.Create(filepath.Join(s.dir, protocol.RuntimeIn), spec.ID, config)
		if err == nil {
			err = c.libcontainer.Start(c.process)
		}
	})
	if err != nil {
		return err
	}
	return c.streams.run()
}

// discard undoes a creation that failed half-way.
func (s *Supervisor) discard(c *container, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	err := c.group.Kill(ctx)
	if c.libcontainer != nil {
		if c.process != nil {
			_, _ = c.process.Wait() // fails when libcontainer has done so itself
		}
		err = errors.Join(err, c.libcontainer.Destroy())
	}
	return errors.Join(err, c.group.Remove(ctx), c.streams.abandon(), record.Remove(s.recordPath(id)))
}

// startContainer lets a created container's command begin.
func (s *Supervisor) startContainer(c *container) error {
	c.step.Lock()
	defer c.step.Unlock()
	next := s.statusOf(c)
	if !next.StartedAt.IsZero() {
		return nil
	}
	if next.Status != protocol.Created {
		return protocol.Errorf(protocol.CodeState, "container %s ended before it was started", c.id())
	}
	next.StartedAt, next.Status = time.Now().UTC(), protocol.Running
	if err := c.libcontainer.Exec(); err != nil {
		return protocol.Errorf(protocol.CodeRuntime, "start container %s: %s", c.id(), err)
	}
	err := record.Write(s.recordPath(c.id()), next)
	s.change(func() {
		next.OOMKilled = c.status.OOMKilled
		c.status = next
	})
	if err != nil {
		s.log.Error("the start is not on the disk", "container", c.id(), "err", err)
	}
	return nil
}

// signal sends a signal; a container that has exited needs none.
func (c *container) signal(number int) error {
	select {
	case <-c.exited:
		return nil
	default:
	}
	err := c.libcontainer.Signal(syscall.Signal(number))
	if err == nil || errors.Is(err, libcontainer.ErrNotRunning) || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return protocol.Errorf(protocol.CodeInternal, "signal container %s: %s", c.id(), err)
}

// watchExit waits for the container's end, and records it before telling.
func (s *Supervisor) watchExit(c *container) {
	defer close(c.exited)
	ended, err := c.process.Wait()
	finished := time.Now().UTC()
	s.mu.Lock()
	c.waited = true
	s.mu.Unlock()

	if ended != nil { // only the exit code made Wait an error
		err = nil
	}
	// Without a PID namespace of its own, its other processes still run.
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	err = errors.Join(err, c.group.Kill(ctx), c.streams.drain())
	kills, oomErr := c.group.OOMKills()
	err = errors.Join(err, oomErr)
	if c.oom != nil {
		err = errors.Join(err, c.oom.Close())
	}

	c.step.Lock()
	defer c.step.Unlock()
	next := s.statusOf(c)
	next.Status, next.FinishedAt = protocol.Exited, finished
	next.OOMKilled = next.OOMKilled || kills > 0
	next.ExitCode, next.Signal = exitOf(ended)
	if err != nil {
		next.Error = err.Error()
	}
	if err := record.Write(s.recordPath(c.id()), next); err != nil {
		next.Error = fmt.Sprintf("the exit is not on the disk: %s", err)
		s.log.Error("record the exit", "container", c.id(), "err", err)
	}
	s.change(func() { c.status = next })
	s.reap() // it may have stopped at this process
	debug.FreeOSMemory()
}

// exitOf gives the exit code as a shell would, and the signal or 0.
func exitOf(ended *os.ProcessState) (code, signal int) {
	if ended == nil {
		return 255, 0
	}
	status, ok := ended.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal()), int(status.Signal())
	}
	return ended.ExitCode(), 0
}

// watchOOM tells at once when the kernel kills for want of memory. It ends with
// the container.
func (s *Supervisor) watchOOM(c *container) {
	for c.oom.Wait() {
		s.change(func() { c.status.OOMKilled = true })
	}
}
