package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/e2e/bench/figures"
	"github.com/holt-project/holt/e2e/bench/peers/side"
)

// The sides, in the order of each round.
const (
	theirs = iota
	ours
	sides
)

var (
	sideNames = [sides]string{"kube-apiserver with etcd", "Holt"}
	sideFlags = [sides]string{"theirs", "ours"}
)

func main() {
	// Less often than usual, as what the client collects is taken from the servers' cores.
	debug.SetGCPercent(400)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// options are the command's.
type options struct {
	shape
	rounds      int
	only        []string
	servers     int    // 0 for both
	side        string // of sideFlags; empty for both
	disk        string // folder
	holt, peers string
}

// shape is how much is done.
type shape struct {
	warmUp, window, idle time.Duration
	pods, watches        int
	losses               int // of a leader, in all rounds together
}

var (
	usual = shape{
		warmUp: 500 * time.Millisecond, window: 3 * time.Second, idle: 5 * time.Second,
		pods: 5000, watches: 200, losses: 21,
	}
	quick = shape{
		warmUp: 200 * time.Millisecond, window: 800 * time.Millisecond, idle: time.Second,
		pods: 1000, watches: 200, losses: 2,
	}
)

// parse reads the command line; errors tell how to use it.
func parse(args []string) (options, error) {
	o := options{shape: usual}
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 3, "how often each side is measured, in turn")
	only := flags.String("only", "", "measure only these: "+strings.Join(measureNames(), ","))
	flags.IntVar(&o.servers, "servers", 0, "measure only clusters of 1 or of 3 servers; 0 measures both")
	flags.StringVar(&o.side, "side", "", "measure only theirs or only ours, to tune it")
	short := flags.Bool("quick", false, "one round of short measurements with fewer pods, for development")
	flags.StringVar(&o.disk, "dir", "bin", "folder on a disk, in which the servers keep their files meanwhile")
	flags.StringVar(&o.holt, "holt", "bin/holt", "Holt's binary")
	flags.StringVar(&o.peers, "peers", "bin/peers", "folder of the binaries apiserver and etcd")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *short {
		o.shape, o.rounds = quick, 1
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(measureNames(), name) {
			return o, fmt.Errorf("-only %s: there are %s", name, strings.Join(measureNames(), ","))
		}
	}
	if flags.NArg() > 0 || o.rounds < 1 || !slices.Contains([]int{0, 1, 3}, o.servers) ||
		o.side != "" && !slices.Contains(sideFlags[:], o.side) {
		return o, errors.New("usage: peers [-rounds N] [-only NAMES] [-servers 0|1|3] [-side theirs|ours] [-quick], N at least 1")
	}
	return o, nil
}

// bench is one run of the command.
type bench struct {
	options
	dir    string // of everything, made for this run
	report *report
	out    io.Writer
	begun  time.Time
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, file := range []string{o.holt, filepath.Join(o.peers, "apiserver"), filepath.Join(o.peers, "etcd")} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w; build it with: make build peers", err)
		}
	}
	b := &bench{options: o, report: newReport(), out: out, begun: time.Now()}
	if b.dir, err = workFolder(o.disk); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if _, err := fmt.Fprintf(out, "%s\n\n", figures.Machine()); err != nil {
		return err
	}
	others, err := newOthers()
	if err != nil {
		return err
	}
	if err := b.all(ctx); err != nil {
		return err
	}
	share, err := others.share()
	if err != nil {
		return err
	}
	b.report.note("Other processes of this machine took %.0f %% of its cores meanwhile.", 100*share)
	b.say("done")
	return b.report.write(out)
}

// workFolder makes a folder below dir, where a sync has to reach a disk.
func workFolder(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("%s: %w; make it, or choose another folder with -dir", dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return "", fmt.Errorf("%s is in memory, where a sync costs nothing: choose a folder on a disk with -dir", dir)
	}
	made, err := os.MkdirTemp(dir, "bench-peers-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(made)
}

func (b *bench) all(ctx context.Context) error {
	for round := range b.rounds {
		for _, servers := range []int{1, 3} {
			if b.servers != 0 && b.servers != servers {
				continue
			}
			for s := range sides {
				if b.side != "" && b.side != sideFlags[s] {
					continue
				}
				b.say("round %d of %d: %s, %d of it", round+1, b.rounds, sideNames[s], servers)
				if err := b.visit(ctx, s, servers, round); err != nil {
					return fmt.Errorf("%s, %d of it: %w", sideNames[s], servers, err)
				}
			}
		}
	}
	return nil
}

// say tells how far it is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}

// cluster makes a cluster with nothing in it.
func (b *bench) cluster(s, servers int) (*side.Cluster, string, error) {
	dir, err := os.MkdirTemp(b.dir, "cluster-")
	if err != nil {
		return nil, "", err
	}
	if s == ours {
		return side.Holt(b.holt, dir, servers), dir, nil
	}
	c, err := side.Kubernetes(filepath.Join(b.peers, "apiserver"), filepath.Join(b.peers, "etcd"), dir, servers)
	return c, dir, err
}
