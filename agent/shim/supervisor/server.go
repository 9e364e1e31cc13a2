//go:build linux && cgo

package supervisor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
)

const (
	// maxConnections bounds what clients can make the shim hold.
	maxConnections = 64
	// requestTimeout bounds how long a client may take to send its request.
	requestTimeout = 10 * time.Second
)

// server answers on the pod's socket.
type server struct {
	s        *Supervisor
	path     string
	listener *net.UnixListener
	slots    chan struct{} // one per connection
	serving  sync.WaitGroup
}

// listen opens the socket and starts answering.
func listen(s *Supervisor) (*server, error) {
	srv := &server{
		s: s, path: filepath.Join(s.dir, protocol.SocketName),
		slots: make(chan struct{}, maxConnections),
	}
	// The folder's lock is ours: a socket that is there belongs to a dead shim.
	if err := os.Remove(srv.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err := protocol.SocketAddress(s.dir, func(address *net.UnixAddr) (err error) {
		srv.listener, err = net.ListenUnix("unix", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	srv.listener.SetUnlinkOnClose(false) // its address is a descriptor that is closed by now
	if err := os.Chmod(srv.path, 0o600); err != nil {
		return nil, errors.Join(err, srv.listener.Close())
	}
	srv.serving.Go(srv.accept)
	return srv, nil
}

func (srv *server) accept() {
	for {
		srv.slots <- struct{}{}
		conn, err := srv.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: one may come free
			srv.s.log.Warn("accept", "err", err)
			<-srv.slots
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer func() { <-srv.slots }()
			defer conn.Close()
			srv.serve(conn)
		}()
	}
}

// close removes the socket and stops accepting. Connections end with the process.
func (srv *server) close() {
	_ = os.Remove(srv.path)
	srv.listener.Close()
	srv.serving.Wait()
}

// serve answers one connection.
func (srv *server) serve(conn *net.UnixConn) {
	if !sameUser(conn) {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(requestTimeout))
	var request protocol.Request
	if err := protocol.NewReader(conn).Read(&request); err != nil {
		if !errors.Is(err, io.EOF) {
			_ = protocol.Write(conn, answer(protocol.Errorf(protocol.CodeInvalid, "%s", err)))
		}
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	if request.Op == protocol.OpWatch {
		srv.watch(conn)
		return
	}
	if request.Op == protocol.OpShutdown {
		srv.shutdown(conn)
		return
	}
	_ = protocol.Write(conn, srv.s.handle(request))
}

// handle carries out a request that has one answer.
func (s *Supervisor) handle(request protocol.Request) protocol.Response {
	switch request.Op {
	case protocol.OpCreate:
		if request.Container == nil {
			return answer(protocol.Errorf(protocol.CodeInvalid, "create: no container given"))
		}
		return answer(s.create(*request.Container))
	case protocol.OpStart:
		return answer(s.start(request.ID))
	case protocol.OpSignal:
		return answer(s.signal(request.ID, request.Signal))
	case protocol.OpRemove:
		return answer(s.remove(request.ID))
	case protocol.OpState:
		state, _ := s.state()
		return protocol.Response{State: &state}
	}
	return answer(protocol.Errorf(protocol.CodeInvalid, "operation %q is not known to this shim (version %s)",
		request.Op, protocol.Version))
}

// answer tells an outcome; an error without a code is the shim's own fault.
func answer(err error) protocol.Response {
	if err == nil {
		return protocol.Response{}
	}
	var coded *protocol.Error
	if !errors.As(err, &coded) {
		coded = protocol.Errorf(protocol.CodeInternal, "%s", err)
	}
	return protocol.Response{Error: coded}
}

// shutdown answers before the main loop is told to end the process.
func (srv *server) shutdown(conn *net.UnixConn) {
	err := srv.s.shutdown(context.Background())
	if err == nil {
		_ = os.Remove(srv.path)
	}
	_ = protocol.Write(conn, answer(err))
	if err == nil {
		srv.s.end()
	}
}

// watch sends the state at once and at every change. A slow reader misses
// states in between, never the last one.
func (srv *server) watch(conn *net.UnixConn) {
	hungUp := make(chan struct{})
	go func() { // ends when the connection does, at the latest when serve closes it
		defer close(hungUp)
		_, _ = io.Copy(io.Discard, conn)
	}()
	for {
		state, changed := srv.s.state()
		if err := protocol.Write(conn, state); err != nil {
			return
		}
		select {
		case <-changed:
		case <-hungUp:
			return
		case <-srv.s.ended:
			return
		}
	}
}

// sameUser: the peer runs as the same user. The mode of the socket says so
// already; this holds even where a copy of its folder has lost the mode.
func sameUser(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	same := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		same = err == nil && int(cred.Uid) == os.Getuid()
	})
	return err == nil && same
}
