package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
)

// ErrGone: no shim lives in the folder (any more). Its containers are dead or
// must be made so: call Cleanup.
var ErrGone = errors.New("no shim lives here")

// dialTimeout bounds connecting, which a living shim answers at once.
const dialTimeout = 5 * time.Second

// Shim is a pod's shim.
type Shim struct {
	dir string
	log *slog.Logger
}

// Attach finds the shim that serves dir, such as after a restart of the agent.
// The error wraps ErrGone when there is none.
func Attach(ctx context.Context, dir string, log *slog.Logger) (*Shim, error) {
	s := newShim(dir, log)
	if _, err := s.State(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func newShim(dir string, log *slog.Logger) *Shim {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Shim{dir: dir, log: log}
}

// Dir is the pod's folder.
func (s *Shim) Dir() string { return s.dir }

// NamespacePath is where the pod's shared namespace "net", "ipc" or "uts" is pinned.
func (s *Shim) NamespacePath(name string) string {
	return s.dir + "/" + protocol.NamespaceIn + "/" + name
}

// StdinPath is the named pipe to the standard input of a container that was
// created with Stdin.
func (s *Shim) StdinPath(id string) string { return protocol.StdinPath(s.dir, id) }

// Create sets up a container up to the point where its command could begin. A
// container of that ID that exists already is left as it is. A failure leaves
// nothing; *protocol.Error with CodeRuntime carries the runtime's own words (no
// such command, a mount that failed), with CodeInvalid the request is wrong.
func (s *Shim) Create(ctx context.Context, c protocol.Container) error {
	_, err := s.call(ctx, protocol.Request{Op: protocol.OpCreate, Container: &c})
	return err
}

// Start begins the command of a created container; one that was started already
// is left as it is.
func (s *Shim) Start(ctx context.Context, id string) error {
	_, err := s.call(ctx, protocol.Request{Op: protocol.OpStart, ID: id})
	return err
}

// Signal sends a signal to a container's first process, or nothing if it has
// exited. SIGKILL ends all processes of the container.
func (s *Shim) Signal(ctx context.Context, id string, sig int) error {
	_, err := s.call(ctx, protocol.Request{Op: protocol.OpSignal, ID: id, Signal: sig})
	return err
}

// Remove forgets an exited container: its runtime state, cgroup and record. The
// log stays. A container that is unknown is fine; one that has not exited is a
// *protocol.Error with CodeState.
func (s *Shim) Remove(ctx context.Context, id string) error {
	_, err := s.call(ctx, protocol.Request{Op: protocol.OpRemove, ID: id})
	return err
}

// State is what the shim knows now.
func (s *Shim) State(ctx context.Context) (protocol.State, error) {
	response, err := s.call(ctx, protocol.Request{Op: protocol.OpState})
	if err != nil {
		return protocol.State{}, err
	}
	if response.State == nil {
		return protocol.State{}, fmt.Errorf("shim in %s: an answer without a state", s.dir)
	}
	return *response.State, nil
}

// Watch sends the whole state at once and again after every change (a start, an
// exit, want of memory). A slow reader misses states in between, never the last.
// The channel is closed when ctx ends or the shim does: then Attach tells which.
func (s *Shim) Watch(ctx context.Context) (<-chan protocol.State, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := protocol.Write(conn, protocol.Request{Op: protocol.OpWatch}); err != nil {
		conn.Close()
		return nil, s.explain(ctx, err)
	}
	states := make(chan protocol.State)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	go func() { // ends with ctx, or when the shim closes
		defer close(states)
		defer conn.Close()
		defer stop()
		in := protocol.NewReader(conn)
		for {
			var state protocol.State
			if in.Read(&state) != nil {
				return
			}
			select {
			case states <- state:
			case <-ctx.Done():
				return
			}
		}
	}()
	return states, nil
}

// Shutdown kills what is left of the pod, and returns when the shim has ended
// and nothing of it remains but its folder with its log. It may be repeated,
// also after the shim's death.
func (s *Shim) Shutdown(ctx context.Context) error {
	state, err := s.State(ctx)
	if errors.Is(err, ErrGone) {
		return Cleanup(ctx, s.dir)
	}
	if err != nil {
		return err
	}
	// The number is the shim's: it has just answered, and if it has died since
	// and the number has gone to another, the next call fails.
	process, err := unix.PidfdOpen(state.ShimPID, 0)
	if err != nil {
		return fmt.Errorf("shim in %s (pid %d): %w", s.dir, state.ShimPID, err)
	}
	defer unix.Close(process)
	if _, err := s.call(ctx, protocol.Request{Op: protocol.OpShutdown}); err != nil {
		return err
	}
	if err := waitExit(ctx, process); err != nil {
		return fmt.Errorf("shim in %s (pid %d) does not end: %w", s.dir, state.ShimPID, err)
	}
	s.log.Debug("shim ended", "pod", state.PodUID, "pid", state.ShimPID)
	return Cleanup(ctx, s.dir)
}

// waitExit waits until the process of a pidfd has ended.
func waitExit(ctx context.Context, pidfd int) error {
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 100)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return ctx.Err()
}

// call makes one request on a connection of its own.
func (s *Shim) call(ctx context.Context, request protocol.Request) (protocol.Response, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return protocol.Response{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var response protocol.Response
	// A shim that refuses a message closes before it has read all of it; what
	// it answered is then still there to be read.
	writeErr := protocol.Write(conn, request)
	if errors.Is(writeErr, protocol.ErrTooLarge) {
		return response, protocol.Errorf(protocol.CodeInvalid, "%s: %s", request.Op, writeErr)
	}
	if err := protocol.NewReader(conn).Read(&response); err != nil {
		return response, s.explain(ctx, errors.Join(writeErr, err))
	}
	if response.Error != nil {
		return response, response.Error
	}
	return response, nil
}

func (s *Shim) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var conn net.Conn
	err := protocol.SocketAddress(s.dir, func(address *net.UnixAddr) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", address.Name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %s", ErrGone, s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("shim in %s: %w", s.dir, err)
	}
	return conn, nil
}

// explain says why a connection broke: the caller gave up, or the shim died.
func (s *Shim) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("shim in %s: %w", s.dir, context.Cause(ctx))
	}
	return fmt.Errorf("shim in %s broke off: %w", s.dir, err)
}
