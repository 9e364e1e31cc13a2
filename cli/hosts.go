package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/sandbox"
)

func newHosts() *cobra.Command {
	var name, output string
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts of a cluster that holt up started",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("-o %s is not known; use -o json, or leave it out for a table", output)
			}
			s, err := sandbox.Load(name)
			if err != nil {
				return err
			}
			hosts, err := s.Hosts(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(hosts)
			}
			return printHosts(cmd.OutOrStdout(), hosts)
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or a table if left out")
	return cmd
}

func printHosts(out io.Writer, hosts []sandbox.Host) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tROLE\tADDRESS\tPID\tSTATE\tLEADER")
	for _, h := range hosts {
		pid, leader := "-", ""
		if h.PID != 0 {
			pid = fmt.Sprint(h.PID)
		}
		if h.Leader {
			leader = "leader"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Role, h.Address, pid, h.State, leader)
	}
	return w.Flush() // returns the first error of any write
}
