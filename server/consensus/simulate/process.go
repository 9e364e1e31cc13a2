package simulate

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// process is one life of a server.
type process struct {
	server *server
	host   *host
	store  *fsm.Store
	dead   chan struct{} // closed by kill: nothing that it does counts any more
	opened chan struct{} // closed when node is set, or will never be

	stopping atomic.Bool // an orderly end has begun

	ctx  context.Context // ends when the process does
	end  context.CancelFunc
	node *consensus.Node // nil if it did not start
	wg   sync.WaitGroup  // what runs on node
}

// timing is that of a release, but for two values that only cost wake-ups in an idle moment or time at the end.
var timing = consensus.Timing{Commit: 200 * time.Millisecond, Request: 5 * time.Second}

func (p *process) config() consensus.Config {
	s := p.server
	return consensus.Config{
		Name: s.name, Address: s.address, Cluster: "simulated", DataDir: s.dir, Bootstrap: s.first,
		Transport: p.host, Storage: s.platter.mount(p.dead).storage, Timing: timing,
		SnapshotThreshold: 40, SnapshotInterval: 5 * time.Second, SnapshotTrailing: 12,
		Log: slog.New(slog.DiscardHandler), Fatal: p.fatal,
	}
}

// open starts the node, and everything that watches it.
func (p *process) open() {
	defer close(p.opened)
	node, err := consensus.Open(p.config(), p.store)
	if err != nil {
		if !p.isDead() {
			p.history().violation("%s does not start: %v", p.server.name, err)
		}
		return
	}
	p.node = node
	p.wg.Go(p.follow)
	p.wg.Go(func() { node.Lead(p.ctx, p.lead) })
}

func (p *process) history() *history { return p.server.cluster.history }

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// fatal is consensus.Config.Fatal: the process ends. Only its disk may be a reason.
func (p *process) fatal(err error) {
	if p.isDead() {
		return
	}
	if !errors.Is(err, errDisk) && !strings.Contains(err.Error(), "the disk has not answered") {
		p.history().violation("%s ends its process: %v", p.server.name, err)
	}
	p.server.cluster.happened("end of a process", p.server.name+": "+err.Error())
	p.server.crash(p, false)
}

// kill ends the process at this moment.
func (p *process) kill(powerCut bool) {
	close(p.dead)
	p.host.die(powerCut)
	p.server.platter.settle(powerCut)
	p.end()
}

// close ends what is left of a process. If it was not killed, it hands leadership over.
func (p *process) close(ctx context.Context) {
	<-p.opened
	p.end()
	if p.node != nil {
		_ = p.node.Close(ctx) // it may have lost the network, or its disk
	}
	p.wg.Wait()
}

// follow looks at the state after each change.
func (p *process) follow() {
	for index := uint64(0); p.store.WaitApplied(p.ctx, index+1) == nil; {
		view := p.store.View()
		index = max(index, view.Index())
		p.observe(view)
	}
}

// observe holds the state that the server shows to what it should be.
func (p *process) observe(view fsm.View) {
	if view.Index() == 0 {
		return
	}
	at, ok := p.server.platter.committed(view.Index())
	if ok && !p.isDead() {
		p.history().applied(p.server.name, view, at)
	}
}

// committed names the entry at index, which was applied, or a later one in a snapshot.
func (p *platter) committed(index uint64) (entryName, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.snapshots); n > 0 && p.snapshots[n-1].meta.Index >= index {
		return entryName{p.snapshots[n-1].meta.Index, p.snapshots[n-1].meta.Term}, true
	}
	if l := p.now.get(index); l != nil {
		return entryName{l.Index, l.Term}, true
	}
	return entryName{}, false
}

// lead is what a server does as the leader.
func (p *process) lead(ctx context.Context) {
	term := p.node.Status().Term
	view := p.store.View()
	if !p.isDead() {
		p.observe(view)
		p.history().serves(p.server.name, term, view)
	}
	p.node.Group().Tend(ctx, consensus.Policy{})
}

// status looks who leads.
func (p *process) status() (s consensus.Status) {
	before := p.node.Status()
	s = p.node.Status()
	if before.Role == "leader" && before.Term == s.Term && !p.isDead() {
		p.history().leads(p.server.name, s.Term)
	}
	return s
}
