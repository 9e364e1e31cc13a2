package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holt-project/holt/server/consensus"
)

// cluster is servers, the network between them, and what happens to both.
type cluster struct {
	net     *network
	history *history
	servers []*server
	dir     string
	trace   func(string)

	faulty context.Context // ends when the faults do
	calm   context.CancelFunc
	wg     sync.WaitGroup // everything that spawn started

	mu        sync.Mutex
	rng       *rand.Rand     // guarded by mu
	faults    map[string]int // guarded by mu
	log       []string       // guarded by mu
	replacing bool           // guarded by mu: one server at a time leaves and joins again
}

// source makes a generator of its own for each part, so that one part's numbers do not hang on another's.
func source(seed uint64, part int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(part))) }

func newCluster(o Options) *cluster {
	c := &cluster{net: newNetwork(source(o.Seed, 1)), history: newHistory(), dir: o.Dir, trace: o.Trace,
		rng: source(o.Seed, 2), faults: map[string]int{}}
	c.faulty, c.calm = context.WithCancel(context.Background())
	for i := range o.Servers {
		c.servers = append(c.servers, newServer(c, i, source(o.Seed, 100+i)))
	}
	return c
}

func (c *cluster) spawn(do func()) { c.wg.Go(do) }

// happened writes a fault down.
func (c *cluster) happened(kind, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[kind]++
	line := fmt.Sprintf("%s %s: %s", c.history.stamp(), kind, what)
	c.log = append(c.log, line)
	if c.trace != nil {
		c.trace(line)
	}
}

// between returns a random duration.
func (c *cluster) between(from, to time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return from + time.Duration(c.rng.Int64N(int64(to-from)))
}

func (c *cluster) intn(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

// downtime is how long a server stays down: mostly less than an election takes, sometimes longer.
func (c *cluster) downtime() time.Duration {
	if c.intn(3) == 0 {
		return c.between(time.Second, 8*time.Second)
	}
	return c.between(time.Millisecond, 800*time.Millisecond)
}

// pause waits, but not longer than faults last. It is false if they have ended.
func (c *cluster) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.faulty.Done():
		return false
	}
}

// leader returns a server that says it leads, or nil.
func (c *cluster) leader() *process {
	var found *process
	for _, s := range c.servers {
		if p := s.up(); p != nil && p.status().Role == "leader" {
			found = p
		}
	}
	return found
}

func (c *cluster) server(name string) *server {
	i := slices.IndexFunc(c.servers, func(s *server) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return c.servers[i]
}

// asLeader tries do on whoever leads until it succeeds or patience ends.
func (c *cluster) asLeader(patience time.Duration, do func(context.Context, *consensus.Node) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if p := c.leader(); p != nil && do(ctx, p.node) == nil && !p.isDead() {
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	return false
}

// join makes a server a voter: it joins, and the leader promotes it when it has caught up.
func (c *cluster) join(s *server, patience time.Duration) bool {
	return c.asLeader(patience, func(ctx context.Context, n *consensus.Node) error {
		if err := n.Join(ctx, s.name, s.address); err != nil {
			return err
		}
		return n.Group().Promote(ctx, s.name)
	})
}

// voters counts those that vote, as a server sees it.
func voters(p *process) (n int) {
	for _, m := range p.node.Members() {
		if m.Voter {
			n++
		}
	}
	return n
}

// replace takes a server out, gives it an empty disk, and lets it join again. As an operator would, it does so while no
// other server is out.
func (c *cluster) replace(s *server) {
	if !c.mayReplace(true) {
		return
	}
	defer c.mayReplace(false)
	if p := c.leader(); p == nil || voters(p) < len(c.servers) {
		return
	}
	removed := c.asLeader(10*time.Second, func(ctx context.Context, n *consensus.Node) error {
		return n.Remove(ctx, s.name)
	})
	if removed && s.end(s.current(), true) {
		s.wipe()
		c.pause(c.downtime())
		s.start()
	}
	for !c.join(s, 20*time.Second) && c.pause(time.Second) {
		continue
	}
}

func (c *cluster) mayReplace(begin bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if begin && c.replacing {
		return false
	}
	c.replacing = begin
	return true
}
