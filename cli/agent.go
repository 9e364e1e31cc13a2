package cli

import (
	"github.com/spf13/cobra"

	"github.com/holt-project/holt/agent"
)

func newAgent() *cobra.Command {
	var c agent.Config
	var n nodeFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent: a node that runs pods",
		Long: `Run an agent: a node that runs pods.

An agent joins once, with a token; afterwards it has a certificate of its own. Pods go on running when the agent
ends or is killed, and it finds them again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := n.load(cmd); err != nil {
				return err
			}
			if c.Name, c.NodeIP, c.Token, err = n.resolve("--node-ip"); err != nil {
				return err
			}
			c.Join, c.GossipPort, c.Log, c.Ready, c.Version = n.join, n.gossipPort, n.logger(cmd), notifyReady, version
			return agent.Run(cmd.Context(), c)
		},
	}
	n.add(cmd, "node-ip", "address at which other nodes reach this one")
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", agent.DefaultDataDir, "folder of images, logs and the node's certificate")
	f.StringVar(&c.RunDir, "run-dir", agent.DefaultRunDir, "folder of what does not outlive a boot; keep the path short")
	f.StringVar(&c.ImportDir, "import-dir", "", "folder of image archives to import")
	f.StringVar(&c.CgroupRoot, "cgroup-root", agent.DefaultCgroupRoot, "cgroup below which pods are")
	f.StringVar(&c.ResolvConf, "resolv-conf", agent.DefaultResolvConf, "resolvers for names outside the cluster")
	return cmd
}
