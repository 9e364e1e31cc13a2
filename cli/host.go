package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holt-project/holt/internal/sandbox"
)

func newHost() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Do something to one host of a cluster that holt up started",
		// With both of these cobra refuses an unknown verb; it would print the help and succeed.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var process bool
	kill := newHostVerb("kill", "killed", "Cut its power: every process is killed at once, memory is lost, disks stay",
		func(s *sandbox.Sandbox, ctx context.Context, host string) error {
			if process {
				return s.KillProcess(ctx, host)
			}
			return s.Kill(ctx, host)
		})
	kill.Flags().BoolVar(&process, "process", false, "kill -9 the holt process alone; pods keep running")
	cmd.AddCommand(
		kill,
		newHostVerb("stop", "stopped", "End its holt process and wait for that; pods keep running", (*sandbox.Sandbox).Stop),
		newHostVerb("start", "started", "Start it after stop or kill", (*sandbox.Sandbox).Start),
		newHostVerb("pause", "paused", "Freeze all its processes", (*sandbox.Sandbox).Pause),
		newHostVerb("resume", "resumed", "Let it go on after pause", (*sandbox.Sandbox).Resume),
		newHostVerb("cut", "cut off", "Drop all its packets, in both directions and in silence", (*sandbox.Sandbox).Cut),
		newHostVerb("heal", "healed", "Let its packets through again after cut", (*sandbox.Sandbox).Heal),
	)
	return cmd
}

func newHostVerb(verb, done, short string, do func(*sandbox.Sandbox, context.Context, string) error) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   verb + " HOST",
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("holt host %s needs the name of one host; holt hosts lists them", verb)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sandbox.Load(name)
			if err != nil {
				return err
			}
			if err := do(s, cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", args[0], done)
			return err
		},
	}
	nameFlag(cmd, &name)
	return cmd
}
