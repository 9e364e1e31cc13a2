package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/backup"
)

func newSnapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Save the cluster's state to a file, look at one, and restore it",
		// With both of these cobra refuses an unknown verb; it would print the help and succeed.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotSave(), newSnapshotInspect(), newSnapshotRestore(), newSnapshotList())
	return cmd
}

// oneFile is the argument of most of its commands.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s needs the name of one file", cmd.CommandPath())
	}
	return nil
}

// visit calls do with a client of the kubeconfig's cluster.
func visit(kubeconfig string, do func(*backup.Visitor) error) error {
	c, err := client.FromKubeconfig(kubeconfig, "holt/"+version)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(backup.NewVisitor(c))
}

func kubeconfigFlag(cmd *cobra.Command, kubeconfig *string) {
	cmd.Flags().StringVar(kubeconfig, "kubeconfig", defaultKubeconfig(), "kubeconfig of an administrator")
}

func newSnapshotSave() *cobra.Command {
	var kubeconfig string
	var plain, force bool
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Write the cluster's present state to a file, while the cluster goes on",
		Long: `Write the cluster's present state to a file, while the cluster goes on.

The file holds everything that was written before the command began, at one revision. It is sealed with the
cluster's key ring; keep the ring too (holt keys export), elsewhere, or the file is lost with the cluster.
With --plain it is not sealed: whoever has the file has all Secrets.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return visit(kubeconfig, func(v *backup.Visitor) error {
				h, err := v.Save(cmd.Context(), args[0], plain, force)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s holds %d objects at revision %d, %s\n", args[0], h.Objects, h.Revision, sealedBy(h))
				return err
			})
		},
	}
	kubeconfigFlag(cmd, &kubeconfig)
	cmd.Flags().BoolVar(&plain, "plain", false, "do not seal the file")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

func sealedBy(h backup.Header) string {
	if h.Key == "" {
		return "not sealed"
	}
	return "sealed with key " + h.Key
}

func newSnapshotInspect() *cobra.Command {
	var keyring, output string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Check a snapshot and tell what it holds, without a cluster",
		Long: `Check a snapshot and tell what it holds, without a cluster.

The checksum is always checked. What is in a sealed snapshot is only told and checked with the key ring.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("-o %q: it is json, or nothing", output)
			}
			ring, err := readRing(keyring)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			report, err := backup.Inspect(f, ring)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(report)
			}
			return printReport(cmd.OutOrStdout(), report)
		},
	}
	cmd.Flags().StringVar(&keyring, "keyring", "", "file of the key ring, as holt keys export prints it")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json")
	return cmd
}

// readRing reads a key ring; the empty path is that of none.
func readRing(path string) (ring seal.Ring, err error) {
	if path == "" {
		return ring, nil
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &ring)
	}
	if err != nil {
		return ring, fmt.Errorf("--keyring %s: %w", path, err)
	}
	return ring, nil
}

func printReport(w io.Writer, r backup.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"created", r.Created.Format(time.RFC3339)}, {"server", r.Server}, {"cluster", r.Cluster},
		{"holt", r.Holt}, {"kubernetes", r.Kubernetes}, {"pods", r.ClusterCIDR}, {"services", r.ServiceCIDR},
		{"revision", fmt.Sprint(r.Revision)}, {"index", fmt.Sprint(r.Index)}, {"objects", fmt.Sprint(r.Objects)},
		{"digest", r.Digest}, {"seal", sealedBy(r.Header)}, {"checksum", "correct"},
	} {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	if !r.Opened {
		fmt.Fprintln(t, "\nName the key ring with --keyring to see and check what is in it.")
		return t.Flush()
	}
	fmt.Fprintln(t, "\nRESOURCE\tOBJECTS\tBYTES")
	for _, resource := range slices.Sorted(maps.Keys(r.Usage)) {
		fmt.Fprintf(t, "%s\t%d\t%d\n", resource, r.Usage[resource].Objects, r.Usage[resource].Bytes)
	}
	return t.Flush()
}

func newSnapshotRestore() *cobra.Command {
	var kubeconfig, keyring string
	var yes bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the cluster's state by a snapshot's, while the cluster runs",
		Long: `Replace the cluster's state by a snapshot's, while the cluster runs.

What was made since the snapshot is gone afterwards, and what was deleted is back; pods follow. Only what makes
the cluster this one stays: its CA, keys, tokens and servers. Revisions go up, never down, and clients
read everything anew. If the command fails, the state is the old one; if it says that the outcome is unknown,
it is the old one or the new one, on all servers alike.

A snapshot that another cluster has sealed needs that cluster's key ring: --keyring. It is opened here and sent
to the server over TLS; the ring itself is not sent.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return errors.New("everything in the cluster is replaced: say --yes if that is meant")
			}
			ring, err := readRing(keyring)
			if err != nil {
				return err
			}
			return visit(kubeconfig, func(v *backup.Visitor) error {
				a, err := v.Restore(cmd.Context(), args[0], ring)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored %d objects of revision %d, kept %d; the cluster's revision was %d and is %d\n",
					a.Objects, a.Snapshot, a.Kept, a.Before, a.After)
				return err
			})
		},
	}
	kubeconfigFlag(cmd, &kubeconfig)
	cmd.Flags().StringVar(&keyring, "keyring", "", "file of the key ring of the cluster that sealed the snapshot, if it was another one")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func newSnapshotList() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the scheduled snapshots on the disk of the server that the kubeconfig names",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return visit(kubeconfig, func(v *backup.Visitor) error { return printEntries(cmd.Context(), cmd.OutOrStdout(), v) })
		},
	}
	kubeconfigFlag(cmd, &kubeconfig)
	return cmd
}

func printEntries(ctx context.Context, w io.Writer, v *backup.Visitor) error {
	entries, err := v.List(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSERVER\tCREATED\tREVISION\tOBJECTS\tBYTES\tKEY")
	for _, e := range entries {
		if e.Error != "" {
			fmt.Fprintf(t, "%s\t%s\n", e.Name, strings.ReplaceAll(e.Error, "\t", " "))
			continue
		}
		key := e.Key
		if key == "" {
			key = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", e.Name, e.Server, e.Created.Format(time.RFC3339), e.Revision, e.Objects, e.Bytes, key)
	}
	return t.Flush()
}
