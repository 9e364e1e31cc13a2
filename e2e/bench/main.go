package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
	"github.com/holt-project/holt/e2e/harness"
)

// patience bounds everything that is measured.
const patience = 2 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of the command.
type bench struct {
	programs harness.Programs
	runs     int
	// cluster is the one that most figures are taken from; nil until it is needed.
	cluster *harness.Cluster
	started int // clusters so far
}

// measures are in the order in which they do least harm to each other: a memory that is idle comes before the load.
var measures = []struct {
	name    string
	measure func(*bench, context.Context) ([]row, error)
}{
	{"size", (*bench).size},
	{"up", (*bench).up},
	{"memory", (*bench).memory},
	{"pod", (*bench).pod},
	{"leader", (*bench).leader},
	{"worker", (*bench).worker},
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	var names []string
	for _, m := range measures {
		names = append(names, m.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	runs := flags.Int("runs", 3, "how often a start and the loss of a host are measured")
	only := flags.String("only", "", "measure only this: "+strings.Join(names, ", "))
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *runs < 1 {
		return errors.New("usage: bench [-runs N] [-only NAME], N at least 1")
	}
	b := &bench{runs: *runs}
	if b.programs, err = harness.FindPrograms(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.down()) }()
	if _, err := fmt.Fprintf(out, "%s\n\n", figures.Machine()); err != nil {
		return err
	}
	var rows []row
	for _, m := range measures {
		if *only != "" && *only != m.name {
			continue
		}
		more, err := m.measure(b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		rows = append(rows, more...)
	}
	if len(rows) == 0 {
		return fmt.Errorf("-only %q: there are %s", *only, strings.Join(names, ", "))
	}
	return writeTable(out, rows)
}

// start starts a cluster and keeps it for what is measured next.
func (b *bench) start(ctx context.Context) error {
	b.started++
	name := fmt.Sprintf("bench-%d-%d", os.Getpid(), b.started)
	var err error
	b.cluster, err = harness.Up(ctx, b.programs, name, harness.Size{Servers: 3, Agents: 2}, nil)
	return err
}

// running starts a cluster unless there is one.
func (b *bench) running(ctx context.Context) error {
	if b.cluster != nil {
		return nil
	}
	return b.start(ctx)
}

// down removes the cluster, if there is one, also after an interrupt.
func (b *bench) down() error {
	if b.cluster == nil {
		return nil
	}
	c := b.cluster
	b.cluster = nil
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.Down(ctx)
}
