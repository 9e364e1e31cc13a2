package proxy

import (
	"context"
	"io"
	"net"
	"sync"
)

// relay copies between two connections, which it owns, until both directions have ended in order, or one has
// failed, or ctx ends. The kernel moves the bytes (splice).
func relay(ctx context.Context, client, server *net.TCPConn) {
	reset := func() {
		abort(client)
		abort(server)
	}
	stop := context.AfterFunc(ctx, reset)
	defer stop()
	var up sync.WaitGroup
	up.Go(func() {
		if !pass(server, client) {
			reset()
		}
	})
	if !pass(client, server) {
		reset()
	}
	up.Wait()
	_ = client.Close()
	_ = server.Close()
}

// pass copies one direction up to its end and passes the end on. False says that it was not an orderly one.
func pass(to, from *net.TCPConn) bool {
	if _, err := io.Copy(to, from); err != nil {
		return false
	}
	return to.CloseWrite() == nil
}

// abort ends a connection with a reset, so that its peer takes it for broken and not for finished.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
