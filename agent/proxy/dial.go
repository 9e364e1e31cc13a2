package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A first attempt is short, because another backend may be well; a second, for those that were only slow,
	// bridges two lost packets of a handshake.
	firstDial  = time.Second
	secondDial = 4 * time.Second
	// dialTotal bounds how long a client waits for any backend.
	dialTotal = 15 * time.Second

	// The kernel of a pod takes its own source ports from 32768 up. The proxy speaks with the pod's address from
	// below, so that the two never choose the same port for the same peer.
	firstPort, lastPort = 1024, 32767
	portTries           = 64
)

// keepAlive finds peers that are gone within about a minute and a half.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6}

// connect dials the backends in turn until one accepts; nil says that none did. The set is read anew after a
// round without success, because it may have changed meanwhile.
func (f *frontend) connect(client netip.Addr) *net.TCPConn {
	ctx, cancel := context.WithTimeout(f.p.ctx, dialTotal)
	defer cancel()
	for _, limit := range []time.Duration{firstDial, secondDial} {
		slow := false
		s := f.current.Load()
		for _, b := range f.order(s, client) {
			conn, err := f.p.dial(ctx, client, b.addr, limit)
			if err == nil {
				b.failed.Store(0)
				if s.rule.affinity > 0 {
					f.affinity.put(client, b.addr, s.rule.affinity)
				}
				return conn
			}
			if ctx.Err() != nil {
				return nil
			}
			b.failed.Store(time.Now().UnixNano())
			slow = slow || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
			f.p.log.Debug("a backend cannot be reached", "service", s.rule.service, "backend", b.addr, "err", err)
		}
		if !slow && s == f.current.Load() {
			break
		}
	}
	if f.p.mayLog() {
		f.p.log.Warn("no backend of a service can be reached", "service", f.current.Load().rule.service)
	}
	return nil
}

// keepsClient reports whether the backend can be dialled from the client's own address, which needs that the
// answers come back through this node.
//
//	client               backend               answers
//	pod of this node     any pod but itself    to the pod's node, which is this one: kept
//	anybody else         pod of this node      leave the pod by its link to this node: kept
//	anybody else         elsewhere             go straight to the client, who knows nothing of them: not kept
//	pod                  itself                never leave the pod: not kept
//	pod                  not a pod             may not know the way to a pod: not kept
//	this node            any                   it is the node's address anyway
func (c *Config) keepsClient(client, backend netip.Addr) bool {
	switch {
	case client == backend, client == c.NodeIP, !client.IsGlobalUnicast(), c.ServiceCIDR.Contains(client):
		return false
	case c.PodCIDR.Contains(client):
		return c.ClusterCIDR.Contains(backend)
	}
	return c.PodCIDR.Contains(backend)
}

func (p *Proxy) dial(ctx context.Context, client netip.Addr, to netip.AddrPort, limit time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: limit, KeepAliveConfig: keepAlive}
	d.SetMultipathTCP(false)
	if !p.cfg.keepsClient(client, to.Addr()) {
		return p.dialWith(ctx, &d, to)
	}
	d.Control = transparent
	for try := 1; ; try++ {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, p.sourcePort()))
		conn, err := p.dialWith(ctx, &d, to)
		inUse := errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL)
		if !inUse || try == portTries {
			return conn, err
		}
	}
}

func (p *Proxy) dialWith(ctx context.Context, d *net.Dialer, to netip.AddrPort) (*net.TCPConn, error) {
	var conn net.Conn
	err := p.cfg.Enter(func() (err error) {
		conn, err = d.DialContext(ctx, "tcp4", to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("proxy: the connection is not TCP"), conn.Close())
	}
	return tcp, nil
}

// sourcePort goes round, so that a port is used again as late as possible: the peer may still remember it.
func (p *Proxy) sourcePort() uint16 {
	return uint16(firstPort + p.port.Add(1)%(lastPort-firstPort+1))
}

// transparent lets a socket speak with an address that is not the machine's.
func transparent(_, _ string, raw syscall.RawConn) error {
	var err error
	outer := raw.Control(func(fd uintptr) {
		err = errors.Join(
			os.NewSyscallError("setsockopt IP_TRANSPARENT", unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)),
			// Several connections may share a source port as long as they go to different backends.
			os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
		)
	})
	return errors.Join(outer, err)
}
