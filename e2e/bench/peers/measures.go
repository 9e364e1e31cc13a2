package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/holt-project/holt/e2e/bench/peers/work"
)

// steadyChanges a second are what the time to a delivery is taken at: well below what either side can do.
const steadyChanges = 50

// What is worked on.
var (
	allPods  = work.InNamespace(podSpace, "pods", "pod-")
	working  = work.InNamespace(workSpace, "configmaps", "work-")
	changing = work.InNamespace(watchSpace, "configmaps", "change-")
)

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

func (b *bench) wants(name string) bool { return len(b.only) == 0 || slices.Contains(b.only, name) }

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
	if err := v.fill(ctx, int64(v.pods), allPods.CreatePod); err != nil {
		return err
	}
	for _, t := range []struct{ row, accept string }{{rowListJSON, work.JSON}, {rowListProtobuf, work.Protobuf}} {
		l, err := v.load.List(ctx, allPods.List(t.accept))
		if err != nil {
			return err
		}
		v.report.add(v.section, t.row, v.side, l.Median.Seconds())
		v.cpu(t.row, l.Rate)
		v.report.size(t.row, v.side, l.Size)
	}
	return nil
}

// fill creates count objects as fast as it goes.
func (v *visit) fill(ctx context.Context, count int64, request func(n int64) work.Request) error {
	load := v.load
	load.WarmUp, load.Window = 0, patience // it ends with the last of them
	_, _, err := load.Run(ctx, count, does(request))
	return err
}

// does makes the calls that send the n-th request.
func does(request func(n int64) work.Request) func(context.Context, *work.Client, int64) error {
	return func(ctx context.Context, c *work.Client, n int64) error {
		_, err := c.Do(ctx, request(n))
		return err
	}
}

// watched takes the memory while the pods that were listed are watched.
func (v *visit) watched(ctx context.Context) error {
	if !v.wants("list") { // which creates them
		if err := v.list(ctx); err != nil {
			return err
		}
	}
	w, err := work.Watch(ctx, v.load.Clients, allPods, v.watches, func(int, int64) {})
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
	v.cpu(row, r)
}

func (v *visit) cpu(row string, r work.Rate) {
	v.report.add(v.section, row+rowCPU, v.side, r.Each(r.CPU))
	v.report.add(v.section, row+rowClient, v.side, r.Each(r.Client))
}

func (v *visit) create(ctx context.Context) error {
	r, begun, err := v.load.Run(ctx, math.MaxInt64, does(working.CreateConfigMap))
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
	v.configMaps = enough
	return v.fill(ctx, enough, working.CreateConfigMap)
}

func (v *visit) get(ctx context.Context) error {
	if err := v.some(ctx); err != nil {
		return err
	}
	r, _, err := v.load.Run(ctx, math.MaxInt64, does(func(n int64) work.Request { return working.Get(n % v.configMaps) }))
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
		r, _, err := load.Run(ctx, kind.limit, does(kind.request))
		if err != nil {
			return err
		}
		v.rate(kind.row, r)
	}
	return nil
}

func (v *visit) watch(ctx context.Context) error {
	d, err := v.load.Deliver(ctx, changing, v.watches, steadyChanges)
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
