package consensus

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus/disk"
)

// Transport carries the streams between servers. Whoever provides it authenticates both ends: everything that
// Accept returns is trusted to be a server of this cluster.
type Transport interface {
	// Accept returns the next stream from another server. It fails once Close is called.
	Accept() (net.Conn, error)
	// Dial opens a stream to the server at address.
	Dial(address string, timeout time.Duration) (net.Conn, error)
	// Close ends Accept.
	Close() error
}

// Timing holds the durations that matter to a cluster. Zero values stand for the defaults.
type Timing struct {
	// Heartbeat is how long a follower goes without word from the leader before it stands for election.
	// Default 400 ms.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes; at least Heartbeat, which is the default.
	Election time.Duration
	// Lease is how long a leader goes without word from a majority before it steps down; at most Heartbeat.
	// Default Heartbeat.
	Lease time.Duration
	// Request bounds every wait whose context has no deadline. Default 10 s.
	Request time.Duration
	// Commit is how long a follower of an idle leader waits to hear that an entry is committed, at most twice. It is
	// the delay of watches on followers; reads do not wait for it. Default 20 ms.
	Commit time.Duration
	// Audit is how often this server compares its state with the others'. Default 10 s.
	Audit time.Duration
	// SlowDisk is how long one write may take before a leader lets another server lead. Default 2 s.
	SlowDisk time.Duration
	// Disk is how long one write may take before the process ends, so that another server can lead.
	// Default 10 s.
	Disk time.Duration
}

// Config describes one server to Open.
type Config struct {
	// Name identifies the server for as long as its data folder lives.
	Name string
	// Address is the host and port at which the other servers reach the Transport.
	Address string
	// Cluster identifies the cluster, for example the fingerprint of its CA. A data folder of another is refused.
	Cluster string
	// DataDir is made if it does not exist. It belongs to this package.
	DataDir string
	// Transport is owned by Open and the Node from the call on, even if Open fails.
	Transport Transport
	// Bootstrap makes a new cluster of this server alone, if the data folder is empty. Without it, an empty
	// server waits to be joined by the leader.
	Bootstrap bool
	Timing    Timing
	// SnapshotThreshold is how many entries make a snapshot worthwhile, SnapshotInterval how often that is
	// looked at, and SnapshotTrailing how many entries stay in the log for slow followers.
	// Defaults 8192, 30 s and 10240.
	SnapshotThreshold uint64
	SnapshotInterval  time.Duration
	SnapshotTrailing  uint64
	// Storage opens what is kept in DataDir. Nil stands for disk.OpenFiles; a simulation brings its own.
	Storage func(dir string, log hclog.Logger) (disk.Storage, error)
	// Keys encrypt what is kept in DataDir; another ring may be swapped in. Nil keeps everything in plain text, for tests.
	Keys *seal.Holder
	// Log may be nil: slog.Default then.
	Log *slog.Logger
	// Fatal is called when the server cannot go on without risk to the data. If it returns, the node applies
	// nothing more. By default it logs and ends the process.
	Fatal func(error)
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Fatal == nil {
		log := c.Log
		c.Fatal = func(err error) {
			log.Error("this server cannot go on", "error", err)
			os.Exit(1)
		}
	}
	if c.Storage == nil {
		c.Storage = disk.OpenFiles
	}
	fill(&c.Timing.Heartbeat, 400*time.Millisecond)
	fill(&c.Timing.Election, c.Timing.Heartbeat)
	fill(&c.Timing.Lease, c.Timing.Heartbeat)
	fill(&c.Timing.Commit, 20*time.Millisecond)
	fill(&c.Timing.Audit, 10*time.Second)
	fill(&c.Timing.Request, 10*time.Second)
	fill(&c.Timing.SlowDisk, 2*time.Second)
	fill(&c.Timing.Disk, 10*time.Second)
	fill(&c.SnapshotThreshold, 8192)
	fill(&c.SnapshotInterval, 30*time.Second)
	fill(&c.SnapshotTrailing, 10240)
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	if c.Name == "" || c.Cluster == "" || c.DataDir == "" || c.Transport == nil {
		return errors.New("consensus: Config needs Name, Cluster, DataDir and Transport")
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return errors.New("consensus: Config.Address must be host:port: " + err.Error())
	}
	if strings.ContainsAny(c.Name, "/@") {
		return errors.New("consensus: Config.Name must contain neither / nor @")
	}
	return nil
}
