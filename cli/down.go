package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/sandbox"
)

func newDown() *cobra.Command {
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove a cluster that holt up started, with all its data",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{name}
			if all {
				var err error
				if names, err = sandbox.List(); err != nil {
					return err
				}
			}
			// One that cannot be removed must not keep the others.
			var failures error
			for _, name := range names {
				found, err := sandbox.Down(cmd.Context(), name)
				if err != nil {
					failures = errors.Join(failures, err)
					continue
				}
				message := "sandbox %s is removed\n"
				if !found {
					message = "there is no sandbox %s\n"
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), message, name); err != nil {
					return err
				}
			}
			return failures
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().BoolVar(&all, "all", false, "remove every sandbox of this machine")
	cmd.MarkFlagsMutuallyExclusive("name", "all")
	return cmd
}

// nameFlag adds the flag that all commands about a sandbox share.
func nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", sandbox.DefaultName, "name of the sandbox")
}
