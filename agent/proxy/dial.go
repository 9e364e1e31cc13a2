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

// dial connects to a backend, from the client's own address where that can be kept.
func (p *Proxy) dial(ctx context.Context, proto protocol, d net.Dialer, client netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	enter := func() (err error) {
		conn, err = d.DialContext(ctx, string(proto), to.String())
		return err
	}
	if !p.cfg.keepsClient(client, to.Addr()) {
		err := p.cfg.Enter(enter)
		return conn, err
	}
	d.Control = transparent
	for try := 1; ; try++ {
		from := netip.AddrPortFrom(client, p.sourcePort())
		if d.LocalAddr = net.TCPAddrFromAddrPort(from); proto == udp {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
		err := p.cfg.Enter(enter)
		inUse := errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL)
		if !inUse || try == portTries {
			return conn, err
		}
	}
}

// sourcePort goes round, so that a port is used again as late as possible: the peer may still remember it.
func (p *Proxy) sourcePort() uint16 {
	return uint16(firstPort + p.port.Add(1)%(lastPort-firstPort+1))
}

// transparent lets a socket speak with an address that is not the machine's.
func transparent(network, _ string, raw syscall.RawConn) error {
	var err error
	outer := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt IP_TRANSPARENT", unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1))
		if err == nil && network == string(tcp) {
			// Several connections may share a source port as long as they go to different backends. For UDP this would
			// let one socket take what is meant for another.
			err = os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		}
	})
	return errors.Join(outer, err)
}
