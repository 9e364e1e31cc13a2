//go:build linux && cgo

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/cgroup"
	"github.com/holt-project/holt/agent/shim/protocol"
	"github.com/holt-project/holt/agent/shim/record"
)

// Serve runs the pod that is described in dir until it is shut down. It calls
// ready once the socket answers; an error from ready (nobody waits any more)
// undoes everything.
func Serve(dir string, log *slog.Logger, ready func() error) error {
	unix.Umask(0o077)
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	var pod protocol.Pod
	if err := record.Read(filepath.Join(dir, protocol.PodFile), &pod); err != nil {
		return fmt.Errorf("read the pod: %w", err)
	}
	if err := pod.Validate(); err != nil {
		return err
	}
	group, err := cgroup.Open(pod.CgroupParent)
	if err != nil {
		return err
	}
	if err := group.Child(protocol.ShimGroup).Join(); err != nil {
		return err
	}
	if err := becomeParent(log); err != nil {
		return err
	}
	if err := makeNamespaces(dir, pod); err != nil {
		return errors.Join(err, unpinNamespaces(dir))
	}
	if err := os.MkdirAll(filepath.Join(dir, protocol.RecordsIn), 0o700); err != nil {
		return err
	}
	s := newSupervisor(dir, pod, group, log)
	return s.run(ready)
}

// lockDir takes the folder's lock, which the kernel frees when the process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, protocol.LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another shim serves %s; attach to it: %w", dir, err)
	}
	return f, nil
}

// becomeParent adopts orphans of containers that share the host's processes,
// and makes the kernel prefer other victims when memory is short.
func becomeParent(log *slog.Logger) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-998"), 0); err != nil {
		log.Debug("keep the inherited oom score", "err", err)
	}
	return nil
}

// run serves until a shutdown by request or by SIGTERM.
func (s *Supervisor) run(ready func() error) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGCHLD)
	defer signal.Stop(signals)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)

	server, err := listen(s)
	if err != nil {
		return errors.Join(err, unpinNamespaces(s.dir))
	}
	defer server.close()
	if err := ready(); err != nil {
		return errors.Join(fmt.Errorf("nobody waits for this shim: %w", err), s.shutdown(context.Background()))
	}
	debug.FreeOSMemory() // starting up has used more than serving will
	for {
		select {
		case <-s.ended:
			return nil
		case sig := <-signals:
			if sig == unix.SIGCHLD {
				s.reap()
				continue
			}
			if err := s.shutdown(context.Background()); err != nil {
				s.log.Error("shut down after SIGTERM", "err", err)
				continue
			}
			s.end()
		}
	}
}
