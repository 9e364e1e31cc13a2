package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// retryListen is the pause before an address that could not be listened on is tried again.
const retryListen = time.Second

// Config describes the node that the proxy serves.
type Config struct {
	Node   string
	NodeIP netip.Addr
	// PodCIDR is this node's part of ClusterCIDR, which holds all pods.
	PodCIDR, ClusterCIDR, ServiceCIDR netip.Prefix
	// NodePorts says whether node ports are served, on NodeIP.
	NodePorts bool
	// NodeAddrs gives the addresses of all nodes as known now. It may be nil.
	NodeAddrs func() []netip.Addr
	// Reserved are addresses of Services that another part of the agent answers, as DNS does.
	Reserved []netip.AddrPort
	// MaxConns bounds the connections relayed at once, and the UDP clients too; those above are reset or dropped. Zero means as many as the
	// process' limit of open files allows.
	MaxConns int
	// Enter runs f on a thread of the network namespace to serve. Nil means the process' own.
	Enter func(f func() error) error
}

// Proxy relays the connections of Services. Make it with New.
type Proxy struct {
	cfg Config
	log *slog.Logger

	ctx    context.Context // ends with Close; every relay hangs on it
	cancel context.CancelFunc
	tasks  sync.WaitGroup // accept loops and relays
	relays atomic.Int64
	port   atomic.Uint32 // see sourcePort
	logged atomic.Int64  // see mayLog

	mu     sync.Mutex
	closed bool                 // guarded by mu
	wanted map[listenKey]rule   // guarded by mu
	fronts map[listenKey]front  // guarded by mu; its keys are a subset of wanted
	failed map[listenKey]string // guarded by mu; why a wanted address is not listened on
}

// front is one address that is listened on.
type front interface {
	// set publishes new backends. Only the holder of the proxy's lock calls it.
	set(r rule)
	// stop ends the listening.
	stop()
}

// New makes a proxy that serves nothing until Update. The caller ends it with Close, or by ending Run.
func New(cfg Config, log *slog.Logger) *Proxy {
	if cfg.Enter == nil {
		cfg.Enter = func(f func() error) error { return f() }
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = connsByFiles()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		cfg: cfg, log: log, ctx: ctx, cancel: cancel,
		fronts: map[listenKey]front{}, failed: map[listenKey]string{},
	}
	p.port.Store(randomUint32())
	return p
}

// connsByFiles leaves a quarter of the files to the rest of the process. A relay has two sockets and, for
// splice, two pipes of two ends.
func connsByFiles() int {
	const perRelay, fallback, most = 6, 1024, 1 << 17
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fallback
	}
	return int(min(limit.Cur/4*3/perRelay, most))
}

// Update takes the whole present state and makes the listeners and their backends follow it. What did not
// change is not touched. An address that cannot be listened on is logged and tried again by Run.
func (p *Proxy) Update(services []*corev1.Service, slices []*discoveryv1.EndpointSlice) {
	wanted := p.cfg.rules(services, slices)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.wanted = wanted
	p.sync()
}

// sync makes the listeners follow p.wanted. The caller holds p.mu.
func (p *Proxy) sync() {
	for key, f := range p.fronts {
		if _, ok := p.wanted[key]; !ok {
			f.stop()
			delete(p.fronts, key)
		}
	}
	for key := range p.failed {
		if _, ok := p.wanted[key]; !ok {
			delete(p.failed, key)
		}
	}
	for key, r := range p.wanted {
		if f, ok := p.fronts[key]; ok {
			f.set(r)
			continue
		}
		f, err := p.listen(key, r)
		if err != nil {
			if p.failed[key] != err.Error() {
				p.failed[key] = err.Error()
				p.log.Warn("a service's address cannot be listened on; trying again",
					"service", r.service, "protocol", key.protocol, "address", key.addr, "err", err)
			}
			continue
		}
		delete(p.failed, key)
		p.fronts[key] = f
	}
}

// listen opens one address and starts its loop.
func (p *Proxy) listen(key listenKey, r rule) (front, error) {
	if key.protocol == udp {
		return p.listenUDP(key.addr, r)
	}
	return p.listenTCP(key.addr, r)
}

// mayLog allows one log line a second to what clients can cause at any rate.
func (p *Proxy) mayLog() bool {
	last, now := p.logged.Load(), time.Now().UnixNano()
	return now-last >= int64(time.Second) && p.logged.CompareAndSwap(last, now)
}

// Run tries again what could not be listened on, until ctx ends. Then it closes the proxy and returns nil.
func (p *Proxy) Run(ctx context.Context) error {
	tick := time.NewTicker(retryListen)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.Close()
		case <-p.ctx.Done():
			return p.Close()
		case <-tick.C:
			p.mu.Lock()
			if len(p.failed) > 0 && !p.closed {
				p.sync()
			}
			p.mu.Unlock()
		}
	}
}

// Close stops listening, resets all relayed connections and returns when the last goroutine has ended.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.wanted = nil
	for key, f := range p.fronts {
		f.stop()
		delete(p.fronts, key)
	}
	p.mu.Unlock()
	p.cancel()
	p.tasks.Wait()
	return nil
}
