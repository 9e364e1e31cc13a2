package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// Streams is the consensus side of the port; it implements the transport that consensus asks for.
func (l *Listener) Streams() *Streams { return &Streams{l} }

// Streams accepts and dials streams between servers.
type Streams struct{ l *Listener }

// Accept returns the next stream from another server.
func (s *Streams) Accept() (net.Conn, error) { return s.l.consensus.Accept() }

// Close ends Accept.
func (s *Streams) Close() error { return s.l.consensus.Close() }

// Dial opens a stream to the server at address and makes sure that it is one.
func (s *Streams) Dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: s.l.client}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	state := conn.(*tls.Conn).ConnectionState()
	if state.NegotiatedProtocol != Protocol || !s.l.trusted(state) {
		_ = conn.Close() // not ours to talk to
		return nil, errors.New("the peer at " + address + " is no server of this cluster")
	}
	return conn, nil
}

// queue hands connections from the port to one side. It is a net.Listener.
type queue struct {
	address net.Addr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func newQueue(address net.Addr) *queue {
	return &queue{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.closed:
		_ = c.Close() // nobody will take it
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.address }
