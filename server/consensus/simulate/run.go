package simulate

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// Options describe one run.
type Options struct {
	Seed uint64
	// Servers is how many the cluster has, 3 or 5.
	Servers int
	// Length is how long faults happen, in simulated time.
	Length time.Duration
	// Dir is an empty folder.
	Dir string
	// Trace is told of each fault when it happens; nil tells nobody.
	Trace func(string)
}

// How long a cluster without faults may take, in simulated time.
const (
	startWithin = time.Minute
	writeWithin = 30 * time.Second // the library's longest pause between two attempts is about 10 s
	equalWithin = 90 * time.Second // entries for a server that was down may wait for a minute
)

// Run simulates a cluster and returns what was found. What t sees of it is only what makes a bubble fail: a goroutine
// that is left behind.
func Run(t *testing.T, o Options) (r Report) {
	defer func() {
		if p := recover(); p != nil { // of the bubble, not of a goroutine in it
			r.violated("seed %d: %v", o.Seed, p)
			r.Schedule = append(r.Schedule, leftBehind()...)
		}
	}()
	synctest.Test(t, func(*testing.T) {
		c := newCluster(o)
		c.live(o)
		r = c.report(o.Seed)
	})
	return r
}

// leftBehind returns the stacks of goroutines that will never go on.
func leftBehind() (stacks []string) {
	all := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if strings.Contains(stack, "(durable)") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// live is the life of a cluster.
func (c *cluster) live(o Options) {
	busy, rest := context.WithCancel(context.Background())
	if c.found() {
		for i, s := range c.servers {
			one := &client{server: s, rng: source(o.Seed, 200+i), name: fmt.Sprintf("c%d", i)}
			c.spawn(func() { one.run(busy) })
			w := &watcher{cluster: c, rng: source(o.Seed, 300+i), resource: resources[i%len(resources)]}
			c.spawn(func() { w.run(busy) })
		}
		c.run(plan(source(o.Seed, 3), o.Servers, o.Length))
	}
	c.calm()
	c.heal()
	rest()
	c.converge()
	c.close()
}

// found starts the first server and has the others join it.
func (c *cluster) found() bool {
	for i, s := range c.servers {
		s.start()
		if i > 0 && !c.join(s, startWithin) {
			c.history.violation("%s cannot join a healthy cluster within %v", s.name, startWithin)
			return false
		}
	}
	return true
}

// heal ends all faults.
func (c *cluster) heal() {
	c.net.heal()
	for _, s := range c.servers {
		s.platter.fault(func(p *platter) { p.slow, p.stalled, p.trap, p.failing = 0, time.Time{}, "", false })
	}
}

// converge waits until the cluster works again as it should.
func (c *cluster) converge() {
	time.Sleep(time.Second) // what ended in the last moment begins again
	if !c.probe() {
		c.history.violation("no write is accepted within %v after the last fault: %s", writeWithin, c.describe())
		return
	}
	for _, s := range c.servers {
		s.start()
		if !c.join(s, startWithin) {
			c.history.violation("%s cannot join within %v after the last fault: %s", s.name, startWithin, c.describe())
			return
		}
	}
	c.probe()
	for end := time.Now().Add(equalWithin); !c.equal(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c.history.violation("the servers are not equal within %v after the last fault: %s", equalWithin, c.describe())
			return
		}
	}
	if lost := c.history.lost(); len(lost) > 0 {
		c.history.violation("acknowledged, and lost: %v", lost)
	}
}

// probe writes once.
func (c *cluster) probe() bool {
	one := &client{server: c.servers[0], rng: source(0, 0), name: fmt.Sprint("probe", time.Now().UnixNano())}
	return c.asLeader(writeWithin, func(ctx context.Context, n *consensus.Node) error {
		op := one.op(newStore().View())
		_, err := n.Propose(ctx, []fsm.Op{op})
		return err
	})
}

// equal tells whether all servers run and show the same.
func (c *cluster) equal() bool {
	var first *process
	for _, s := range c.servers {
		p := s.up()
		if p == nil {
			return false
		}
		if first == nil {
			first = p
		}
		a, b := first.store.View(), p.store.View()
		p.observe(b)
		if a.Index() != b.Index() || a.Digest() != b.Digest() {
			return false
		}
	}
	return true
}

// describe says where each server is.
func (c *cluster) describe() string {
	var b strings.Builder
	for _, s := range c.servers {
		if p := s.up(); p != nil {
			fmt.Fprintf(&b, " %+v; members %+v;", p.status(), p.node.Members())
		} else {
			fmt.Fprintf(&b, " %s is down;", s.name)
		}
	}
	return b.String()
}

// close ends all processes in an orderly way.
func (c *cluster) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range c.servers {
		c.spawn(func() { s.close(ctx) })
	}
	c.wg.Wait()
	time.Sleep(time.Minute) // the library's goroutines that nobody joins end with their timeouts; what stays then is a leak
}
