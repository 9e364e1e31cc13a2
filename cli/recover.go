package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/server"
)

func newServerRecover() *cobra.Command {
	var dataDir, keyring string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a stopped server the only one of a cluster that lost its majority for good",
		Long: `Make a stopped server the only one of a cluster that lost its majority for good.

Use it when the disks of most servers are lost; if they can be started again, start them instead. Run it on
the one server that goes on. It keeps everything that this server has, also the last entries of its log, of
which nobody can say any more whether they were committed. What the lost majority had acknowledged and this
server had not received yet is lost: if several servers are left, take the one with the highest term, and of
these the one with the highest entry; the command prints both before it asks.

The other servers are refused afterwards, also with their old data: empty their data folders, and let them
join anew. Do not start them before: two of them could still be a majority of the old cluster.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := server.Config{DataDir: dataDir, Keyring: keyring, Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
			return server.Recover(cmd.Context(), c, func(s server.Survivor) error { return confirmRecovery(cmd, s, yes) },
				func(s server.Survivor) error { return printRecovered(cmd.OutOrStdout(), s, dataDir) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&dataDir, "data-dir", server.DefaultDataDir, "folder of everything that the server keeps")
	f.StringVar(&keyring, "keyring", "", "file of the keys with which data-dir is encrypted (default: keyring.json in data-dir)")
	f.BoolVar(&yes, "yes", false, "do it without asking")
	return cmd
}

// confirmRecovery tells what will be done, and asks whether it shall be unless that was said already.
func confirmRecovery(cmd *cobra.Command, s server.Survivor, yes bool) error {
	out := cmd.OutOrStdout()
	_, _ = fmt.Fprintf(out, "%s at %s has entries up to %d of term %d. Its cluster had these servers:\n", s.Name, s.Address, s.Index, s.Term)
	for _, m := range s.Members {
		_, _ = fmt.Fprintf(out, "  %s at %s\n", m.Name, m.Address)
	}
	_, _ = fmt.Fprintf(out, "%s will be the only one. What the others have and it has not is lost.\n", s.Name)
	if yes {
		return nil
	}
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err != nil {
		return errors.New("nothing was changed: say --yes to do it")
	}
	_, _ = fmt.Fprint(out, "Type yes to do it: ")
	answer, err := readLine(cmd.Context(), cmd.InOrStdin())
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return errors.Join(errors.New("nothing was changed"), err)
	}
	return nil
}

// readLine reads one line, unless ctx ends before; then the read is left to the end of the process.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		got <- line{text, err}
	}()
	select {
	case l := <-got:
		return l.text, l.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func printRecovered(out io.Writer, s server.Survivor, dataDir string) error {
	_, err := fmt.Fprintf(out, `%[1]s is the only server of its cluster now.

Next:
  start it as before: holt server --data-dir %[2]s ...
  holt token create --role server --kubeconfig %[2]s/admin.kubeconfig
  empty the data folders of the other servers, and start each with --join https://%[3]s and that token
`, s.Name, dataDir, s.Address)
	return err
}
