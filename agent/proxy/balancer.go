package proxy

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
)

// shunned is how long a backend that could not be reached is tried after all others.
const shunned = 5 * time.Second

func randomUint32() uint32 { return rand.Uint32() } //nolint:gosec // it spreads load and guards nothing

// backend is one endpoint as a balancer knows it. It outlives the sets that it is in.
type backend struct {
	addr netip.AddrPort
	// failed is when a dial failed last, in Unix nanoseconds; zero after a success.
	failed atomic.Int64
}

// set is what a balancer does; it is never changed once published.
type set struct {
	rule     rule
	backends []*backend // in the order of rule.backends
}

// balancer chooses among the backends of one address. Connections read its set without a lock.
type balancer struct {
	current  atomic.Pointer[set]
	turn     atomic.Uint32 // whose turn it is; it begins anywhere, so that nodes differ
	affinity *affinity
}

func newBalancer() *balancer {
	b := &balancer{affinity: newAffinity()}
	b.turn.Store(randomUint32())
	b.current.Store(&set{})
	return b
}

// set publishes new backends if they differ. Only the holder of the proxy's lock calls it.
func (b *balancer) set(r rule) {
	old := b.current.Load()
	if old.rule.equal(r) {
		return
	}
	known := make(map[netip.AddrPort]*backend, len(old.backends))
	for _, e := range old.backends {
		known[e.addr] = e
	}
	next := &set{rule: r, backends: make([]*backend, 0, len(r.backends))}
	for _, addr := range r.backends {
		e := known[addr]
		if e == nil {
			e = &backend{addr: addr}
		}
		next.backends = append(next.backends, e)
	}
	b.current.Store(next)
}

// order lists the backends in the order to try: the client's own first if it has one, then from whose turn it
// is, and last those that failed a moment ago.
func (b *balancer) order(s *set, client netip.Addr) []*backend {
	n := len(s.backends)
	if n == 0 {
		return nil
	}
	out := make([]*backend, 0, n)
	var last []*backend
	start := int(b.turn.Add(1) % uint32(n))
	now := time.Now().UnixNano()
	for i := range n {
		e := s.backends[(start+i)%n]
		if failed := e.failed.Load(); failed != 0 && now-failed < int64(shunned) {
			last = append(last, e)
			continue
		}
		out = append(out, e)
	}
	out = append(out, last...)
	if s.rule.affinity == 0 {
		return out
	}
	if own, ok := b.affinity.get(client, s.rule.affinity); ok {
		for i, e := range out {
			if e.addr == own {
				copy(out[1:i+1], out[:i])
				out[0] = e
				break
			}
		}
	}
	return out
}
