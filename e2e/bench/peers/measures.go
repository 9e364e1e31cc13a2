package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/holt-project/holt/e2e/bench/peers/side"
	"github.com/holt-project/holt/e2e/bench/peers/work"
)

const (
	// clients is how many work at a time.
	clients = 32
	// patience bounds each measurement: beyond it something hangs.
	patience = 90 * time.Second
	// steadyChanges a second are what the time to a delivery is taken at: well below what either side can do.
	steadyChanges = 50
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

// measures are in the order in which they do least harm to each other: memory that is idle comes before all load, and
// the lists before other writes.
var measures = []struct {
	name    string
	servers []int
	measure func(*visit, context.Context) error
}{
	{"memory", []int{1}, (*visit).idle},
	{"list", []int{1, 3}, (*visit).list},
	{"memory", []int{1}, (*visit).watched},
	{"write", []int{1, 3}, (*visit).create},
	{"get", []int{1, 3}, (*visit).get},
	{"write", []int{1, 3}, (*visit).change},
	{"watch", []int{1, 3}, (*visit).watch},
	{"leader", []int{3}, (*visit).leader},
}

// measureNames are what -only takes.
func measureNames() []string {
	names := []string{"start"}
	for _, m := range measures {
		if !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

func (b *bench) wants(names ...string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(b.only, n) })
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
	if servers > 1 || !v.wants("start") {
		_, err := v.start(ctx, "first")
		return err
	}
	for _, row := range []string{rowFirstStart, rowSecondStart} {
		if err := v.cluster.Stop(); err != nil {
			return err
		}
		took, err := v.start(ctx, row[:5])
		if err != nil {
			return err
		}
		v.report.add(v.section, row, v.side, took.Seconds())
	}
	return nil
}

// start takes the time from the start of the processes until they are ready and a write is accepted.
func (v *visit) start(ctx context.Context, name string) (time.Duration, error) {
	v.disconnect()
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
	took := time.Since(begun)
	for _, namespace := range []string{workSpace, podSpace, watchSpace} {
		// The second start finds them.
		_, err := v.load.Clients[0].Do(ctx, work.Request{Method: "GET", Path: "/api/v1/namespaces/" + namespace})
		if err != nil {
			_, err = v.load.Clients[0].Do(ctx, work.CreateNamespace(namespace))
		}
		if err != nil {
			return 0, err
		}
	}
	return took, nil
}

// firstWrite creates a namespace, again and again until one is accepted: names of other kinds need a namespace first.
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

func (v *visit) idle(ctx context.Context) error {
	if err := pause(ctx, v.shape.idle); err != nil {
		return err
	}
	return v.weigh(rowIdleMemory)
}

func (v *visit) weigh(row string) error {
	bytes, err := v.cluster.Memory()
	v.report.add(v.section, row, v.side, float64(bytes))
	return err
}

// list creates the pods and lists them.
func (v *visit) list(ctx context.Context) error {
	if err := v.createPods(ctx); err != nil {
		return err
	}
	pods := work.InNamespace(podSpace, "pods", "pod-")
	for _, t := range []struct{ row, accept string }{{rowListJSON, work.JSON}, {rowListProtobuf, work.Protobuf}} {
		l, err := v.load.List(ctx, pods.List(t.accept))
		if err != nil {
			return err
		}
		v.report.add(v.section, t.row, v.side, l.Median.Seconds())
		v.report.add(v.section, t.row+rowCPU, v.side, l.CPUEach)
		v.report.size(t.row, v.side, l.Size)
	}
	return nil
}

// createPods creates them as fast as it goes; it is the window that has no end.
func (v *visit) createPods(ctx context.Context) error {
	pods := work.InNamespace(podSpace, "pods", "pod-")
	load := v.load
	load.WarmUp, load.Window = 0, patience
	_, _, err := load.Run(ctx, int64(v.pods), func(ctx context.Context, c *work.Client, n int64) error {
		_, err := c.Do(ctx, pods.CreatePod(n))
		return err
	})
	return err
}

// watched takes the memory while the pods that were listed are watched.
func (v *visit) watched(ctx context.Context) error {
	if !v.wants("list") { // which creates them
		if err := v.list(ctx); err != nil {
			return err
		}
	}
	pods := work.InNamespace(podSpace, "pods", "pod-")
	w, err := work.Watch(ctx, v.load.Clients, pods, v.watches, func(int, int64) {})
	if err != nil {
		return err
	}
	err = pause(ctx, v.shape.idle)
	if err == nil {
		err = v.weigh(rowBusyMemory)
	}
	return errors.Join(err, w.Stop())
}

func (v *visit) rate(row string, r work.Rate) {
	v.report.add(v.section, row, v.side, r.PerSecond())
	v.report.add(v.section, row+rowCPU, v.side, r.CPUEach())
}

// working are the ConfigMaps of all reads and writes.
var working = work.InNamespace(workSpace, "configmaps", "work-")

func (v *visit) create(ctx context.Context) error {
	r, begun, err := v.load.Run(ctx, math.MaxInt64, func(ctx context.Context, c *work.Client, n int64) error {
		_, err := c.Do(ctx, working.CreateConfigMap(n))
		return err
	})
	if err == nil {
		v.configMaps = begun
		v.rate(rowCreate, r)
	}
	return err
}

// some makes sure that there are ConfigMaps to work on, also when creates are not measured.
func (v *visit) some(ctx context.Context) error {
	if v.configMaps > 0 {
		return nil
	}
	const enough = 2000
	load := v.load
	load.WarmUp, load.Window = 0, patience
	_, begun, err := load.Run(ctx, enough, func(ctx context.Context, c *work.Client, n int64) error {
		_, err := c.Do(ctx, working.CreateConfigMap(n))
		return err
	})
	v.configMaps = begun
	return err
}

func (v *visit) get(ctx context.Context) error {
	if err := v.some(ctx); err != nil {
		return err
	}
	r, _, err := v.load.Run(ctx, math.MaxInt64, func(ctx context.Context, c *work.Client, n int64) error {
		_, err := c.Do(ctx, working.Get(n%v.configMaps))
		return err
	})
	if err == nil {
		v.rate(rowGet, r)
	}
	return err
}

// change updates, patches and deletes.
func (v *visit) change(ctx context.Context) error {
	if err := v.some(ctx); err != nil {
		return err
	}
	for _, kind := range []struct {
		row     string
		limit   int64
		request func(n int64) work.Request
	}{
		// No two generations are the same, so that none changes nothing.
		{rowUpdate, math.MaxInt64, func(n int64) work.Request { return working.UpdateConfigMap(n%v.configMaps, 1+n) }},
		{rowPatch, math.MaxInt64, func(n int64) work.Request { return working.PatchConfigMap(n%v.configMaps, -1-n) }},
		{rowDelete, v.configMaps, working.Delete},
	} {
		load := v.load
		if kind.limit < math.MaxInt64 { // all that there is counts; the servers are warm
			load.WarmUp = 0
		}
		r, _, err := load.Run(ctx, kind.limit, func(ctx context.Context, c *work.Client, n int64) error {
			_, err := c.Do(ctx, kind.request(n))
			return err
		})
		if err != nil {
			return err
		}
		v.rate(kind.row, r)
	}
	return nil
}

func (v *visit) watch(ctx context.Context) error {
	d, err := v.load.Deliver(ctx, work.InNamespace(watchSpace, "configmaps", "change-"), v.watches, steadyChanges)
	if err != nil {
		return err
	}
	v.rate(rowDeliver, d.Rate)
	v.report.add(v.section, rowDelivery, v.side, d.P99.Seconds())
	return nil
}

// leader takes the time from the death of the leader to the first write that is accepted, some times.
func (v *visit) leader(ctx context.Context) error {
	for loss := range (v.losses + v.rounds - 1) / v.rounds {
		took, err := v.loseLeader(ctx, fmt.Sprintf("loss-%d-%d", v.round, loss))
		if err != nil {
			return err
		}
		v.report.add(v.section, rowLeader, v.side, took.Seconds())
	}
	return nil
}
