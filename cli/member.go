package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/server/join"
)

func newMember() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use: "member", Short: "List, remove and move leadership among the cluster's servers",
		// With both of these cobra refuses an unknown verb; it would print the help and succeed.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", defaultKubeconfig(), "kubeconfig of an administrator")
	cmd.AddCommand(newMemberList(&kubeconfig), newMemberRemove(&kubeconfig), newMemberTransfer(&kubeconfig))
	return cmd
}

// withClient calls do with a client of the cluster that the kubeconfig names.
func withClient(ctx context.Context, kubeconfig string, do func(context.Context, *client.Client) error) error {
	c, err := client.FromKubeconfig(kubeconfig, "holt/"+version)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(ctx, c)
}

func newMemberList(kubeconfig *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the servers, and how far each is",
		Long: `List the servers, and how far each is.

LAST is a server's last log entry, LAG how many entries it has not applied that another one has, STATE the
revision and digest of what it holds: servers at the same revision must have the same digest. Any server can
be asked, also while there is no leader; then the list is what that server knows.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("-o %s is not known; use -o json, or leave it out for a table", output)
			}
			var l join.MemberList
			err := withClient(cmd.Context(), *kubeconfig, func(ctx context.Context, c *client.Client) error {
				return c.Do(ctx, client.Request{Method: http.MethodGet, Path: enroll.PathMembers}, &l)
			})
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(l)
			}
			if l.Leader == "" {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "no server leads: the list is what the asked server knows")
			}
			return printMembers(cmd.OutOrStdout(), l)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or a table if left out")
	return cmd
}

func printMembers(out io.Writer, l join.MemberList) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tADDRESS\tROLE\tALIVE\tLAST\tLAG\tSTATE")
	for _, m := range l.Members {
		alive, last, lag, state := "no", "-", "-", "-"
		if m.Alive {
			alive, last, lag = "yes", fmt.Sprint(m.LastIndex), fmt.Sprint(m.Lag)
			state = fmt.Sprintf("%d %s", m.Revision, m.Digest)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Address, m.Role, alive, last, lag, state)
	}
	return w.Flush() // returns the first error of any write
}

func newMemberRemove(kubeconfig *string) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a server out of the cluster for good",
		Long: `Take a server out of the cluster for good.

Its process ends, and its data folder is refused from then on: with an empty one it can join anew. If it
leads, it hands leadership over first. Nothing is removed if the servers that answer would be no majority
afterwards; with --force it is, and the cluster stands still until enough servers are back.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("holt member remove needs the name of one server; holt member list shows them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := client.Request{Method: http.MethodDelete, Path: enroll.PathMembers + "/" + args[0]}
			if force {
				r.Query = "force=true"
			}
			err := withClient(cmd.Context(), *kubeconfig, func(ctx context.Context, c *client.Client) error { return c.Do(ctx, r, nil) })
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is removed\n", args[0])
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it even if the cluster loses its majority")
	return cmd
}

func newMemberTransfer(kubeconfig *string) *cobra.Command {
	var req join.TransferRequest
	cmd := &cobra.Command{
		Use:   "transfer",
		Short: "Have another server lead",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var done join.Transferred
			err := withClient(cmd.Context(), *kubeconfig, func(ctx context.Context, c *client.Client) error {
				return c.Do(ctx, client.Request{Method: http.MethodPost, Path: enroll.PathMembers + "/transfer", Body: req}, &done)
			})
			if err != nil {
				return err
			}
			if done.Leader == "" {
				done.Leader = "another server"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s leads\n", done.Leader)
			return err
		},
	}
	cmd.Flags().StringVar(&req.To, "to", "", "name of the server that shall lead (default: the leader chooses)")
	return cmd
}
