package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/e2e/torture/check"
	"github.com/holt-project/holt/e2e/torture/fault"
	"github.com/holt-project/holt/e2e/torture/history"
	"github.com/holt-project/holt/e2e/torture/load"
	"github.com/holt-project/holt/internal/client"
)

// Options describe a run.
type Options struct {
	// Seed makes the schedule of faults, and what the clients do.
	Seed uint64
	// For is how long faults are made, unless Rounds is positive: then all servers are killed so many times.
	For    time.Duration
	Rounds int
	// Only is the one kind of fault that is made; "" for all kinds.
	Only string
	// Log gets what is done. Not nil.
	Log *slog.Logger
}

// Bounds of what a run waits for: generous, as test machines are busy and an outage is no violation.
const (
	mendTimeout  = 5 * time.Minute
	watchTimeout = 3 * time.Minute
	// reviveEvery is how often it is looked whether all servers run, while they are waited for.
	reviveEvery = 5 * time.Second
)

// stepsBetweenDigests is how often the servers' states are compared during a mixed run.
const stepsBetweenDigests = 10

// trial is one run.
type trial struct {
	Options
	cluster  *harness.Cluster
	recorder *history.Recorder
	faults   *fault.Injector
	load     *load.Load
	steps    int
	digests  int
}

// Run tortures a cluster of servers that nobody else uses, and judges what happened. An error means that there is no
// judgement, or that the cluster did not come back.
func Run(ctx context.Context, c *harness.Cluster, o Options) (*Report, error) {
	t := &trial{Options: o, cluster: c, recorder: history.NewRecorder()}
	var err error
	if t.faults, err = fault.New(ctx, c, t.recorder.Started, o.Log); err != nil {
		return nil, err
	}
	start, err := t.prepare(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	t.load = load.Start(ctx, o.Seed, start, t.clients(), t.recorder)
	suffered := t.suffer(ctx)
	t.load.StopCalls()
	end, err := t.settle(ctx)
	took := time.Since(begun)
	h := t.recorder.History()
	h.Seed, h.Start, h.End = o.Seed, start, end
	r := &Report{
		Seed: o.Seed, Took: took, Steps: t.steps, Digests: t.digests, Faults: t.faults.Counts(), Ended: t.faults.Ended(),
		History: h, Result: check.History(h),
	}
	return r, errors.Join(suffered, err)
}

func (t *trial) clients() map[string]*client.Client {
	out := map[string]*client.Client{}
	for _, s := range t.cluster.Servers() {
		out[s.Name] = t.cluster.At(s.Name)
	}
	return out
}

// prepare makes the namespace, and returns a revision at which it is there and empty.
func (t *trial) prepare(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	if _, err := t.cluster.AwaitSameState(ctx); err != nil {
		return 0, err
	}
	if err := t.cluster.NewNamespace(ctx, load.Namespace); err != nil {
		return 0, err
	}
	return t.revision(ctx)
}

func (t *trial) revision(ctx context.Context) (uint64, error) {
	list, err := harness.List[corev1.ConfigMapList](ctx, t.cluster.API, harness.ConfigMaps, load.Namespace, "")
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(list.ResourceVersion, 10, 64)
}

// suffer carries out the schedule.
func (t *trial) suffer(ctx context.Context) error {
	if t.Rounds > 0 {
		return t.blackouts(ctx)
	}
	schedule, err := fault.Mixed(t.Seed, len(t.cluster.Servers()), t.Only)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.For)
	defer cancel()
	for ctx.Err() == nil {
		if err := t.faults.Carry(ctx, schedule.Next()); err != nil {
			return err
		}
		t.steps++
		if t.steps%stepsBetweenDigests == 0 {
			if err := t.compare(context.WithoutCancel(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}

// blackouts kills all servers, as often as was asked for; after each time all must come back to one state.
func (t *trial) blackouts(ctx context.Context) error {
	schedule := fault.Blackouts(t.Seed, len(t.cluster.Servers()))
	for t.steps < t.Rounds && ctx.Err() == nil {
		if err := t.faults.Carry(ctx, schedule.Next()); err != nil {
			return err
		}
		t.steps++
		if err := t.compare(ctx); err != nil {
			return fmt.Errorf("after blackout %d: %w", t.steps, err)
		}
	}
	return ctx.Err()
}

// compare waits until all servers have one state, while nobody writes.
func (t *trial) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	return t.load.Quiet(func() error {
		return harness.Await(ctx, "all servers are back", func(ctx context.Context) error {
			if err := t.faults.Revive(ctx); err != nil {
				return err
			}
			patient, cancel := context.WithTimeout(ctx, reviveEvery)
			defer cancel()
			status, err := t.cluster.AwaitSameState(patient)
			if err == nil {
				t.digests++
				t.Log.Info("the states are equal", "revision", status.Revision, "digest", status.Digest, "calls", t.recorder.Count())
			}
			return err
		})
	})
}

// settle brings a run to its end: everything is read once more on every server, and the watchers catch up. It returns
// the last revision. The watchers are joined also after an error.
func (t *trial) settle(ctx context.Context) (end uint64, err error) {
	if err = t.compare(ctx); err == nil {
		end, err = t.readAll(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	if err != nil {
		cancel()
	}
	t.load.Finish(bounded, end)
	if err == nil && bounded.Err() != nil {
		err = fmt.Errorf("the watchers have not come to revision %d in %s: %w", end, watchTimeout, bounded.Err())
	}
	return end, err
}

// readAll reads everything on every server, and returns the revision then.
func (t *trial) readAll(ctx context.Context) (end uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	err = harness.Await(ctx, "everything is read", func(ctx context.Context) error {
		if err := t.load.ReadAll(ctx); err != nil {
			return err
		}
		var err error
		end, err = t.revision(ctx)
		return err
	})
	return end, err
}
