package proxy

import (
	"net/netip"
	"sync"
	"time"
)

// affinityMost bounds the clients that one listener remembers.
const affinityMost = 1 << 16

// affinity remembers which backend a client had last. Its methods may be called concurrently.
type affinity struct {
	mu      sync.Mutex
	clients map[netip.Addr]choice // guarded by mu
}

type choice struct {
	backend netip.AddrPort
	used    time.Time
}

func newAffinity() *affinity { return &affinity{clients: map[netip.Addr]choice{}} }

// get returns the client's backend if it was used within ttl.
func (a *affinity) get(client netip.Addr, ttl time.Duration) (netip.AddrPort, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.clients[client]
	return c.backend, ok && time.Since(c.used) < ttl
}

// put notes the client's backend, and forgets others when there are too many: the expired, or else any.
func (a *affinity) put(client netip.Addr, backend netip.AddrPort, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.clients) >= affinityMost {
		for addr, c := range a.clients {
			if time.Since(c.used) >= ttl {
				delete(a.clients, addr)
			}
		}
		for addr := range a.clients {
			if len(a.clients) < affinityMost {
				break
			}
			delete(a.clients, addr)
		}
	}
	a.clients[client] = choice{backend: backend, used: time.Now()}
}
