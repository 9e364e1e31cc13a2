package consensus

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The first byte of every connection tells its protocol. They are on the wire and in no case change.
const (
	protocolRaft     = 'R'
	protocolQuestion = 'Q'
	protocolRefused  = '!' // never on the wire: the connection was for somebody else
)

// firstByte bounds the wait for a new connection's first byte.
const firstByte = 10 * time.Second

// mux shares one Transport between the protocols, and knows every open connection so that close ends them all.
// It is raft's StreamLayer.
type mux struct {
	inner   Transport
	address addr
	self    *incarnation
	answer  func(net.Conn) // serves one connection of questions
	log     *slog.Logger
	raft    chan net.Conn
	stop    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex
	closed bool                  // guarded by mu
	conns  map[net.Conn]struct{} // guarded by mu
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func newMux(inner Transport, address string, self *incarnation, answer func(net.Conn), log *slog.Logger) *mux {
	m := &mux{
		inner: inner, address: addr(address), self: self, answer: answer, log: log,
		raft: make(chan net.Conn), stop: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	m.wg.Go(m.accept)
	return m
}

func (m *mux) accept() {
	for failures := 0; ; {
		conn, err := m.inner.Accept()
		if err == nil {
			failures = 0
			m.serve(conn)
			continue
		}
		failures++
		if !m.pause(min(time.Duration(failures)*10*time.Millisecond, time.Second)) {
			return
		}
		m.log.Warn("cannot accept a connection from another server", "error", err)
	}
}

// pause waits for d, and tells whether the mux is still open.
func (m *mux) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-m.stop:
		return false
	case <-timer.C:
		return true
	}
}

func (m *mux) serve(conn net.Conn) {
	tracked, err := m.track(conn)
	if err != nil {
		return
	}
	m.wg.Go(func() {
		switch protocol := m.readProtocol(tracked); protocol {
		case protocolRaft:
			select {
			case m.raft <- tracked: // raft closes it
				return
			case <-m.stop:
			}
		case protocolRefused:
		case protocolQuestion:
			m.answer(tracked)
		default:
			m.log.Debug("connection of an unknown protocol", "remote", conn.RemoteAddr(), "protocol", protocol)
		}
		_ = tracked.Close() // nothing more to say on it
	})
}

// readProtocol reads what a connection begins with.
func (m *mux) readProtocol(conn net.Conn) byte {
	var b [1]byte
	_ = conn.SetReadDeadline(time.Now().Add(firstByte)) // a failure shows in the read
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return 0
	}
	if b[0] == protocolRaft {
		g, err := readGreeting(conn)
		if err == nil {
			err = m.self.admit(g)
		}
		if err != nil {
			m.log.Debug("a connection of another server was refused", "remote", conn.RemoteAddr(), "error", err)
			return protocolRefused
		}
	}
	_ = conn.SetReadDeadline(time.Time{}) // a failure shows in the next read
	return b[0]
}

// Accept implements raft.StreamLayer.
func (m *mux) Accept() (net.Conn, error) {
	select {
	case conn := <-m.raft:
		return conn, nil
	case <-m.stop:
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (m *mux) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, host, err := parseDestination(address)
	if err != nil {
		return nil, err
	}
	hello, err := greeting{To: id, Lineage: m.self.history()}.encode()
	if err != nil {
		return nil, err
	}
	return m.dial(host, append([]byte{protocolRaft}, hello...), timeout)
}

// dial opens a connection that begins with first.
func (m *mux) dial(address string, first []byte, timeout time.Duration) (net.Conn, error) {
	conn, err := m.inner.Dial(address, timeout)
	if err != nil {
		return nil, err
	}
	tracked, err := m.track(conn)
	if err != nil {
		return nil, err
	}
	if err := tracked.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return nil, errors.Join(err, tracked.Close())
	}
	if _, err := tracked.Write(first); err != nil {
		return nil, errors.Join(err, tracked.Close())
	}
	return tracked, tracked.SetWriteDeadline(time.Time{})
}

// Addr implements raft.StreamLayer: the address that the others know.
func (m *mux) Addr() net.Addr { return m.address }

// Close ends every connection and waits for the goroutines that serve them. It may be called twice, because raft
// closes its StreamLayer too.
func (m *mux) Close() error {
	m.mu.Lock()
	var err error
	if !m.closed {
		m.closed = true
		close(m.stop)
		err = m.inner.Close()
	}
	conns := m.conns
	m.conns = map[net.Conn]struct{}{}
	m.mu.Unlock()
	for conn := range conns {
		_ = conn.Close() // the peer may have been first
	}
	m.wg.Wait()
	return err
}

func (m *mux) track(conn net.Conn) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = conn.Close() // net.ErrClosed is the error to report
		return nil, net.ErrClosed
	}
	t := &trackedConn{Conn: conn, mux: m}
	m.conns[t] = struct{}{}
	return t, nil
}

// trackedConn leaves the mux when it is closed.
type trackedConn struct {
	net.Conn
	mux *mux
}

func (t *trackedConn) Close() error {
	t.mux.mu.Lock()
	delete(t.mux.conns, t)
	t.mux.mu.Unlock()
	return t.Conn.Close()
}
