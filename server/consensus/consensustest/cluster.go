package consensustest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

const (
	// patience bounds waits that must end; nothing says how fast.
	patience = time.Minute
	// steady is long enough that servers which share a busy machine with other tests keep their leader.
	steady = 2 * time.Second
)

// Server is one server of a cluster.
type Server struct {
	*consensus.Node
	Name  string
	Store *fsm.Store
}

// Cluster is servers that have joined each other.
type Cluster struct {
	t       testing.TB
	servers []*Server
}

// Start starts size servers, each with a store of its own, and closes them when the test ends.
func Start(t testing.TB, size int, store func() *fsm.Store) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	t.Cleanup(c.close)
	for i := range size {
		c.start(fmt.Sprintf("s%d", i), store())
	}
	return c
}

func (c *Cluster) start(name string, store *fsm.Store) {
	c.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	first, address := len(c.servers) == 0, listener.Addr().String()
	node, err := consensus.Open(consensus.Config{
		Name: name, Address: address, Cluster: "test", DataDir: c.t.TempDir(), Transport: loopback{listener}, Bootstrap: first,
		Timing: consensus.Timing{Heartbeat: steady, Election: steady, Lease: steady},
		Log:    slog.New(slog.DiscardHandler),
		Fatal:  func(err error) { c.t.Errorf("%s: fatal: %v", name, err) },
	}, store)
	if err != nil {
		c.t.Fatal(err)
	}
	c.servers = append(c.servers, &Server{node, name, store})
	if first {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Leader().Join(ctx, name, address); err != nil {
		c.t.Fatalf("join %s: %v", name, err)
	}
	if err := c.Leader().Group().Promote(ctx, name); err != nil {
		c.t.Fatalf("promote %s: %v", name, err)
	}
}

func (c *Cluster) close() {
	ended, cancel := context.WithCancel(context.Background())
	cancel() // a handover would be of no use to anybody
	for _, s := range c.servers {
		if err := s.Close(ended); err != nil {
			c.t.Errorf("close %s: %v", s.Name, err)
		}
	}
}

// Leader waits until a server leads, and returns it.
func (c *Cluster) Leader() *Server {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	any := c.servers[0]
	for ctx.Err() == nil {
		changed := any.LeaderChanged()
		if err := any.Linearize(ctx); err == nil {
			name, _, _ := any.Leader()
			for _, s := range c.servers {
				if s.Name == name {
					return s
				}
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	c.t.Fatal("no server leads")
	return nil
}

// Followers returns the servers that do not lead, all of which show what was written so far.
func (c *Cluster) Followers() []*Server {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	leader := c.Leader()
	var others []*Server
	for _, s := range c.servers {
		if s == leader {
			continue
		}
		if err := s.Linearize(ctx); err != nil {
			c.t.Fatalf("%s: %v", s.Name, err)
		}
		others = append(others, s)
	}
	return others
}

// loopback is a consensus.Transport without TLS.
type loopback struct{ net.Listener }

// Dial implements consensus.Transport.
func (loopback) Dial(address string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", address, timeout)
}
