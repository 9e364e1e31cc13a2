package simulate

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network carries streams between hosts. Everything in it is guarded by mu.
type network struct {
	mu    sync.Mutex
	rng   *rand.Rand
	hosts map[string]*host // by address
	links map[link]weather
}

// link is one direction between two addresses.
type link struct{ from, to string }

// weather is what happens to what is sent on a link. The zero value is a healthy network.
type weather struct {
	down  bool          // nothing arrives
	loss  float64       // of each packet; it is sent again after a timeout, as TCP does
	delay time.Duration // at most, beyond what a healthy network takes
	echo  float64       // of each request of raft: it arrives a second time, up to echoDelay later
}

const (
	healthyDelay  = time.Millisecond // at most
	firstResend   = 200 * time.Millisecond
	longestResend = 5 * time.Second
	firstRedial   = time.Second
	echoDelay     = 3 * time.Second
)

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, hosts: map[string]*host{}, links: map[link]weather{}}
}

// set changes the weather of one direction.
func (n *network) set(from, to string, change func(*weather)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.links[link{from, to}]
	change(&w)
	n.links[link{from, to}] = w
}

// heal makes every link healthy.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
}

// passes tells whether a packet that is sent now arrives, and after how long.
func (n *network) passes(l link) (time.Duration, bool) {
	w := n.links[l]
	if w.down || w.loss > 0 && n.rng.Float64() < w.loss {
		return 0, false
	}
	return healthyDelay/10 + time.Duration(n.rng.Int64N(int64(healthyDelay+w.delay))), true
}

// reach says how long a packet from one host to another takes now, if it arrives.
func (n *network) reach(from, to string) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.passes(link{from, to})
}

// reset breaks every connection between two hosts, as a router on the way does that has lost its memory.
func (n *network) reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.hosts[a].conns {
		if c.remote == b {
			c.reset()
			c.peer.reset()
		}
	}
}

// host is one process that listens on the network. It is a consensus.Transport. A process that starts again is another
// host with the same address.
type host struct {
	net     *network
	address string
	backlog chan *conn
	stop    chan struct{}

	// Guarded by net.mu.
	conns   map[*conn]struct{}
	closed  bool
	dead    bool // nothing that it sends arrives any more
	powered bool // dead hosts: the machine answers for it, and refuses
}

// listen starts a process on address.
func (n *network) listen(address string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &host{
		net: n, address: address, backlog: make(chan *conn, 256), stop: make(chan struct{}),
		conns: map[*conn]struct{}{}, powered: true,
	}
	n.hosts[address] = h
	return h
}

// die ends the process for everybody else. The kernel of a machine that goes on closes its connections; a machine without
// power says nothing.
func (h *host) die(powerCut bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.dead {
		return
	}
	for c := range h.conns {
		if !powerCut {
			c.peer.finish()
		}
	}
	h.dead, h.powered = true, !powerCut
}

// Accept implements consensus.Transport.
func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.backlog:
		return c, nil
	case <-h.stop:
		return nil, net.ErrClosed
	}
}

// Close implements consensus.Transport.
func (h *host) Close() error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.stop)
	}
	return nil
}

// Dial implements consensus.Transport.
func (h *host) Dial(address string, timeout time.Duration) (net.Conn, error) {
	end := time.Now().Add(timeout)
	for again := firstRedial; ; again *= 2 {
		wait, c, err := h.try(address)
		if err != nil {
			return nil, err
		}
		if c != nil {
			time.Sleep(wait)
			return c, nil
		}
		if !time.Now().Add(again).Before(end) {
			time.Sleep(time.Until(end))
			return nil, os.ErrDeadlineExceeded
		}
		time.Sleep(again)
	}
}

// try opens a connection if the packets to do so arrive now; otherwise all it returns are zero values.
func (h *host) try(address string) (time.Duration, *conn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.closed {
		return 0, nil, net.ErrClosed
	}
	there, ok := h.net.passes(link{h.address, address})
	back, ok2 := h.net.passes(link{address, h.address})
	to := h.net.hosts[address]
	switch {
	case !ok || !ok2 || h.dead || to == nil || !to.powered:
		return 0, nil, nil
	case to.dead || to.closed:
		return 0, nil, syscall.ECONNREFUSED
	}
	mine, theirs := h.net.pair(h, to)
	select {
	case to.backlog <- theirs:
	default:
		return 0, nil, syscall.ECONNREFUSED
	}
	return there + back, mine, nil
}
