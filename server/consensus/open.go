package consensus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus/disk"
)

const (
	// messageTimeout bounds one message to another server and its answer.
	messageTimeout = 5 * time.Second
	// logCache is how many of the latest entries stay in memory, for followers that are just behind. One can be as large
	// as maxEntry.
	logCache = 64
)

// Open starts the server in cfg.DataDir on store, which must be empty. It fails with ErrInUse, ErrForeign,
// ErrDamaged or ErrMissingKey.
func Open(cfg Config, store *fsm.Store) (*Node, error) {
	cfg = cfg.withDefaults()
	n := &Node{cfg: cfg, store: store, life: newLifetime(cfg.Timing.Request)}
	if err := n.open(); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.DataDir, errors.Join(err, n.stop()))
	}
	n.life.spawn(n.proposer.loop)
	n.life.spawn(n.auditor.loop)
	n.handover.alone()
	return n, nil
}

func (n *Node) open() error {
	if err := n.cfg.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return err
	}
	var err error
	log := newHCLog(n.cfg.Log)
	if n.storage, err = n.cfg.Storage(n.cfg.DataDir, log); err != nil {
		return err
	}
	if err := claim(n.cfg.DataDir, identity{Cluster: n.cfg.Cluster, Server: n.cfg.Name}); err != nil {
		return err
	}
	n.protect()
	if err := inQuarantine(n.cfg.DataDir); err != nil {
		return err
	}
	if err := mendStart(n.storage.Log, n.storage.Snapshots); err != nil {
		return err
	}
	if err := disk.Verify(n.storage.Log); err != nil {
		return err
	}
	return n.openRaft(log)
}

// protect puts between raft and the disk what watches and seals its writes.
func (n *Node) protect() {
	guard := disk.NewGuard(n.storage, disk.Watch{
		Slow: n.cfg.Timing.SlowDisk, OnSlow: n.evadeDisk, Dead: n.cfg.Timing.Disk, Fatal: n.cfg.Fatal,
	})
	n.storage.Log, n.storage.Stable = guard, guard
	if n.cfg.Keys != nil {
		n.sealed = disk.Seal(n.storage, n.cfg.Keys, n.cfg.Cluster)
		n.storage = n.sealed.Storage
	}
}

func (n *Node) openRaft(log hclog.Logger) error {
	logs, err := raft.NewLogCache(logCache, n.storage.Log)
	if err != nil {
		return err
	}
	existing, err := hasState(n.storage)
	if err != nil {
		return err
	}
	if n.self, err = loadIncarnation(n.cfg.Name, n.storage.Stable, existing); err != nil {
		return err
	}
	machine := &machine{store: n.store, fatal: n.cfg.Fatal, stop: n.life.ctx.Done(), digests: &digests{}}
	var desk *answerer
	ready := make(chan struct{}) // questions wait until there is a desk
	answer := func(c net.Conn) {
		select {
		case <-ready:
			desk.serve(c)
		case <-n.life.ctx.Done():
		}
	}
	n.mux = newMux(n.cfg.Transport, n.cfg.Address, n.self, answer, n.cfg.Log)
	n.trans = newTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.mux, MaxPool: connPool, Timeout: messageTimeout, Logger: log,
		MaxRPCsInFlight: 1, // no pipeline: see doc.go
	}), logs)
	if err := n.startRaft(n.cfg.raft(n.self.id, log), machine, logs, existing); err != nil {
		return err
	}
	machine.running.Store(true)
	desk = n.assemble(logs)
	n.assembled.Store(true)
	n.auditor = &auditor{cfg: n.cfg, life: n.life, members: n.members, store: n.store, digests: machine.digests}
	close(ready)
	return nil
}

// hasState tells whether there is anything of raft's in the stores.
func hasState(s disk.Storage) (_ bool, err error) {
	defer disk.RecoverDamage(&err)
	existing, err := raft.HasExistingState(s.Log, s.Stable, s.Snapshots)
	if err != nil {
		return false, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return existing, nil
}

func (n *Node) startRaft(conf *raft.Config, machine raft.FSM, logs raft.LogStore, existing bool) (err error) {
	stable, snapshots := n.storage.Stable, n.storage.Snapshots
	defer disk.RecoverDamage(&err) // the library panics if entries are missing between snapshot and log
	if !existing && n.cfg.Bootstrap {
		if err := n.self.begin(); err != nil {
			return err
		}
		self := raft.Server{ID: conf.LocalID, Address: n.trans.LocalAddr()}
		alone := raft.Configuration{Servers: []raft.Server{self}}
		if err := raft.BootstrapCluster(conf, logs, stable, snapshots, n.trans, alone); err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	n.raft, err = raft.NewRaft(conf, machine, logs, stable, snapshots, n.trans)
	if err == nil {
		n.trans.in.running(n.raft)
	}
	if n.sealed != nil && n.sealed.Missing() != nil {
		return n.sealed.Missing() // also if an older snapshot could be read: the keys are to be mended first
	}
	if err != nil && existing {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return err
}

// assemble makes the parts around the running raft, and returns the one that the other servers talk to.
func (n *Node) assemble(logs raft.LogStore) *answerer {
	n.leadership = newLeadership(n.cfg, n.life, n.raft, n.self)
	peers := newPeers(n.life, n.mux, n.trans, n.raft, n.self)
	n.members = &membership{changing: newTurn(), cluster: n.cfg.Cluster, life: n.life, leadership: n.leadership, peers: peers,
		trans: n.trans, raft: n.raft}
	n.reads = newReads(n.members, n.store, logs)
	n.proposer = newProposer(n.leadership)
	n.handover = &handover{life: n.life, leadership: n.leadership, members: n.members, peers: peers,
		proposer: n.proposer, trans: n.trans, raft: n.raft}
	return &answerer{cfg: n.cfg, self: n.self, reads: n.reads}
}

func (c Config) raft(id raft.ServerID, log hclog.Logger) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = id
	conf.HeartbeatTimeout = c.Timing.Heartbeat
	conf.ElectionTimeout = c.Timing.Election
	conf.LeaderLeaseTimeout = c.Timing.Lease
	conf.CommitTimeout = c.Timing.Commit
	conf.SnapshotThreshold = c.SnapshotThreshold
	conf.SnapshotInterval = c.SnapshotInterval
	conf.TrailingLogs = c.SnapshotTrailing
	conf.ShutdownOnRemove = false // a removed server says so; it does not vanish
	conf.NoLegacyTelemetry = true
	conf.Logger = log
	return conf
}
