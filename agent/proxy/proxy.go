package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
	// MaxConns bounds the connections relayed at once; those above are reset. Zero means as many as the
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
	closed bool                         // guarded by mu
	wanted map[netip.AddrPort]rule      // guarded by mu
	fronts map[netip.AddrPort]*frontend // guarded by mu; a subset of wanted
	failed map[netip.AddrPort]string    // guarded by mu; why a wanted address is not listened on
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
		fronts: map[netip.AddrPort]*frontend{}, failed: map[netip.AddrPort]string{},
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
	for addr, f := range p.fronts {
		if _, ok := p.wanted[addr]; !ok {
			f.stop()
			delete(p.fronts, addr)
		}
	}
	for addr := range p.failed {
		if _, ok := p.wanted[addr]; !ok {
			delete(p.failed, addr)
		}
	}
	for addr, r := range p.wanted {
		if f, ok := p.fronts[addr]; ok {
			f.set(r)
			continue
		}
		f, err := p.listen(addr, r)
		if err != nil {
			if p.failed[addr] != err.Error() {
				p.failed[addr] = err.Error()
				p.log.Warn("a service's address cannot be listened on; trying again", "service", r.service, "address", addr, "err", err)
			}
			continue
		}
		delete(p.failed, addr)
		p.fronts[addr] = f
	}
}

func (p *Proxy) listen(addr netip.AddrPort, r rule) (*frontend, error) {
	var l net.Listener
	err := p.cfg.Enter(func() (err error) {
		lc := net.ListenConfig{KeepAliveConfig: keepAlive}
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(p.ctx, "tcp4", addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("proxy: %s is no TCP listener", addr), l.Close())
	}
	f := newFrontend(p, tcp)
	f.set(r)
	p.tasks.Go(f.accept)
	return f, nil
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
	for addr, f := range p.fronts {
		f.stop()
		delete(p.fronts, addr)
	}
	p.mu.Unlock()
	p.cancel()
	p.tasks.Wait()
	return nil
}
