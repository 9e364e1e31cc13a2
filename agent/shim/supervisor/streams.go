//go:build linux && cgo

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/crilog"
	"github.com/holt-project/holt/agent/shim/protocol"
)

const (
	// drainTimeout bounds the wait for the end of an exited container's output.
	// All that it wrote is read long before; only somebody else who got hold of
	// its pipe can keep it open.
	drainTimeout = 2 * time.Second
	// consoleTimeout bounds the wait for the terminal, which libcontainer has
	// sent before its Start returns.
	consoleTimeout = 10 * time.Second
)

// streams are a container's standard streams and its log.
type streams struct {
	log   *crilog.Log
	tty   bool
	stdin *os.File // the shim's hold on the named pipe, so it never ends; may be nil

	child   []*os.File // what the container gets; closed once it has them
	outputs []output
	console *os.File // receives the terminal; nil without TTY
	copying sync.WaitGroup
}

type output struct {
	file *os.File
	name crilog.Stream
}

// openStreams opens the log and the pipes of a container.
func openStreams(dir string, spec protocol.Container) (_ *streams, err error) {
	s := &streams{tty: spec.TTY}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.abandon())
		}
	}()
	if s.log, err = crilog.Open(spec.LogPath, spec.LogMaxSize); err != nil {
		return nil, err
	}
	if spec.Stdin {
		if s.stdin, err = openStdin(protocol.StdinPath(dir, spec.ID)); err != nil {
			return nil, err
		}
	}
	if spec.TTY {
		return s, s.openConsole()
	}
	for _, name := range []crilog.Stream{crilog.Stdout, crilog.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		s.outputs = append(s.outputs, output{r, name})
		s.child = append(s.child, w)
	}
	return s, nil
}

// openStdin makes the named pipe through which an agent can write to the
// container, at any time and after any restart.
func openStdin(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
}

func (s *streams) openConsole() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	s.console = os.NewFile(uintptr(pair[0]), "console")
	s.child = append(s.child, os.NewFile(uintptr(pair[1]), "console"))
	return nil
}

// attach gives the process its side.
func (s *streams) attach(p *libcontainer.Process) {
	if s.tty {
		p.ConsoleSocket = s.child[0]
		return
	}
	p.Stdout, p.Stderr = s.child[0], s.child[1]
	if s.stdin == nil {
		return
	}
	// A reader of its own, in blocking mode: what the container does to its
	// descriptor must not show on the shim's.
	if in, err := os.OpenFile(s.stdin.Name(), os.O_RDONLY, 0); err == nil {
		p.Stdin = in
		s.child = append(s.child, in)
	}
}

// run starts copying, after the process was forked.
func (s *streams) run() error {
	if s.tty {
		terminal, err := receiveFile(s.console)
		if err != nil {
			return fmt.Errorf("receive the terminal: %w", err)
		}
		s.outputs = append(s.outputs, output{terminal, crilog.Stdout})
		if s.stdin != nil {
			s.copying.Go(func() { _, _ = io.Copy(terminal, s.stdin) }) // until either is closed
		}
	}
	s.closeChild()
	for _, out := range s.outputs {
		s.copying.Go(func() { s.log.Copy(out.file, out.name) })
	}
	return nil
}

// receiveFile takes one descriptor from a socket.
func receiveFile(socket *os.File) (*os.File, error) {
	wait := unix.NsecToTimeval(consoleTimeout.Nanoseconds())
	fd := int(socket.Fd())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, err
	}
	name, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(fd, name, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no descriptor came"), err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that deadlines work
		unix.Close(fds[0])
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// drain waits until all output is in the log, and closes everything.
func (s *streams) drain() error {
	var err error
	if s.stdin != nil {
		err = s.stdin.Close()
	}
	deadline := time.Now().Add(drainTimeout)
	for _, out := range s.outputs {
		err = errors.Join(err, out.file.SetReadDeadline(deadline))
	}
	s.copying.Wait()
	for _, out := range s.outputs {
		err = errors.Join(err, out.file.Close())
	}
	s.outputs = nil
	return errors.Join(err, s.log.Close())
}

// abandon closes everything of a container that was never made, and removes its
// named pipe.
func (s *streams) abandon() error {
	s.closeChild()
	var err error
	if s.stdin != nil {
		err = os.Remove(s.stdin.Name())
	}
	if s.log == nil {
		return err
	}
	return errors.Join(err, s.drain())
}

func (s *streams) closeChild() {
	for _, f := range s.child {
		f.Close()
	}
	s.child = nil
	if s.console != nil {
		s.console.Close()
		s.console = nil
	}
}

// removeStdin removes the named pipe of a container that has exited.
func (s *streams) removeStdin() error {
	if s.stdin == nil {
		return nil
	}
	if err := os.Remove(s.stdin.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
