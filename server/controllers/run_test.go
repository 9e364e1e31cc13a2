package controllers_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

const configs = "configmaps"

func config(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{}}
}

func key(name string) fsm.Key {
	return fsm.Key{Resource: configs, Namespace: "default", Name: name}
}

// recorder is a controller over ConfigMaps that notes which keys are planned.
type recorder struct {
	mu      sync.Mutex
	planned map[string]int
	at      []time.Time
	plan    func(v fsm.View, k fsm.Key, now time.Time) controllers.Plan
	wake    func() <-chan struct{}
}

func (r *recorder) controller() controllers.Controller {
	return controllers.Controller{
		Name: "recorder", Wake: r.wake,
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{configs: controllers.Self},
		Plan: func(v fsm.View, k fsm.Key, now time.Time) controllers.Plan {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.planned == nil {
				r.planned = map[string]int{}
			}
			r.planned[k.Name]++
			r.at = append(r.at, now)
			if r.plan == nil {
				return controllers.Plan{}
			}
			return r.plan(v, k, now)
		},
	}
}

func (r *recorder) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.planned[name]
}

// times tells when a plan was asked for.
func (r *recorder) times() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.at)
}

// writerFunc is a Writer.
type writerFunc func(changes []controllers.Change) []error

func (f writerFunc) Write(_ context.Context, _ string, changes []controllers.Change) []error {
	return f(changes)
}

// run runs the controller in the bubble for as long as the test.
func run(t *testing.T, c *ct.Cluster, ctl controllers.Controller, w controllers.Writer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); controllers.Run(ctx, ctl, c.Store, w, quiet) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

func TestSweepsAtTheStartAndFollowsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		r := &recorder{}
		run(t, c, r.controller(), c.Writer)
		if r.count("a") != 1 {
			t.Fatalf("planned %v after the start", r.planned)
		}
		c.Create(config("b"))
		synctest.Wait()
		c.Delete(ct.Get[*corev1.ConfigMap](c, "a"))
		synctest.Wait()
		if r.count("a") != 2 || r.count("b") != 1 {
			t.Fatalf("planned %v", r.planned)
		}
	})
}

// What an object was before a change is dirty too: its former owner may have lost something.
func TestMarksWhatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		a := config("a")
		a.Labels = map[string]string{"of": "x"}
		c.Create(a)
		r := &recorder{}
		ctl := r.controller()
		ctl.Watches[configs] = func(_ fsm.View, o *fsm.Object) []fsm.Key { return []fsm.Key{key(o.Value.GetLabels()["of"])} }
		run(t, c, ctl, c.Writer)
		ct.Edit(c, "a", func(c *corev1.ConfigMap) { c.Labels["of"] = "y" })
		synctest.Wait()
		if r.count("x") != 2 || r.count("y") != 1 {
			t.Fatalf("planned %v", r.planned)
		}
	})
}

func TestPlansAgainWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		begin := time.Now()
		r := &recorder{plan: func(_ fsm.View, _ fsm.Key, now time.Time) (p controllers.Plan) {
			if now.Before(begin.Add(time.Hour)) {
				p.At(begin.Add(time.Hour))
				p.At(begin.Add(2 * time.Hour)) // the earlier one counts
			}
			return p
		}}
		run(t, c, r.controller(), c.Writer)
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if r.count("a") != 1 {
			t.Fatalf("planned %d times too early", r.count("a")-1)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if r.count("a") != 2 || !r.times()[1].Equal(begin.Add(time.Hour)) {
			t.Fatalf("planned at %v", r.times())
		}
	})
}

// A timer that a later plan does not ask for any more is forgotten.
func TestStaleTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		first := true
		r := &recorder{plan: func(_ fsm.View, _ fsm.Key, now time.Time) (p controllers.Plan) {
			if first {
				p.At(now.Add(time.Minute))
			}
			first = false
			return p
		}}
		run(t, c, r.controller(), c.Writer)
		ct.Edit(c, "a", func(c *corev1.ConfigMap) { c.Data = map[string]string{"x": "y"} })
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.count("a") != 2 {
			t.Fatalf("planned %d times", r.count("a"))
		}
	})
}

func TestATimeThatHasPassedIsNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		r := &recorder{plan: func(_ fsm.View, _ fsm.Key, now time.Time) (p controllers.Plan) {
			p.At(now.Add(-time.Second))
			return p
		}}
		run(t, c, r.controller(), c.Writer)
		time.Sleep(time.Second)
		if n := r.count("a"); n > 30 {
			t.Fatalf("planned %d times in a second", n)
		}
	})
}

func update(v fsm.View, k fsm.Key) (p controllers.Plan) {
	if o, ok := v.Get(k); ok && o.Value.(*corev1.ConfigMap).Data["done"] == "" {
		next := o.Value.DeepCopyObject().(*corev1.ConfigMap)
		next.Data = maps.Clone(next.Data)
		if next.Data == nil {
			next.Data = map[string]string{}
		}
		next.Data["done"] = "yes"
		p.Update(configs, next)
	}
	return p
}

func TestConflictIsPlannedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		r := &recorder{plan: func(v fsm.View, k fsm.Key, _ time.Time) controllers.Plan { return update(v, k) }}
		interfered := false
		begin := time.Now()
		run(t, c, r.controller(), writerFunc(func(changes []controllers.Change) []error {
			if !interfered {
				interfered = true
				ct.Edit(c, "a", func(c *corev1.ConfigMap) { c.Data = map[string]string{"other": "x"} })
			}
			return c.Writer.Write(t.Context(), "test", changes)
		}))
		if got := ct.Get[*corev1.ConfigMap](c, "a").Data; got["done"] != "yes" || got["other"] != "x" || !time.Now().Equal(begin) {
			t.Fatalf("data %v after %v", got, time.Since(begin))
		}
	})
}

func TestEndlessConflictsAreNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		r := &recorder{plan: func(v fsm.View, k fsm.Key, _ time.Time) controllers.Plan { return update(v, k) }}
		run(t, c, r.controller(), writerFunc(func(changes []controllers.Change) []error { return []error{fsm.ErrConflict} }))
		time.Sleep(10 * time.Minute)
		if n := r.count("a"); n > 50 {
			t.Fatalf("planned %d times in ten minutes", n)
		}
	})
}

// Failures are tried again after pauses that grow with the failures in a row, whatever the number of changes.
func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		broken := errors.New("broken")
		r := &recorder{plan: func(v fsm.View, k fsm.Key, _ time.Time) controllers.Plan {
			p := update(v, k)
			for range 100 {
				p.Record(configs, config("a"), corev1.EventTypeNormal, "X", "x")
			}
			return p
		}}
		var works atomic.Bool
		run(t, c, r.controller(), writerFunc(func(changes []controllers.Change) []error {
			if works.Load() {
				return c.Writer.Write(t.Context(), "test", changes)
			}
			errs := make([]error, len(changes))
			for i := range errs {
				errs[i] = broken
			}
			return errs
		}))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		last := time.Duration(0)
		at := r.times()
		for i := 1; i < len(at); i++ {
			pause := at[i].Sub(at[i-1])
			if i == 1 && pause > 200*time.Millisecond || pause < last || pause > 31*time.Second {
				t.Fatalf("pause %d is %v after %v", i, pause, last)
			}
			last = pause
		}
		works.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if ct.Get[*corev1.ConfigMap](c, "a").Data["done"] != "yes" {
			t.Fatal("not tried again")
		}
	})
}

// When the events that a loop has not seen are gone, it sweeps again.
func TestCompactionLeadsToASweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		gate := make(chan struct{})
		r := &recorder{}
		ctl := r.controller()
		plan := ctl.Plan
		ctl.Plan = func(v fsm.View, k fsm.Key, now time.Time) controllers.Plan {
			<-gate
			return plan(v, k, now)
		}
		run(t, c, ctl, c.Writer)
		c.Create(config("missed"))
		for i := range 3 * fsm.DefaultEventLog {
			ct.Edit(c, "a", func(c *corev1.ConfigMap) { c.Data = map[string]string{"i": string(rune('a'+i%26)) + "x"} })
		}
		close(gate)
		synctest.Wait()
		if r.count("missed") != 1 {
			t.Fatalf("planned %v", r.planned)
		}
	})
}

func TestWakeMarksEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ct.New(t)
		c.Create(config("a"))
		var mu sync.Mutex
		changed := make(chan struct{})
		r := &recorder{wake: func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			return changed
		}}
		run(t, c, r.controller(), c.Writer)
		for want := 2; want < 5; want++ {
			mu.Lock()
			close(changed)
			changed = make(chan struct{})
			mu.Unlock()
			synctest.Wait()
			if n := r.count("a"); n != want {
				t.Fatalf("planned %d times, want %d", n, want)
			}
		}
	})
}

func TestStartsAndStopsAHundredTimes(t *testing.T) {
	c := ct.New(t)
	c.Create(config("a"))
	never := make(chan struct{})
	for range 100 {
		r := &recorder{wake: func() <-chan struct{} { return never }}
		ctx, cancel := context.WithCancel(t.Context())
		planned := make(chan struct{}, 1)
		r.plan = func(fsm.View, fsm.Key, time.Time) controllers.Plan {
			planned <- struct{}{}
			return controllers.Plan{}
		}
		done := make(chan struct{})
		go func() { defer close(done); controllers.Run(ctx, r.controller(), c.Store, c.Writer, quiet) }()
		<-planned
		cancel()
		<-done
	}
}
