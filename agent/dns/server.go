package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

const (
	// udpMost is the largest UDP answer that passes every usual path in one piece (the DNS flag day of 2020).
	udpMost = 1232
	// Bounds of what clients can make the server hold.
	mostConns, mostForwards, mostTCPQueries = 1024, 1024, 128
)

// Config says where to answer, and for what.
type Config struct {
	// Addrs are listened on with UDP and TCP. The node must own them.
	Addrs []netip.AddrPort
	// Domain is the cluster's domain, such as cluster.local.
	Domain string
	// Internal are the ranges of pods and Services: who owns an address there is never asked upstream.
	Internal []netip.Prefix
	// ResolvConf is the file with the node's own resolvers. It is read again when it changes.
	ResolvConf string
	// Enter runs f on a thread of the network namespace to serve. Nil means the process' own.
	Enter func(f func() error) error
}

// Server answers questions. Make it with New.
type Server struct {
	cfg       Config
	log       *slog.Logger
	domain    string // lower case, with its dot
	zone      atomic.Pointer[zone]
	upstreams *upstreams
	forwards  chan struct{} // one place for each question under way upstream

	mu      sync.Mutex
	sockets []*dns.Server // guarded by mu; bound, and not yet served
}

// New makes a server with an empty zone.
func New(cfg Config, log *slog.Logger) *Server {
	if cfg.Enter == nil {
		cfg.Enter = func(f func() error) error { return f() }
	}
	s := &Server{
		cfg: cfg, log: log,
		domain:   strings.ToLower(dns.Fqdn(cfg.Domain)),
		forwards: make(chan struct{}, mostForwards),
	}
	s.upstreams = newUpstreams(cfg)
	s.Update(nil, nil)
	return s
}

// Update takes the whole present state; questions from now on see it.
func (s *Server) Update(services []*corev1.Service, slices []*discoveryv1.EndpointSlice) {
	s.zone.Store(newZone(s.domain, services, slices))
}

// Listen binds all addresses, so that questions wait for Run. All are bound, or none and an error returned.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sockets) > 0 {
		return nil
	}
	for _, addr := range s.cfg.Addrs {
		var pc net.PacketConn
		var l net.Listener
		err := s.cfg.Enter(func() (err error) {
			if pc, err = net.ListenPacket("udp4", addr.String()); err != nil {
				return err
			}
			l, err = net.Listen("tcp4", addr.String())
			return err
		})
		if pc != nil {
			s.sockets = append(s.sockets, &dns.Server{PacketConn: pc, UDPSize: udpMost})
		}
		if err != nil {
			s.unbind()
			return fmt.Errorf("dns: listen on %s: %w", addr, err)
		}
		s.sockets = append(s.sockets, &dns.Server{Listener: limit(l, mostConns), MaxTCPQueries: mostTCPQueries})
	}
	return nil
}

// unbind closes what Listen has bound. The caller holds s.mu.
func (s *Server) unbind() {
	for _, srv := range s.sockets {
		if srv.PacketConn != nil {
			_ = srv.PacketConn.Close()
		}
		if srv.Listener != nil {
			_ = srv.Listener.Close()
		}
	}
	s.sockets = nil
}

// Run answers until ctx ends, and then returns nil; it calls Listen if nobody has. It returns an error as soon
// as one of the sockets fails, with all of them closed.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.handle(ctx, w, q) })
	var tasks sync.WaitGroup
	errs := make([]error, len(s.sockets))
	for i, srv := range s.sockets {
		srv.Handler = handler
		tasks.Go(func() {
			defer cancel()
			if err := serve(ctx, srv); err != nil {
				errs[i] = fmt.Errorf("dns: serve: %w", err)
			}
		})
	}
	tasks.Wait()
	s.unbind()
	return errors.Join(errs...)
}

// serve answers on one socket until ctx ends, and returns when the last answer is given.
func serve(ctx context.Context, srv *dns.Server) error {
	started, ended := make(chan struct{}), make(chan error, 1)
	srv.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- srv.ActivateAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-started: // before that, there is nothing to shut down
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		// Questions under way end with ctx too, so this does not take long.
		err := srv.Shutdown()
		<-ended
		return err
	}
}

// limit makes a listener accept no more than n connections at once; others wait in its backlog.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &place{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// place is a connection that gives its place back when it is closed.
type place struct {
	net.Conn
	leave func()
}

func (p *place) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
