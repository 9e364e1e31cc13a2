package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Protocol is what consensus asks for in the handshake.
const Protocol = "holt-raft/1"

const (
	handshakeTimeout = 5 * time.Second
	maxHandshakes    = 512
)

// Listener is an open port.
type Listener struct {
	tcp     net.Listener
	server  *tls.Config
	client  *tls.Config
	trusted func(tls.ConnectionState) bool
	log     *slog.Logger

	api, consensus *queue
	slots          chan struct{}
	wg             sync.WaitGroup
}

// Open listens on address. server and client are the TLS configurations of this server; trusted reports whether a
// peer is a server of the cluster.
func Open(address string, server, client *tls.Config, trusted func(tls.ConnectionState) bool, log *slog.Logger) (*Listener, error) {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address or port, or stop the process that has it", err)
	}
	server = server.Clone()
	server.NextProtos = []string{"h2", "http/1.1", Protocol}
	client = client.Clone()
	client.NextProtos = []string{Protocol}
	l := &Listener{
		tcp: tcp, server: server, client: client, trusted: trusted, log: log,
		api: newQueue(tcp.Addr()), consensus: newQueue(tcp.Addr()), slots: make(chan struct{}, maxHandshakes),
	}
	l.wg.Go(l.accept)
	return l, nil
}

// API yields the connections of clients, as *tls.Conn.
func (l *Listener) API() net.Listener { return l.api }

// TLS is the configuration with which API's connections were accepted.
func (l *Listener) TLS() *tls.Config { return l.server }

// Close ends the port and both sides.
func (l *Listener) Close() error {
	err := errors.Join(l.tcp.Close(), l.api.Close(), l.consensus.Close())
	l.wg.Wait()
	return err
}

func (l *Listener) accept() {
	for {
		conn, err := l.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			l.log.Warn("accepting a connection failed", "error", err)
			time.Sleep(50 * time.Millisecond) // out of descriptors: let some be closed
			continue
		}
		select {
		case l.slots <- struct{}{}:
			l.wg.Go(func() {
				defer func() { <-l.slots }()
				l.handshake(conn)
			})
		default:
			_ = conn.Close() // a flood; whoever is honest comes again
		}
	}
}

func (l *Listener) handshake(raw net.Conn) {
	conn := tls.Server(raw, l.server)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		l.log.Debug("a handshake failed", "from", raw.RemoteAddr(), "error", err)
		_ = raw.Close() // the client went away or is not one of ours
		return
	}
	to := l.api
	if conn.ConnectionState().NegotiatedProtocol == Protocol {
		if !l.trusted(conn.ConnectionState()) {
			l.log.Warn("a stream of consensus was refused: the peer is no server of this cluster", "from", raw.RemoteAddr())
			_ = conn.Close() // told by the end of the stream
			return
		}
		to = l.consensus
	}
	to.put(conn)
}
