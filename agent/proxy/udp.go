package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// flowIdle is how long a UDP client keeps its backend without a packet in either direction.
	flowIdle     = time.Minute
	receivePause = 5 * time.Millisecond
	// datagramMost is the largest payload that UDP has.
	datagramMost = 65507
)

// udpFront passes on the datagrams of one address. A client (address and port) has a flow: a socket of its own
// to one backend.
type udpFront struct {
	*balancer
	p    *Proxy
	conn *net.UDPConn

	mu    sync.Mutex
	flows map[netip.AddrPort]*flow // guarded by mu; by client
	ended bool                     // guarded by mu; no more flows
}

type flow struct {
	backend netip.AddrPort
	conn    *net.UDPConn // connected to the backend
}

// touch gives a flow another span of life.
func (l *flow) touch() { _ = l.conn.SetReadDeadline(time.Now().Add(flowIdle)) }

func (p *Proxy) listenUDP(addr netip.AddrPort, r rule) (front, error) {
	var pc net.PacketConn
	err := p.cfg.Enter(func() (err error) {
		pc, err = new(net.ListenConfig).ListenPacket(p.ctx, string(udp), addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("proxy: %s is no UDP socket", addr), pc.Close())
	}
	f := &udpFront{balancer: newBalancer(), p: p, conn: conn, flows: map[netip.AddrPort]*flow{}}
	f.set(r)
	p.tasks.Go(f.receive)
	return f, nil
}

// set publishes new backends, and ends the flows to those that left: UDP knows no end to wait for.
func (f *udpFront) set(r rule) {
	f.balancer.set(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	for client, l := range f.flows {
		if !slices.Contains(r.backends, l.backend) {
			_ = l.conn.Close()
			delete(f.flows, client) // at once, so that the next datagram goes elsewhere
		}
	}
}

// stop ends the listening and all flows.
func (f *udpFront) stop() {
	_ = f.conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for _, l := range f.flows {
		_ = l.conn.Close()
	}
}

// receive passes datagrams of clients to their backends.
func (f *udpFront) receive() {
	buf := make([]byte, datagramMost)
	for {
		n, client, err := f.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// It says nothing about the socket itself, and may come again.
			select {
			case <-f.p.ctx.Done():
				return
			case <-time.After(receivePause):
				continue
			}
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		l := f.flow(client)
		if l == nil {
			continue
		}
		l.touch()
		if _, err := l.conn.Write(buf[:n]); err != nil {
			// The backend is gone. As this datagram may be an old one's refusal, the next one gets a new flow.
			_ = l.conn.Close()
		}
	}
}

// flow returns the client's flow, and begins one if it has none. Nil says that there can be none now.
func (f *udpFront) flow(client netip.AddrPort) *flow {
	f.mu.Lock()
	l := f.flows[client]
	f.mu.Unlock()
	if l != nil {
		return l
	}
	if f.p.relays.Add(1) > int64(f.p.cfg.MaxConns) {
		f.p.relays.Add(-1)
		return nil
	}
	l = f.begin(client)
	if l == nil {
		f.p.relays.Add(-1)
		return nil
	}
	f.p.tasks.Go(func() {
		defer f.p.relays.Add(-1)
		f.answer(client, l)
	})
	return l
}

func (f *udpFront) begin(client netip.AddrPort) *flow {
	s := f.current.Load()
	for _, b := range f.order(s, client.Addr()) {
		conn, err := f.p.dial(f.p.ctx, udp, net.Dialer{}, client.Addr(), b.addr)
		if err != nil {
			b.failed.Store(time.Now().UnixNano())
			continue
		}
		c, ok := conn.(*net.UDPConn)
		if !ok {
			_ = conn.Close()
			return nil
		}
		if s.rule.affinity > 0 {
			f.affinity.put(client.Addr(), b.addr, s.rule.affinity)
		}
		l := &flow{backend: b.addr, conn: c}
		if f.keep(client, l) {
			return l
		}
	}
	return nil
}

// keep registers a flow unless its backend has left, or the front has stopped, since it was chosen.
func (f *udpFront) keep(client netip.AddrPort, l *flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || !slices.Contains(f.current.Load().rule.backends, l.backend) {
		_ = l.conn.Close()
		return false
	}
	f.flows[client] = l
	return true
}

// answer passes the backend's datagrams to the client until the flow ends.
func (f *udpFront) answer(client netip.AddrPort, l *flow) {
	defer func() {
		_ = l.conn.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.flows[client] == l {
			delete(f.flows, client)
		}
	}()
	stop := context.AfterFunc(f.p.ctx, func() { _ = l.conn.Close() })
	defer stop()
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return
	}
	for err == nil {
		l.touch()
		err = f.passOne(raw, client)
	}
}

// buffers holds a datagram each. A flow has one only while it has a datagram, since most flows wait.
var buffers = sync.Pool{New: func() any { return new([datagramMost]byte) }}

// passOne waits for one datagram of a backend and sends it to the client.
func (f *udpFront) passOne(backend syscall.RawConn, client netip.AddrPort) error {
	var err error
	outer := backend.Read(func(fd uintptr) bool {
		buf := buffers.Get().(*[datagramMost]byte)
		defer buffers.Put(buf)
		var n int
		if n, err = unix.Read(int(fd), buf[:]); err != nil {
			return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		}
		if _, sent := f.conn.WriteToUDPAddrPort(buf[:n], client); errors.Is(sent, net.ErrClosed) {
			err = sent
		}
		return true
	})
	return errors.Join(outer, err)
}
