package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/server/keyring"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Manage the keys with which the servers encrypt what they keep",
		Long: `Manage the keys with which the servers encrypt what they keep.

Every server seals its log and its snapshots, and with them every Secret, with the first key of the cluster's ring.
To change it: rotate, wait until list shows that no server needs the old key any more, then drop the old one.
Backups that were sealed with a key, and copies of disks, need it for ever: export the ring and keep it with them.`,
		// With both of these cobra refuses an unknown verb; it would print the help and succeed.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		keysCommand("list", "Show the keys, their age, and which server uses which", listKeys),
		keysCommand("rotate", "Make a new key that seals from now on; the servers seal anew what they have", rotateKeys),
		keysCommand("drop ID", "Take an old key out of the ring, once no server needs it", dropKey),
		keysCommand("export", "Print the ring with its secrets, to be kept with the backups", exportKeys),
	)
	return cmd
}

// keysCommand makes a command with an administrator's client. It takes an argument if use names one.
func keysCommand(use, short string, run func(*cobra.Command, *client.Client, []string) error) *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(strings.Count(use, " ")),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client.FromKubeconfig(kubeconfig, "holt/"+version)
			if err != nil {
				return err
			}
			defer c.Close()
			return run(cmd, c, args)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", defaultKubeconfig(), "kubeconfig of an administrator")
	return cmd
}

func listKeys(cmd *cobra.Command, c *client.Client, _ []string) error {
	var r keyring.Report
	if err := c.Do(cmd.Context(), client.Request{Method: http.MethodGet, Path: keyring.PathKeys}, &r); err != nil {
		return err
	}
	return printKeys(cmd.OutOrStdout(), r, time.Now())
}

func printKeys(to io.Writer, r keyring.Report, now time.Time) error {
	w := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "KEY\tAGE\tSEALS\tNEEDED BY")
	for i, key := range r.Keys {
		var seals, needs []string
		for _, s := range r.Servers {
			if s.Primary == key.ID {
				seals = append(seals, s.Name)
			}
			if slices.Contains(s.Needed, key.ID) {
				needs = append(needs, s.Name)
			}
		}
		age := duration.HumanDuration(now.Sub(key.Created))
		if i == 0 {
			age += " (primary)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", key.ID, age, names(seals), names(needs))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range r.Servers {
		if s.Error != "" {
			fmt.Fprintf(to, "server %s does not answer: %s\n", s.Name, s.Error)
		}
	}
	return nil
}

func names(list []string) string { return cmp.Or(strings.Join(list, ","), "<none>") }

func rotateKeys(cmd *cobra.Command, c *client.Client, _ []string) error {
	var r keyring.Rotation
	if err := c.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: keyring.PathKeys}, &r); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "key %s is the primary one now; the servers take it over (holt keys list)\n", r.Primary)
	return err
}

func dropKey(cmd *cobra.Command, c *client.Client, args []string) error {
	if args[0] == "" || strings.ContainsAny(args[0], "/?#%") {
		return fmt.Errorf("%q is not the ID of a key: see holt keys list", args[0])
	}
	err := c.Do(cmd.Context(), client.Request{Method: http.MethodDelete, Path: keyring.PathKeys + "/" + args[0]}, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "key %s is dropped\n", args[0])
	return err
}

func exportKeys(cmd *cobra.Command, c *client.Client, _ []string) error {
	ring, err := c.Fetch(cmd.Context(), keyring.PathRing)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "Whoever has this can read the servers' disks, and the backups that are sealed with it.\n"+
		"Keep it with the backups, but not beside them; a server that has lost its ring starts with this as its --keyring file.")
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", strings.TrimSpace(string(ring)))
	return err
}
