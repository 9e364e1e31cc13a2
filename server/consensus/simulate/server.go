package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
)

// server is one member of a cluster: an address, a disk, and most of the time a process.
type server struct {
	cluster *cluster
	name    string
	address string
	platter *platter
	dir     string // where the identity of the disk's owner is; the simulated disk has everything else
	first   bool   // it makes the cluster

	mu      sync.Mutex
	process *process // guarded by mu; nil while the server is down
	disks   int      // guarded by mu
	closed  bool     // guarded by mu: there will be no other process
}

func newServer(c *cluster, i int, rng *rand.Rand) *server {
	name := fmt.Sprintf("s%d", i)
	s := &server{cluster: c, name: name, address: name + ":1", first: i == 0}
	s.platter = newPlatter(rng, func(logs []*raft.Log, before *raft.Log) { c.history.wrote(name, logs, before) })
	s.platter.sprung = func() { c.spawn(func() { s.trapped() }) }
	return s
}

// up returns the running process, once it has started; nil if there is none.
func (s *server) up() *process {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p == nil || p.stopping.Load() {
		return nil
	}
	select {
	case <-p.opened:
	default:
		return nil
	}
	if p.node == nil {
		return nil
	}
	return p
}

// start begins a process, unless there is one, or the cluster is being closed.
func (s *server) start() {
	s.mu.Lock()
	if s.process != nil || s.closed {
		s.mu.Unlock()
		return
	}
	if s.dir == "" {
		s.disks++
		s.dir = filepath.Join(s.cluster.dir, fmt.Sprintf("%s-%d", s.name, s.disks))
	}
	p := &process{
		server: s, host: s.cluster.net.listen(s.address), store: newStore(),
		dead: make(chan struct{}), opened: make(chan struct{}),
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	s.process = p
	s.mu.Unlock()
	p.open()
}

// take makes p no longer the server's process. It is false if it was not.
func (s *server) take(p *process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil || s.process != p {
		return false
	}
	s.process = nil
	return true
}

// close ends the server for good, in an orderly way.
func (s *server) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	p := s.process
	s.mu.Unlock()
	if p != nil {
		p.close(ctx)
	}
}

// current returns the process, whether it has started or not; nil if the server is down.
func (s *server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// crash ends a process without any warning, and starts another one after a while.
func (s *server) crash(p *process, powerCut bool) {
	if s.end(p, powerCut) {
		s.cluster.spawn(s.comeBack)
	}
}

// end is crash without coming back.
func (s *server) end(p *process, powerCut bool) bool {
	if !s.take(p) {
		return false
	}
	p.kill(powerCut)
	late, cancel := context.WithCancel(context.Background())
	cancel()
	s.cluster.spawn(func() { p.close(late) })
	return true
}

// stop ends the process in an orderly way, and starts another one after a while. It may crash on the way.
func (s *server) stop() {
	p := s.up()
	if p == nil || p.stopping.Swap(true) {
		return
	}
	p.close(context.Background())
	if s.take(p) {
		p.kill(false)
		s.comeBack()
	}
}

// comeBack starts the server again after a while.
func (s *server) comeBack() {
	s.cluster.pause(s.cluster.downtime())
	s.start()
}

// wipe gives the server another disk, an empty one. It is down.
func (s *server) wipe() {
	s.platter.wipe()
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = os.RemoveAll(s.dir) // the whole folder goes at the end
	s.dir, s.first = "", false
}

// trapped cuts the power in the middle of a write, or soon after it.
func (s *server) trapped() {
	s.cluster.pause(s.cluster.between(0, 2*healthySync))
	s.cluster.happened("power cut at a write", s.name)
	s.crash(s.current(), true)
}
