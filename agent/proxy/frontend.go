package proxy

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// shunned is how long a backend that could not be reached is tried after all others.
const shunned = 5 * time.Second

func randomUint32() uint32 { return rand.Uint32() } //nolint:gosec // it spreads load and guards nothing

// backend is one endpoint as a frontend knows it. It outlives the sets that it is in.
type backend struct {
	addr netip.AddrPort
	// failed is when a dial failed last, in Unix nanoseconds; zero after a success.
	failed atomic.Int64
}

// set is what a frontend does; it is never changed once published.
type set struct {
	rule     rule
	backends []*backend // in the order of rule.backends
}

// frontend is one listener with its backends. Its accept loop and relays read the set without a lock.
type frontend struct {
	p        *Proxy
	listener *net.TCPListener
	current  atomic.Pointer[set]
	turn     atomic.Uint32 // whose turn it is; it begins anywhere, so that nodes differ
	affinity *affinity
}

func newFrontend(p *Proxy, l *net.TCPListener) *frontend {
	f := &frontend{p: p, listener: l, affinity: newAffinity()}
	f.turn.Store(randomUint32())
	f.current.Store(&set{})
	return f
}

// set publishes new backends if they differ. Only the holder of the proxy's lock calls it.
func (f *frontend) set(r rule) {
	old := f.current.Load()
	if old.rule.equal(r) {
		return
	}
	known := make(map[netip.AddrPort]*backend, len(old.backends))
	for _, b := range old.backends {
		known[b.addr] = b
	}
	next := &set{rule: r, backends: make([]*backend, 0, len(r.backends))}
	for _, addr := range r.backends {
		b := known[addr]
		if b == nil {
			b = &backend{addr: addr}
		}
		next.backends = append(next.backends, b)
	}
	f.current.Store(next)
}

// stop ends the accept loop; relays go on.
func (f *frontend) stop() { _ = f.listener.Close() }

func (f *frontend) accept() {
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
func (f *frontend) serve(client *net.TCPConn) {
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

// order lists the backends in the order to try: the client's own first if it has one, then from whose turn it
// is, and last those that failed a moment ago.
func (f *frontend) order(s *set, client netip.Addr) []*backend {
	n := len(s.backends)
	if n == 0 {
		return nil
	}
	out := make([]*backend, 0, n)
	var last []*backend
	start := int(f.turn.Add(1) % uint32(n))
	now := time.Now().UnixNano()
	for i := range n {
		b := s.backends[(start+i)%n]
		if failed := b.failed.Load(); failed != 0 && now-failed < int64(shunned) {
			last = append(last, b)
			continue
		}
		out = append(out, b)
	}
	out = append(out, last...)
	if s.rule.affinity == 0 {
		return out
	}
	if own, ok := f.affinity.get(client, s.rule.affinity); ok {
		for i, b := range out {
			if b.addr == own {
				copy(out[1:i+1], out[:i])
				out[0] = b
				break
			}
		}
	}
	return out
}
