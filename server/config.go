package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/server/keyring"
)

// Config describes a server. Its keys are those of the configuration file and the flags of holt server.
type Config struct {
	// Name is unique among the servers; by default the machine's host name.
	Name string
	// DataDir holds everything that the server keeps.
	DataDir string
	// Keyring is the file of the keys with which DataDir is encrypted; empty stands for keyring.File in DataDir. Elsewhere,
	// for example on a memory disk that a manager of secrets fills, a stolen DataDir tells nothing.
	Keyring string
	// Bind is the address at which clients and other nodes reach the server.
	Bind netip.Addr
	Port uint16
	// GossipPort is the same on all nodes.
	GossipPort uint16
	// Join are base URLs of servers of the cluster to join with Token; empty to begin a new cluster.
	Join  []string
	Token string
	// ClusterCIDR is the range of pod addresses, ServiceCIDR that of Services. They are set when the cluster begins.
	ClusterCIDR, ServiceCIDR netip.Prefix
	// UnreachableSeconds is how long pods that do not say otherwise stay on a node that is lost.
	UnreachableSeconds int64
	// HeartbeatTimeout is how long a server goes without word from the leader before it stands for election;
	// ElectionTimeout how long it then waits for votes, at least as long. The servers should agree on them.
	HeartbeatTimeout, ElectionTimeout time.Duration
	// DeadServerAfter is how long nobody must have heard of a server until the leader removes it; 0 is never. At least
	// MinVoters live voters must remain.
	DeadServerAfter time.Duration
	MinVoters       int
	// SnapshotInterval is the time between two scheduled snapshots, of which the newest SnapshotKeep stay in SnapshotDir,
	// by default the folder snapshots in DataDir. An interval of 0 makes none.
	SnapshotInterval time.Duration
	SnapshotKeep     int
	SnapshotDir      string
	// Version is that of the binary.
	Version string

	Log *slog.Logger
	// Ready is called once, when the server serves and knows a leader; nil does nothing.
	Ready func()
}

// Defaults of Config.
const (
	DefaultPort               = 6443
	DefaultDataDir            = "/var/lib/holt/server"
	DefaultClusterCIDR        = "10.42.0.0/16"
	DefaultServiceCIDR        = "10.43.0.0/16"
	DefaultUnreachableSeconds = 2
	DefaultHeartbeatTimeout   = 500 * time.Millisecond
	DefaultElectionTimeout    = 500 * time.Millisecond
	DefaultDeadServerAfter    = time.Minute
	DefaultMinVoters          = 3
	DefaultSnapshotInterval   = 6 * time.Hour
	DefaultSnapshotKeep       = 8
)

func (c *Config) validate() error {
	var errs error
	if msgs := validation.IsDNS1123Subdomain(c.Name); len(msgs) > 0 {
		errs = errors.Join(errs, fmt.Errorf("--name %q: %s", c.Name, msgs[0]))
	}
	if c.DataDir == "" {
		errs = errors.Join(errs, errors.New("--data-dir must name a folder"))
	}
	if c.Keyring == "" {
		c.Keyring = c.path(keyring.File)
	}
	if !c.Bind.Is4() || c.Bind.IsUnspecified() {
		errs = errors.Join(errs, errors.New("--bind must be the IPv4 address at which other nodes reach this server"))
	}
	if c.Port == 0 || c.GossipPort == 0 {
		errs = errors.Join(errs, errors.New("--port and --gossip-port must not be 0: others have to know them"))
	}
	if c.UnreachableSeconds < 0 {
		errs = errors.Join(errs, errors.New("--unreachable-seconds must not be negative"))
	}
	if c.SnapshotInterval < 0 || c.SnapshotInterval > 0 && c.SnapshotKeep < 1 {
		errs = errors.Join(errs, errors.New("--snapshot-interval must not be negative, and --snapshot-keep must be at least 1"))
	}
	if c.SnapshotDir == "" {
		c.SnapshotDir = c.path("snapshots")
	}
	errs = errors.Join(errs, c.validateRanges(), c.validateGroup())
	c.Join = slices.Clone(c.Join)
	for i, s := range c.Join {
		url, err := enroll.URL(s)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("--join: %w", err))
		}
		c.Join[i] = url
	}
	return errs
}

// Bounds of the timing of elections. Below the least, a busy machine loses its leader for nothing; above the most, a
// lost leader is missed for too long.
const (
	minHeartbeatTimeout = 100 * time.Millisecond
	maxElectionTimeout  = time.Minute
	minDeadServerAfter  = 10 * time.Second
)

func (c *Config) validateGroup() error {
	var errs error
	if c.HeartbeatTimeout < minHeartbeatTimeout || c.HeartbeatTimeout > maxElectionTimeout {
		errs = errors.Join(errs, fmt.Errorf("--heartbeat-timeout %s: it must be from %s to %s", c.HeartbeatTimeout,
			minHeartbeatTimeout, maxElectionTimeout))
	}
	if c.ElectionTimeout < c.HeartbeatTimeout || c.ElectionTimeout > maxElectionTimeout {
		errs = errors.Join(errs, fmt.Errorf("--election-timeout %s: it must be from --heartbeat-timeout to %s", c.ElectionTimeout,
			maxElectionTimeout))
	}
	if c.DeadServerAfter != 0 && c.DeadServerAfter < minDeadServerAfter {
		errs = errors.Join(errs, fmt.Errorf("--dead-server-after %s: it must be at least %s, or 0 for never", c.DeadServerAfter,
			minDeadServerAfter))
	}
	if c.MinVoters < 1 {
		errs = errors.Join(errs, fmt.Errorf("--min-voters %d: it must be at least 1", c.MinVoters))
	}
	return errs
}

func (c *Config) validateRanges() error {
	var errs error
	for _, r := range []struct {
		flag string
		cidr netip.Prefix
	}{{"--cluster-cidr", c.ClusterCIDR}, {"--service-cidr", c.ServiceCIDR}} {
		if !r.cidr.IsValid() || !r.cidr.Addr().Is4() || r.cidr.Bits() > 24 {
			errs = errors.Join(errs, fmt.Errorf("%s %s: it must be an IPv4 range of at least /24", r.flag, r.cidr))
		} else if r.cidr.Contains(c.Bind) {
			errs = errors.Join(errs, fmt.Errorf("%s %s: it must not contain this server's address %s", r.flag, r.cidr, c.Bind))
		}
	}
	if c.ClusterCIDR.Overlaps(c.ServiceCIDR) {
		errs = errors.Join(errs, errors.New("--cluster-cidr and --service-cidr must not overlap"))
	}
	return errs
}

func (c *Config) address() string {
	return netip.AddrPortFrom(c.Bind, c.Port).String()
}

func (c *Config) url() string { return "https://" + c.address() }

func (c *Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.DataDir}, parts...)...)
}

// serviceAddress is the n-th address of the service range.
func (c *Config) serviceAddress(n int) netip.Addr {
	a := c.ServiceCIDR.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// Domain is the cluster's DNS domain.
const Domain = "cluster.local"

// KubernetesAddress and DNSAddress are the numbers in the service range of the API's own Service and of the cluster's
// DNS.
const (
	KubernetesAddress = 1
	DNSAddress        = 10
)
