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
)

const (
	// snapshotsKept is how many snapshots stay on disk: the newest, and one in case that it cannot be read.
	snapshotsKept = 2
	// messageTimeout bounds one message to another server and its answer.
	messageTimeout = 5 * time.Second
	// commitTimeout is how long a follower of an idle leader waits to hear that an entry is committed, at most
	// twice. It is the delay of watches on followers; reads do not wait for it (see peers.learn).
	commitTimeout = 20 * time.Millisecond
)

// Open starts the server in cfg.DataDir on store, which must be empty. It fails with ErrInUse, ErrForeign or
// ErrDamaged.
func Open(cfg Config, store *fsm.Store) (*Node, error) {
	cfg = cfg.withDefaults()
	n := &Node{cfg: cfg, store: store, life: newLifetime(cfg.Timing.Request)}
	if err := n.open(); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.DataDir, errors.Join(err, n.stop()))
	}
	n.life.spawn(n.proposer.loop)
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
	if n.disk, err = openDisk(n.cfg.DataDir, n.cfg.Timing.Disk, n.cfg.Fatal); err != nil {
		return err
	}
	if err := claim(n.cfg.DataDir, identity{Cluster: n.cfg.Cluster, Server: n.cfg.Name}); err != nil {
		return err
	}
	if err := n.disk.verify(); err != nil {
		return err
	}
	return n.openRaft()
}

func (n *Node) openRaft() error {
	log := newHCLog(n.cfg.Log)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.DataDir, snapshotsKept, log)
	if err != nil {
		return err
	}
	logs, err := raft.NewLogCache(512, n.disk)
	if err != nil {
		return err
	}
	machine := &machine{store: n.store, fatal: n.cfg.Fatal, stop: n.life.ctx.Done()}
	var desk *answerer
	ready := make(chan struct{}) // questions wait until there is a desk
	answer := func(c net.Conn) {
		select {
		case <-ready:
			desk.serve(c)
		case <-n.life.ctx.Done():
		}
	}
	n.mux = newMux(n.cfg.Transport, n.cfg.Address, answer, n.cfg.Log)
	n.trans = newTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.mux, MaxPool: connPool, Timeout: messageTimeout, Logger: log,
		MaxRPCsInFlight: 1, // no pipeline: see doc.go
	}))
	if err := n.startRaft(n.cfg.raft(log), machine, logs, snapshots); err != nil {
		return err
	}
	machine.running.Store(true)
	desk = n.assemble(logs)
	close(ready)
	return nil
}

func (n *Node) startRaft(conf *raft.Config, machine raft.FSM, logs raft.LogStore,
	snapshots raft.SnapshotStore) (err error) {
	defer recoverDamage(&err) // the library panics if entries are missing between snapshot and log
	existing, err := raft.HasExistingState(logs, n.disk, snapshots)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if !existing && n.cfg.Bootstrap {
		self := raft.Server{ID: conf.LocalID, Address: n.trans.LocalAddr()}
		alone := raft.Configuration{Servers: []raft.Server{self}}
		if err := raft.BootstrapCluster(conf, logs, n.disk, snapshots, n.trans, alone); err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	n.raft, err = raft.NewRaft(conf, machine, logs, n.disk, snapshots, n.trans)
	if err != nil && existing {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return err
}

// assemble makes the parts around the running raft, and returns the one that the other servers talk to.
func (n *Node) assemble(logs raft.LogStore) *answerer {
	n.leadership = newLeadership(n.cfg, n.life, n.raft)
	peers := newPeers(n.life, n.mux, n.trans, n.raft)
	n.members = &membership{cluster: n.cfg.Cluster, life: n.life, leadership: n.leadership, peers: peers, raft: n.raft}
	n.reads = newReads(n.members, n.store, logs)
	n.proposer = newProposer(n.leadership)
	return &answerer{cfg: n.cfg, reads: n.reads}
}

func (c Config) raft(log hclog.Logger) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.Name)
	conf.HeartbeatTimeout = c.Timing.Heartbeat
	conf.ElectionTimeout = c.Timing.Election
	conf.LeaderLeaseTimeout = c.Timing.Lease
	conf.CommitTimeout = commitTimeout
	conf.SnapshotThreshold = c.SnapshotThreshold
	conf.SnapshotInterval = c.SnapshotInterval
	conf.TrailingLogs = c.SnapshotTrailing
	conf.ShutdownOnRemove = false // a removed server says so; it does not vanish
	conf.NoLegacyTelemetry = true
	conf.Logger = log
	return conf
}
