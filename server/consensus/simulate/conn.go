package simulate

import (
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// conn is one end of a connection. Everything in it is guarded by net.mu, except for reading, which one goroutine does.
type conn struct {
	net           *network
	host          *host
	local, remote string
	peer          *conn
	dialled       bool
	opening       []byte // what was written first
	requests      bool   // what is written now are requests of raft, one each time

	inbox    []packet
	broken   bool // by a reset
	closed   bool // by this end
	deadline time.Time
	timer    *time.Timer // when to look at inbox again
}

// packet is what one Write has sent.
type packet struct {
	data   []byte        // empty: the end of the stream
	sent   bool          // it is on its way, and arrives at due
	due    time.Time     // unless sent: when it is sent again
	resend time.Duration // the pause before the next time
}

// pair connects two hosts. The caller holds n.mu.
func (n *network) pair(from, to *host) (mine, theirs *conn) {
	mine = &conn{net: n, host: from, local: from.address, remote: to.address, dialled: true, timer: time.NewTimer(0)}
	theirs = &conn{net: n, host: to, local: to.address, remote: from.address, peer: mine, timer: time.NewTimer(0)}
	mine.peer = theirs
	from.conns[mine] = struct{}{}
	to.conns[theirs] = struct{}{}
	return mine, theirs
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.poll(p)
		if n > 0 || err != nil {
			return n, err
		}
		<-c.timer.C
	}
}

// poll reads what has arrived, or sets the timer to when that may be the case.
func (c *conn) poll(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.broken:
		return 0, syscall.ECONNRESET
	case !c.deadline.IsZero() && !now.Before(c.deadline):
		return 0, os.ErrDeadlineExceeded
	case !c.host.dead && len(c.inbox) > 0 && c.arrived(&c.inbox[0], now):
		return c.take(p)
	}
	c.arm(now)
	return 0, nil
}

// take reads from the first packet.
func (c *conn) take(p []byte) (int, error) {
	first := &c.inbox[0]
	if len(first.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		c.inbox = slices.Delete(c.inbox, 0, 1)
	}
	return n, nil
}

// arrived tells whether a packet is there, and sends it again if it is time to.
func (c *conn) arrived(p *packet, now time.Time) bool {
	if !p.sent && !now.Before(p.due) {
		if delay, ok := c.net.passes(link{c.remote, c.local}); ok {
			p.sent, p.due = true, now.Add(delay)
		} else {
			p.due, p.resend = now.Add(p.resend), min(2*p.resend, longestResend)
		}
	}
	return p.sent && !now.Before(p.due)
}

// arm sets the timer to the next moment at which Read has something to do.
func (c *conn) arm(now time.Time) {
	next := c.deadline
	if len(c.inbox) > 0 && !c.host.dead && (next.IsZero() || c.inbox[0].due.Before(next)) {
		next = c.inbox[0].due
	}
	if !next.IsZero() {
		c.timer.Reset(next.Sub(now))
	}
}

// wake makes Read look again.
func (c *conn) wake() { c.timer.Reset(0) }

// Write implements net.Conn. It never blocks: the buffers of the machines between are large enough for all we send.
func (c *conn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.broken:
		return 0, syscall.ECONNRESET
	case c.host.dead:
		return len(p), nil
	case c.peer.closed || c.peer.host.dead:
		_, arrives := c.net.passes(link{c.local, c.remote})
		if arrives && (c.peer.host.powered || c.net.hosts[c.remote] != c.peer.host) {
			c.reset() // the machine knows nothing of this connection
		}
		return len(p), nil
	}
	if c.requests {
		c.repeat(p)
	}
	if c.opening == nil {
		c.opening = slices.Clone(p)
		c.requests = c.dialled && p[0] == 'R'
	} else if isInstall(p) {
		c.requests = false
	}
	c.peer.push(p)
	return len(p), nil
}

// isInstall tells whether a request is that of a snapshot, which is followed by the snapshot.
func isInstall(p []byte) bool { return p[0] == 2 }

// push sends data to this end. Nothing overtakes on one stream.
func (c *conn) push(data []byte) {
	if c.closed {
		return
	}
	now := time.Now()
	p := packet{data: slices.Clone(data), due: now, resend: firstResend}
	c.arrived(&p, now)
	if n := len(c.inbox); n > 0 && p.due.Before(c.inbox[n-1].due) {
		p.due = c.inbox[n-1].due
	}
	if c.inbox = append(c.inbox, p); len(c.inbox) == 1 {
		c.arm(now)
	}
}

// repeat has a request arrive a second time, on a connection of its own on which nobody waits for the answer.
func (c *conn) repeat(request []byte) {
	w := c.net.links[link{c.local, c.remote}]
	if w.echo == 0 || isInstall(request) || c.net.rng.Float64() >= w.echo {
		return
	}
	late := time.Duration(c.net.rng.Int64N(int64(echoDelay)))
	_, theirs := c.net.pair(c.host, c.peer.host)
	delete(c.host.conns, theirs.peer)
	theirs.peer.closed = true
	due := time.Now().Add(late)
	theirs.inbox = []packet{
		{data: slices.Concat(c.opening, request), due: due, resend: firstResend},
		{due: due, resend: firstResend},
	}
	select {
	case c.peer.host.backlog <- theirs:
	default:
	}
}

// finish lets the reader of this end see the end of the stream after what was sent.
func (c *conn) finish() { c.push(nil) }

func (c *conn) reset() {
	c.broken = true
	c.wake()
}

// Close implements net.Conn. What was written arrives still.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	delete(c.host.conns, c)
	if !c.host.dead {
		c.peer.finish()
	}
	c.wake()
	return nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline = t
	c.arm(time.Now())
	return nil
}

// SetWriteDeadline implements net.Conn: a Write does not wait.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return address(c.local) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

type address string

// Network implements net.Addr.
func (address) Network() string { return "simulated" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
