package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/e2e/torture/check"
	"github.com/holt-project/holt/e2e/torture/history"
	"github.com/holt-project/holt/e2e/torture/trial"
)

// servers is the size of the cluster. No agents: what is tortured is the store.
const servers = 3

// downTimeout bounds the removal of the cluster.
const downTimeout = 2 * time.Minute

var errViolations = errors.New("promises were broken")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

// settings are the command's flags.
type settings struct {
	trial.Options
	folder string
	check  string
	keep   bool
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	flags.DurationVar(&s.For, "for", time.Minute, "how long faults are made")
	flags.IntVar(&s.Rounds, "rounds", 0, "instead, kill all servers at once so many times")
	flags.StringVar(&s.Only, "only", "", "make only faults of this kind")
	flags.Uint64Var(&s.Seed, "seed", 0, "of the schedule and of the clients; 0 makes one up")
	flags.StringVar(&s.folder, "out", "bin/torture", "the folder for the history of a run that found something")
	flags.StringVar(&s.check, "check", "", "a history to judge again, instead of a run")
	flags.BoolVar(&s.keep, "keep", false, "write the history also of a run that found nothing")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 || s.For <= 0 || s.Rounds < 0 {
		return s, errors.New("usage: torture [-for TIME [-only KIND] | -rounds N] [-seed N] [-out FOLDER] [-keep], or torture -check FILE")
	}
	if s.Seed == 0 {
		s.Seed = uint64(rand.Uint32())
	}
	return s, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	s.Log = slog.New(slog.NewTextHandler(out, nil))
	if s.check != "" {
		return again(s, out)
	}
	if _, err := fmt.Fprintf(out, "seed %d\n", s.Seed); err != nil {
		return err
	}
	programs, err := harness.FindPrograms()
	if err != nil {
		return err
	}
	// A name of the e2e tests: they remove what a killed process left behind.
	name := fmt.Sprintf("e2e-%d-torture", os.Getpid())
	c, err := harness.Up(ctx, programs, name, harness.Size{Servers: servers}, nil)
	if err != nil {
		return err
	}
	report, err := trial.Run(ctx, c, s.Options)
	if report != nil {
		err = errors.Join(err, tell(report, s, err != nil, out))
	}
	if err != nil {
		err = errors.Join(err, keepLogs(c, s))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
	defer cancel()
	return errors.Join(err, c.Down(ctx))
}

// tell prints a report, and saves its history if it is of use.
func tell(r *trial.Report, s settings, failed bool, out io.Writer) error {
	err := r.Write(out)
	if r.Failed() || failed || s.keep {
		files, saving := r.Save(s.folder)
		err = errors.Join(err, saving)
		for _, file := range files {
			fmt.Fprintln(out, "see", file)
		}
	}
	if r.Failed() {
		err = errors.Join(err, errViolations)
	}
	return err
}

// keepLogs keeps what the servers of a run that found something have said.
func keepLogs(c *harness.Cluster, s settings) error {
	failures := os.MkdirAll(s.folder, 0o755)
	for _, server := range c.Servers() {
		data, err := os.ReadFile(c.LogFile(server.Name))
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("%s/torture-%d-%s.log", s.folder, s.Seed, server.Name), data, 0o644)
		}
		failures = errors.Join(failures, err)
	}
	return failures
}

// again judges the history of an earlier run.
func again(s settings, out io.Writer) error {
	h, err := history.Read(s.check)
	if err != nil {
		return err
	}
	r := &trial.Report{Seed: h.Seed, History: h, Result: check.History(h)}
	return tell(r, s, false, out)
}
