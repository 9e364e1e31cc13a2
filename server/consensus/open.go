package consensus

import (
	"context"
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
	// twice. It is the delay of watches on followers; reads do not wait for it (see Node.learn).
	commitTimeout = 20 * time.Millisecond
)

// Open starts the server in cfg.DataDir on store, which must be empty. It fails with ErrInUse, ErrForeign or
// ErrDamaged.
func Open(cfg Config, store *fsm.Store) (*Node, error) {
	cfg = cfg.withDefaults()
	n := &Node{cfg: cfg, log: cfg.Log, store: store, peers: map[peerKey]*shared[answer]{}}
	n.life, n.end = context.WithCancel(context.Background())
	n.confirm = &shared[confirmation]{call: n.confirmLeader, spawn: n.spawn}
	n.proposals.wake = make(chan struct{}, 1)
	if err := n.open(); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.DataDir, errors.Join(err, n.stop()))
	}
	n.spawn(n.proposeLoop)
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
	log := newHCLog(n.log)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.DataDir, snapshotsKept, log)
	if err != nil {
		return err
	}
	logs, err := raft.NewLogCache(512, n.disk)
	if err != nil {
		return err
	}
	n.entries.logs = logs
	n.machine = &machine{store: n.store, fatal: n.cfg.Fatal, stop: n.life.Done()}
	ready := make(chan struct{}) // questions wait until there is a raft to ask
	answer := func(c net.Conn) {
		select {
		case <-ready:
			n.serveQuestions(c)
		case <-n.life.Done():
		}
	}
	n.mux = newMux(n.cfg.Transport, n.cfg.Address, answer, n.log)
	n.trans = newTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.mux, MaxPool: connPool, Timeout: messageTimeout, Logger: log,
		MaxRPCsInFlight: 1, // no pipeline: see doc.go
	}))
	if err := n.startRaft(n.cfg.raft(log), logs, snapshots); err != nil {
		return err
	}
	n.machine.running.Store(true)
	n.observe()
	close(ready)
	return nil
}

func (n *Node) startRaft(conf *raft.Config, logs raft.LogStore, snapshots raft.SnapshotStore) (err error) {
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
	n.raft, err = raft.NewRaft(conf, n.machine, logs, n.disk, snapshots, n.trans)
	if err != nil && existing {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return err
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

// observe raises n.changed whenever raft's role or leader changes. An event that finds the channel full is not lost:
// the one in the channel wakes everybody after it.
func (n *Node) observe() {
	events := make(chan raft.Observation, 1)
	observer := raft.NewObserver(events, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(observer)
	n.spawn(func() {
		defer n.raft.DeregisterObserver(observer)
		for {
			select {
			case <-events:
				n.changed.raise()
			case <-n.life.Done():
				n.changed.raise()
				return
			}
		}
	})
}
