package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// child is a host's process that this handle started.
type child struct {
	done chan struct{} // closed after the process was reaped
	err  error         // how it ended; read only after done
}

// spawn starts a host's process inside its namespace and cgroups, detached from this process's terminal and session.
func (h *host) spawn() error {
	log, err := os.OpenFile(h.paths.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(h.Command[0], h.Command[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), h.env...)
	cmd.Stdout, cmd.Stderr = log, log
	err = onDisposableThread(func() error {
		birthplace, err := h.groups.enter(filepath.Join(h.cgroup, mainCgroup))
		if birthplace != nil {
			defer func() { _ = birthplace.Close() }()
		}
		if err != nil {
			return err
		}
		ns, err := netns.GetFromName(h.NetNS)
		if err != nil {
			return fmt.Errorf("opening the network namespace %s: %w", h.NetNS, err)
		}
		defer func() { _ = ns.Close() }()
		if err := unix.Setns(int(ns), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the network namespace %s: %w", h.NetNS, err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if birthplace != nil {
			cmd.SysProcAttr.UseCgroupFD = true
			cmd.SysProcAttr.CgroupFD = int(birthplace.Fd())
		}
		return cmd.Start()
	})
	if err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	c := &child{done: make(chan struct{})}
	h.mu.Lock()
	h.child = c
	h.mu.Unlock()
	h.reapers.Go(func() {
		c.err = cmd.Wait()
		close(c.done)
	})
	return nil
}

// lastChild returns the process that this handle started last for the host, or nil.
func (h *host) lastChild() *child {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.child
}

// reaped returns once the last process that this handle started for the host was reaped.
func (h *host) reaped(ctx context.Context) error {
	c := h.lastChild()
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended returns an error if this handle started the host's process and it has ended.
func (h *host) ended() error {
	c := h.lastChild()
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		reason := "exit status 0"
		if c.err != nil {
			reason = c.err.Error()
		}
		return h.blame(fmt.Errorf("its process ended: %s", reason))
	default:
		return nil
	}
}

// mainPID finds a host's holt process, or 0. A child of it has the same command line until it calls exec, so the
// oldest is taken.
func (h *host) mainPID() (int, error) {
	pids, err := h.groups.pids(filepath.Join(h.cgroup, mainCgroup))
	if err != nil {
		return 0, err
	}
	oldest, oldestStart := 0, uint64(0)
	for _, pid := range pids {
		if !runsCommand(pid, h.Command) {
			continue
		}
		start, err := startTime(pid)
		if err != nil {
			continue // it ended
		}
		if oldest == 0 || start < oldestStart {
			oldest, oldestStart = pid, start
		}
	}
	return oldest, nil
}

func runsCommand(pid int, command []string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && string(bytes.TrimSuffix(data, []byte{0})) == strings.Join(command, "\x00")
}

// startTime is in clock ticks since boot: field 22 of proc_pid_stat(5).
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name, in parentheses, and may hold spaces and parentheses.
	_, rest, _ := strings.Cut(string(data[bytes.LastIndexByte(data, ')'):]), " ")
	fields := strings.Fields(rest)
	var start uint64
	if len(fields) < 20 {
		return 0, errors.New("unexpected format of /proc/PID/stat")
	}
	_, err = fmt.Sscan(fields[19], &start)
	return start, err
}

// signalMain sends a signal to a host's holt process and waits until it has ended.
func (h *host) signalMain(ctx context.Context, signal unix.Signal) error {
	pid, err := h.mainPID()
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("%s: %w", h.Name, ErrNotRunning)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d of %s: %w", pid, h.Name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// Only now does the number stand for one process; see that it is still the right one.
	if !runsCommand(pid, h.Command) {
		return fmt.Errorf("%s: %w", h.Name, ErrNotRunning)
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		return fmt.Errorf("sending %s to process %d of %s: %w", unix.SignalName(signal), pid, h.Name, err)
	}
	return waitPidfd(ctx, fd)
}

// waitPidfd waits until a process has ended. It looks at ctx several times a second.
func waitPidfd(ctx context.Context, fd int) error {
	const slice = 100 * time.Millisecond
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(slice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}
