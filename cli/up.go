package cli

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/sandbox"
)

func newUp() *cobra.Command {
	var o sandbox.Options
	var pool string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster on this machine, with network namespaces for hosts",
		Long: `Start a cluster on this machine, with network namespaces for hosts.

The command returns when every server serves and every agent's Node is Ready. The cluster keeps running;
holt down removes it with all that belongs to it. If the cluster does not become ready, or the command is
interrupted, it is removed at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Pool, err = netip.ParsePrefix(pool); err != nil {
				return fmt.Errorf("--subnet-pool: %w", err)
			}
			if o.Timeout <= 0 {
				return fmt.Errorf("--timeout must be positive, not %s", o.Timeout)
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{ReplaceAttr: withoutTime}))
			s, err := sandbox.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printUp(cmd, s, o.Kubeconfig)
		},
	}
	flags := cmd.Flags()
	nameFlag(cmd, &o.Name)
	flags.IntVar(&o.Servers, "servers", sandbox.DefaultServers, "number of servers")
	flags.IntVar(&o.Agents, "agents", sandbox.DefaultAgents, "number of agents")
	flags.StringVar(&o.Images, "images", "", "folder of image archives that every agent imports")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "write the kubeconfig to this new file too; holt down removes it")
	flags.StringVar(&pool, "subnet-pool", sandbox.DefaultPool, "prefix that the sandbox's /24 is taken from")
	flags.DurationVar(&o.Timeout, "timeout", sandbox.DefaultTimeout, "how long to wait for the cluster to be ready")
	flags.BoolVar(&o.Keep, "keep", false, "keep a cluster that did not become ready, to look at it")
	return cmd
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func printUp(cmd *cobra.Command, s *sandbox.Sandbox, kubeconfig string) error {
	hosts, err := s.Hosts(cmd.Context())
	if err != nil {
		return err
	}
	if kubeconfig == "" {
		kubeconfig = s.Kubeconfig()
	}
	out := cmd.OutOrStdout()
	if err := printHosts(out, hosts); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, `
kubeconfig: %[1]s

Next:
  export KUBECONFIG=%[1]s
  kubectl get nodes
  holt host kill server-1 --name %[2]s    (see holt host --help)
  holt down --name %[2]s
`, kubeconfig, s.Name())
	return err
}
