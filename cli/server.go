package cli

import (
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/gossip"
	"github.com/holt-project/holt/server"
)

func newServer() *cobra.Command {
	var c server.Config
	var n nodeFlags
	var clusterCIDR, serviceCIDR string
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a server: a member of the cluster's Raft group that serves the API",
		Long: `Run a server: a member of the cluster's Raft group that serves the API.

Without --join a server with an empty data folder begins a new cluster. It leaves in its data folder
admin.kubeconfig, server-token and agent-token; with them other servers and agents join.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := n.load(cmd); err != nil {
				return err
			}
			if c.ClusterCIDR, err = parsePrefix("--cluster-cidr", clusterCIDR); err != nil {
				return err
			}
			if c.ServiceCIDR, err = parsePrefix("--service-cidr", serviceCIDR); err != nil {
				return err
			}
			if c.Name, c.Bind, c.Token, err = n.resolve("--bind"); err != nil {
				return err
			}
			c.Join, c.GossipPort, c.Log, c.Ready = n.join, n.gossipPort, n.logger(cmd), notifyReady
			c.Version = version
			return server.Run(cmd.Context(), c)
		},
	}
	cmd.AddCommand(newServerRecover())
	n.add(cmd, "bind", "address at which clients and other nodes reach this server")
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", server.DefaultDataDir, "folder of everything that the server keeps")
	f.StringVar(&c.Keyring, "keyring", "", "file of the keys with which data-dir is encrypted (default: keyring.json in data-dir)")
	f.Uint16Var(&c.Port, "port", server.DefaultPort, "port of the API and of the traffic between servers")
	f.StringVar(&clusterCIDR, "cluster-cidr", server.DefaultClusterCIDR, "range of pod addresses; counts when the cluster begins")
	f.StringVar(&serviceCIDR, "service-cidr", server.DefaultServiceCIDR, "range of Service addresses; counts when the cluster begins")
	f.DurationVar(&c.HeartbeatTimeout, "heartbeat-timeout", server.DefaultHeartbeatTimeout,
		"how long without word from the leader before an election; the same on all servers")
	f.DurationVar(&c.ElectionTimeout, "election-timeout", server.DefaultElectionTimeout,
		"how long an election waits for votes, at least --heartbeat-timeout; the same on all servers")
	f.DurationVar(&c.DeadServerAfter, "dead-server-after", server.DefaultDeadServerAfter,
		"how long nobody has heard of a server until the leader removes it; 0 for never")
	f.IntVar(&c.MinVoters, "min-voters", server.DefaultMinVoters,
		"how many live voters must remain when the leader removes a dead one")
	f.Int64Var(&c.UnreachableSeconds, "unreachable-seconds", server.DefaultUnreachableSeconds,
		"how long pods that do not say otherwise stay on a node that is lost")
	f.DurationVar(&c.SnapshotInterval, "snapshot-interval", server.DefaultSnapshotInterval, "time between snapshots of the state on this server's disk; 0 for none")
	f.IntVar(&c.SnapshotKeep, "snapshot-keep", server.DefaultSnapshotKeep, "how many of these snapshots are kept")
	f.StringVar(&c.SnapshotDir, "snapshot-dir", "", "folder of these snapshots (default: snapshots in data-dir)")
	return cmd
}

// nodeFlags are what servers and agents have in common.
type nodeFlags struct {
	name, address, token, tokenFile, config, logLevel string
	join                                              []string
	gossipPort                                        uint16
}

func (n *nodeFlags) add(cmd *cobra.Command, addressFlag, addressHelp string) {
	f := cmd.Flags()
	f.StringVar(&n.name, "name", "", "name of this node (default: the machine's host name)")
	f.StringVar(&n.address, addressFlag, "", addressHelp+" (default: that of the default route)")
	f.StringSliceVar(&n.join, "join", nil, "servers of the cluster to join, as https://HOST:6443")
	f.StringVar(&n.token, "token", "", "join token; needed until the node has joined")
	f.StringVar(&n.tokenFile, "token-file", "", "file that holds the join token")
	f.Uint16Var(&n.gossipPort, "gossip-port", gossip.DefaultPort, "port of the gossip, TCP and UDP; the same on all nodes")
	f.StringVar(&n.config, "config", "", "YAML file whose keys are the names of these flags; flags given count more")
	f.StringVar(&n.logLevel, "log-level", "info", "debug, info, warn or error")
}

func (n *nodeFlags) logger(cmd *cobra.Command) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(n.logLevel))); err != nil {
		level = slog.LevelInfo // load has refused anything else
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	return log
}
