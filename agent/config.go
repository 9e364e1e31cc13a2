package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/holt-project/holt/internal/enroll"
)

// Config describes an agent. Its keys are those of the configuration file and the flags of holt agent.
type Config struct {
	// Name is the node's; by default the machine's host name.
	Name string
	// DataDir holds images, pods' state and the node's certificate; RunDir what does not outlive a boot.
	DataDir, RunDir string
	// NodeIP is the address at which other nodes reach this one.
	NodeIP netip.Addr
	// GossipPort is the same on all nodes.
	GossipPort uint16
	// Join are base URLs of servers, Token admits the node. The token is needed once.
	Join  []string
	Token string
	// ImportDir is a folder of image archives that are imported at the start and when an image is missing.
	ImportDir string
	// CgroupRoot is the cgroup under which pods are.
	CgroupRoot string
	// ResolvConf has the resolvers for names outside the cluster.
	ResolvConf string
	// Version is this binary's.
	Version string

	Log *slog.Logger
	// Ready is called once, when the Node is registered and pods can run; nil does nothing.
	Ready func()
}

// Defaults of Config.
const (
	DefaultDataDir    = "/var/lib/holt/agent"
	DefaultRunDir     = "/run/holt"
	DefaultCgroupRoot = "/holt/pods"
	DefaultResolvConf = "/etc/resolv.conf"
	// StreamPort is where an agent serves logs.
	StreamPort = 10250
)

func (c *Config) validate() error {
	var errs error
	if msgs := validation.IsDNS1123Subdomain(c.Name); len(msgs) > 0 {
		errs = errors.Join(errs, fmt.Errorf("--name %q: %s", c.Name, msgs[0]))
	}
	if !c.NodeIP.IsValid() || c.NodeIP.IsUnspecified() {
		errs = errors.Join(errs, errors.New("--node-ip must be the address at which other nodes reach this one"))
	}
	if len(c.Join) == 0 {
		errs = errors.Join(errs, errors.New("--join must name at least one server: https://HOST:6443"))
	}
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

func (c *Config) data(parts ...string) string {
	return filepath.Join(append([]string{c.DataDir}, parts...)...)
}
