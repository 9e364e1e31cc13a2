package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
	"github.com/holt-project/holt/e2e/bench/peers/side"
	"github.com/holt-project/holt/e2e/bench/peers/work"
)

const (
	// clients is how many work at a time.
	clients = 32
	// patience bounds each measurement: beyond it something hangs.
	patience = 90 * time.Second
)

// Namespaces of the work.
const (
	workSpace  = "work"
	podSpace   = "pods"
	watchSpace = "watched"
)

// visit is one side, running, in one round.
type visit struct {
	*bench
	section string // of the report
	side    int
	round   int
	cluster *side.Cluster
	load    work.Load
	// configMaps is how many the writes left in workSpace.
	configMaps int64
}

// visit starts one side and measures it. What a side fails at is a note of the report, and ends the visit.
func (b *bench) visit(ctx context.Context, s, servers, round int) (err error) {
	cluster, dir, err := b.cluster(s, servers)
	if err != nil {
		return err
	}
	v := &visit{bench: b, section: sectionOf(servers), side: s, round: round, cluster: cluster}
	defer func() {
		v.disconnect()
		err = errors.Join(err, cluster.Stop(), os.RemoveAll(dir))
	}()
	sync, err := figures.Sync(dir)
	if err != nil {
		return err
	}
	b.report.add(v.section, rowSync, s, sync.Seconds())
	if err := v.begin(ctx, servers); err != nil {
		return err
	}
	for _, m := range measures {
		if !b.wants(m.name) || !slices.Contains(m.servers, servers) {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, patience)
		err := m.measure(v, bounded)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.report.note("%s, %s, round %d: %s failed: %v", v.section, sideNames[s], round+1, m.name, err)
			b.say("%s failed: %v", m.name, err)
			return nil
		}
	}
	return nil
}

// begin starts the cluster. The first start and the second, on what the first left, are measured.
func (v *visit) begin(ctx context.Context, servers int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	first, err := v.start(ctx, "first")
	if err != nil {
		return err
	}
	if servers == 1 && v.wants("start") {
		v.disconnect()
		if err := v.cluster.Stop(); err != nil {
			return err
		}
		second, err := v.start(ctx, "second")
		if err != nil {
			return err
		}
		v.report.add(v.section, rowFirstStart, v.side, first.Seconds())
		v.report.add(v.section, rowSecondStart, v.side, second.Seconds())
	}
	return v.makeNamespaces(ctx)
}

// start takes the time from the start of the processes until they are ready and a write is accepted.
func (v *visit) start(ctx context.Context, name string) (time.Duration, error) {
	begun := time.Now()
	if err := v.cluster.Start(ctx); err != nil {
		return 0, err
	}
	if err := v.cluster.Ready(ctx); err != nil {
		return 0, err
	}
	if err := v.connect(); err != nil {
		return 0, err
	}
	if err := v.firstWrite(ctx, v.load.Clients[0], "start-"+name); err != nil {
		return 0, err
	}
	return time.Since(begun), nil
}

// makeNamespaces makes the namespaces of the work.
func (v *visit) makeNamespaces(ctx context.Context) error {
	for _, namespace := range []string{workSpace, podSpace, watchSpace} {
		if _, err := v.load.Clients[0].Do(ctx, work.CreateNamespace(namespace)); err != nil {
			return err
		}
	}
	return nil
}

// firstWrite creates a namespace, again and again until one is accepted: other kinds need one that is there.
func (v *visit) firstWrite(ctx context.Context, c *work.Client, name string) error {
	for try := 0; ; try++ {
		_, err := c.Do(ctx, work.CreateNamespace(fmt.Sprintf("%s-%d", name, try)))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no write was accepted: %w", err)
		case <-time.After(side.Pause):
		}
	}
}

// connect makes the clients, spread over all servers.
func (v *visit) connect() error {
	urls := v.cluster.APIs()
	v.load = work.Load{WarmUp: v.warmUp, Window: v.window, CPU: v.cluster.CPU}
	for i := range clients {
		c, err := work.NewClient(urls[i%len(urls)], v.cluster.TLS())
		if err != nil {
			return err
		}
		v.load.Clients = append(v.load.Clients, c)
	}
	return nil
}

func (v *visit) disconnect() {
	for _, c := range v.load.Clients {
		c.Close()
	}
	v.load.Clients = nil
}

// pause leaves the cluster alone.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
