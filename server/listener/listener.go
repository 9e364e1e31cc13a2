package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Protocol is what consensus asks for in the handshake.
const Protocol = "holt-raft/1"

const (
	handshakeTimeout = 5 * time.Second
	maxHandshakes    = 512
	// maxFromOne bounds the handshakes of one address, so that one stranger cannot take all.
	maxFromOne = 64
	// acceptPause lets connections be closed when the process is out of descriptors.
	acceptPause = 50 * time.Millisecond
)

// Listener is an open port.
type Listener struct {
	tcp     net.Listener
	server  *tls.Config
	client  *tls.Config
	trusted func(tls.ConnectionState) bool
	log     *slog.Logger

	api, consensus *queue
	wg             sync.WaitGroup
	refuse         func() error // closes the port, once
	// life ends with Close, and handshakes with it.
	life context.Context
	end  context.CancelFunc

	mu sync.Mutex
	// shaking counts the handshakes under way by address, total all of them; guarded by mu.
	shaking map[netip.Addr]int
	total   int
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
		api: newQueue(tcp.Addr()), consensus: newQueue(tcp.Addr()),
		shaking: map[netip.Addr]int{}, refuse: sync.OnceValue(tcp.Close),
	}
	l.life, l.end = context.WithCancel(context.Background())
	l.wg.Go(l.accept)
	return l, nil
}

// API yields the connections of clients, as *tls.Conn.
func (l *Listener) API() net.Listener { return l.api }

// TLS is the configuration with which API's connections were accepted.
func (l *Listener) TLS() *tls.Config { return l.server }

// Refuse closes the port and leaves the connections that are there as they are: whoever connects is told at once, and
// goes elsewhere, before anything is sent. It may be called before Close.
func (l *Listener) Refuse() error { return l.refuse() }

// Close ends the port and both sides.
func (l *Listener) Close() error {
	l.end()
	err := errors.Join(l.refuse(), l.api.Close(), l.consensus.Close())
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
			select {
			case <-time.After(acceptPause):
			case <-l.life.Done():
			}
			continue
		}
		from := remote(conn)
		if !l.begin(from) {
			_ = conn.Close() // a flood; whoever is honest comes again
			continue
		}
		l.wg.Go(func() {
			defer l.done(from)
			l.handshake(conn)
		})
	}
}

func remote(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (l *Listener) begin(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total == maxHandshakes || l.shaking[from] == maxFromOne {
		return false
	}
	l.total++
	l.shaking[from]++
	return true
}

func (l *Listener) done(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.shaking[from]--; l.shaking[from] == 0 {
		delete(l.shaking, from)
	}
}

func (l *Listener) handshake(raw net.Conn) {
	conn := tls.Server(raw, l.server)
	ctx, cancel := context.WithTimeout(l.life, handshakeTimeout)
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
			_ = raw.Close() // told by the end of the stream
			return
		}
		to = l.consensus
	}
	to.put(conn)
}
