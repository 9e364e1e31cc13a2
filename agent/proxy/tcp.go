package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// tcpFront listens for the connections of one address and relays them.
type tcpFront struct {
	*balancer
	p        *Proxy
	listener *net.TCPListener
}

func (p *Proxy) listenTCP(addr netip.AddrPort, r rule) (front, error) {
	var l net.Listener
	err := p.cfg.Enter(func() (err error) {
		lc := net.ListenConfig{KeepAliveConfig: keepAlive}
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(p.ctx, string(tcp), addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	listener, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("proxy: %s is no TCP listener", addr), l.Close())
	}
	f := &tcpFront{balancer: newBalancer(), p: p, listener: listener}
	f.set(r)
	p.tasks.Go(f.accept)
	return f, nil
}

// stop ends the accept loop; relays go on.
func (f *tcpFront) stop() { _ = f.listener.Close() }

func (f *tcpFront) accept() {
	const least, most = 5 * time.Millisecond, time.Second
	pause := least
	for {
		client, err := f.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of files or memory: what waits in the backlog stays there until some are free.
			if f.p.mayLog() {
				f.p.log.Warn("accept a connection; trying again", "address", f.listener.Addr(), "err", err)
			}
			select {
			case <-f.p.ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, most)
			continue
		}
		pause = least
		if f.p.relays.Add(1) > int64(f.p.cfg.MaxConns) {
			f.p.relays.Add(-1)
			if f.p.mayLog() {
				f.p.log.Warn("too many connections are relayed: new ones are reset", "service", f.current.Load().rule.service, "limit", f.p.cfg.MaxConns)
			}
			abort(client)
			continue
		}
		f.p.tasks.Go(func() {
			defer f.p.relays.Add(-1)
			f.serve(client)
		})
	}
}

// serve relays one client, whom it owns.
func (f *tcpFront) serve(client *net.TCPConn) {
	from, ok := remote(client)
	if !ok {
		abort(client)
		return
	}
	server := f.connect(from)
	if server == nil {
		abort(client)
		return
	}
	relay(f.p.ctx, client, server)
}

func remote(c *net.TCPConn) (netip.Addr, bool) {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return a.AddrPort().Addr().Unmap(), true
}

// connect dials the backends in turn until one accepts; nil says that none did. The set is read anew after a
// round without success, because it may have changed meanwhile.
func (f *tcpFront) connect(client netip.Addr) *net.TCPConn {
	ctx, cancel := context.WithTimeout(f.p.ctx, dialTotal)
	defer cancel()
	for _, limit := range []time.Duration{firstDial, secondDial} {
		slow := false
		s := f.current.Load()
		for _, b := range f.order(s, client) {
			conn, err := f.p.dialTCP(ctx, client, b.addr, limit)
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

func (p *Proxy) dialTCP(ctx context.Context, client netip.Addr, to netip.AddrPort, limit time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: limit, KeepAliveConfig: keepAlive}
	d.SetMultipathTCP(false)
	conn, err := p.dial(ctx, tcp, d, client, to)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("proxy: the connection is not TCP"), conn.Close())
	}
	return c, nil
}
