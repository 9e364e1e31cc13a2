package writer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
)

func write(c *ct.Cluster, p controllers.Plan) []error {
	return c.Writer.Write(context.Background(), "tester", p.Changes)
}

func pod(c *ct.Cluster, name string) *corev1.Pod { return ct.Get[*corev1.Pod](c, name) }

func TestCreateIsLikeTheAPIs(t *testing.T) {
	c := ct.New(t)
	p := ct.Pod("p", nil)
	p.Status.Phase = corev1.PodRunning // only a new object's specification counts
	c.Create(p)
	got := pod(c, "p")
	if got.UID == "" || got.CreationTimestamp.IsZero() || got.Status.Phase != corev1.PodPending || got.Spec.RestartPolicy != corev1.RestartPolicyAlways || got.Generation != 1 {
		t.Errorf("created %+v", got)
	}
	if err := c.Try(controllers.Create, ct.Pod("p", nil), false); !errors.Is(err, ct.ErrNoNamespace) {
		t.Error("created without a namespace")
	}
	again := ct.Pod("p", nil)
	again.Namespace = "default"
	if err := c.Try(controllers.Create, again, false); !errors.Is(err, fsm.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	bad := ct.Pod("bad", nil)
	bad.Namespace = "default"
	bad.Spec.Containers = nil
	if err := c.Try(controllers.Create, bad, false); err == nil {
		t.Error("created a pod without containers")
	}
}

func TestUpdateAndStatusKeepApart(t *testing.T) {
	c := ct.New(t)
	c.Create(ct.Pod("p", nil))
	p := pod(c, "p")
	p.Labels, p.Status.PodIP = map[string]string{"a": "b"}, "10.0.0.1"
	var plan controllers.Plan
	plan.Update("pods", p)
	if errs := write(c, plan); errs[0] != nil || pod(c, "p").Status.PodIP != "" || pod(c, "p").Labels["a"] != "b" {
		t.Fatalf("update: %v %+v", errs, pod(c, "p"))
	}
	p = pod(c, "p")
	p.Labels, p.Status.PodIP = nil, "10.0.0.1"
	plan = controllers.Plan{}
	plan.UpdateStatus("pods", p)
	if errs := write(c, plan); errs[0] != nil || pod(c, "p").Status.PodIP != "10.0.0.1" || pod(c, "p").Labels["a"] != "b" {
		t.Fatalf("status: %v %+v", errs, pod(c, "p"))
	}
}

func TestConflicts(t *testing.T) {
	c := ct.New(t)
	c.Create(ct.Pod("p", nil))
	old := pod(c, "p")
	ct.Edit(c, "p", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} })
	var plan controllers.Plan
	plan.Update("pods", old.DeepCopy())
	plan.UpdateStatus("pods", old.DeepCopy())
	bound := old.DeepCopy()
	bound.Spec.NodeName = "n1"
	plan.Bind(bound)
	plan.Delete("pods", old)
	for i, err := range write(c, plan) {
		if !errors.Is(err, fsm.ErrConflict) {
			t.Errorf("change %d of an old object: %v", i, err)
		}
	}
	c.Delete(pod(c, "p"))
	for i, err := range write(c, plan) {
		if !errors.Is(err, fsm.ErrNotFound) {
			t.Errorf("change %d of an object that is gone: %v", i, err)
		}
	}
}

func TestBindSaysWhen(t *testing.T) {
	c := ct.New(t)
	c.Create(ct.Pod("p", nil))
	p := pod(c, "p")
	p.Spec.NodeName = "n1"
	var plan controllers.Plan
	plan.Bind(p)
	plan.Report("pods", p, corev1.EventTypeNormal, "Scheduled", "to n1")
	if errs := write(c, plan); errs[0] != nil {
		t.Fatal(errs[0])
	}
	p = pod(c, "p")
	cond := p.Status.Conditions[0]
	if p.Spec.NodeName != "n1" || cond.Type != corev1.PodScheduled || cond.Status != corev1.ConditionTrue || cond.LastTransitionTime.IsZero() {
		t.Errorf("node %q, condition %+v", p.Spec.NodeName, cond)
	}
}

func TestDelete(t *testing.T) {
	gone := func(c *ct.Cluster) bool { _, there := ct.Find[*corev1.Pod](c, "p"); return !there }
	cases := map[string]struct {
		node       string
		finalizers []string
		force      bool
		grace      int64 // -1 if it is gone
	}{
		"unbound":              {grace: -1},
		"bound":                {node: "n1", grace: 30},
		"bound, by force":      {node: "n1", force: true, grace: -1},
		"finalizer":            {finalizers: []string{"example.com/x"}, grace: 0},
		"finalizer, by force":  {node: "n1", finalizers: []string{"example.com/x"}, force: true, grace: 0},
		"bound with finalizer": {node: "n1", finalizers: []string{"example.com/x"}, grace: 30},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := ct.New(t)
			p := ct.Pod("p", nil)
			p.Spec.NodeName, p.Finalizers = tc.node, tc.finalizers
			c.Create(p)
			if err := c.Try(controllers.Delete, pod(c, "p"), tc.force); err != nil {
				t.Fatal(err)
			}
			if gone(c) != (tc.grace < 0) {
				t.Fatalf("gone: %t", gone(c))
			}
			if gone(c) {
				return
			}
			got := pod(c, "p")
			if got.DeletionTimestamp == nil || *got.DeletionGracePeriodSeconds != tc.grace || got.Generation != 2 {
				t.Fatalf("marked %v, %v, generation %d", got.DeletionTimestamp, got.DeletionGracePeriodSeconds, got.Generation)
			}
			before := c.Store.View().Revision()
			if err := c.Try(controllers.Delete, got, tc.force); err != nil || c.Store.View().Revision() != before {
				t.Errorf("deleted twice: %v", err)
			}
			ct.Edit(c, "p", func(p *corev1.Pod) { p.Finalizers = nil })
			if gone(c) != (tc.grace == 0) {
				t.Errorf("gone without finalizers: %t", gone(c))
			}
			if !gone(c) {
				if c.Remove(pod(c, "p")); !gone(c) {
					t.Error("still there after its end")
				}
			}
		})
	}
}

func TestEventsAreCounted(t *testing.T) {
	c := ct.New(t)
	c.Create(ct.Pod("p", nil))
	var plan controllers.Plan
	for range 3 {
		plan.Record("pods", pod(c, "p"), corev1.EventTypeWarning, "Odd", "it is odd")
	}
	for round := 1; round <= 2; round++ {
		for _, err := range write(c, plan) {
			if err != nil {
				t.Fatal(err)
			}
		}
		events := ct.List[*corev1.Event](c)
		if len(events) != 1 || events[0].Count != int32(3*round) {
			t.Fatalf("events %+v", events)
		}
	}
	e := ct.List[*corev1.Event](c)[0]
	if e.InvolvedObject.UID != pod(c, "p").UID || e.InvolvedObject.Kind != "Pod" || e.Source.Component != "tester" || e.Reason != "Odd" || e.FirstTimestamp.IsZero() {
		t.Errorf("event %+v", e)
	}
}

func TestOnlyWhatWasDoneIsReported(t *testing.T) {
	c := ct.New(t)
	c.Create(ct.Pod("p", nil))
	old := pod(c, "p")
	ct.Edit(c, "p", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} })
	var plan controllers.Plan
	plan.Delete("pods", old)
	plan.Report("pods", old, corev1.EventTypeNormal, "Deleted", "gone")
	plan.Record("pods", old, corev1.EventTypeNormal, "Tried", "tried")
	errs := write(c, plan)
	events := ct.List[*corev1.Event](c)
	if errs[0] == nil || errs[1] != nil || errs[2] != nil || len(events) != 1 || events[0].Reason != "Tried" {
		t.Fatalf("errors %v, events %v", errs, events)
	}
}

// A namespace that goes takes no events: they would keep it, or outlive it.
func TestNoEventsInTerminatingNamespaces(t *testing.T) {
	c := ct.New(t)
	c.Create(ct.Pod("p", nil))
	c.Delete(ct.Get[*corev1.Namespace](c, "default"))
	var plan controllers.Plan
	plan.Record("pods", pod(c, "p"), corev1.EventTypeNormal, "X", "x")
	if errs := write(c, plan); errs[0] != nil || len(ct.List[*corev1.Event](c)) != 0 {
		t.Errorf("errors %v, events %v", errs, ct.List[*corev1.Event](c))
	}
}

// A batch of any size goes through, in proposals that consensus takes.
func TestLargeBatches(t *testing.T) {
	c := ct.New(t)
	c.Refuse = func(ops []fsm.Op) error {
		size := 0
		for _, op := range ops {
			size += len(op.Raw)
		}
		if size > 4<<20 || len(ops) > 4096 {
			return fmt.Errorf("%d ops of %d bytes are too large", len(ops), size)
		}
		return nil
	}
	var plan controllers.Plan
	for i := range 30 {
		plan.Create("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i), Namespace: "default"},
			Data: map[string]string{"x": strings.Repeat("x", 300_000)}})
	}
	for i := range 3000 {
		plan.Create("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d", i), Namespace: "default"}})
	}
	for i, err := range write(c, plan) {
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
}

func TestProposalThatFails(t *testing.T) {
	c := ct.New(t)
	lost := errors.New("this server leads no more")
	c.Refuse = func([]fsm.Op) error { return lost }
	var plan controllers.Plan
	for i := range 3 {
		plan.Create("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i), Namespace: "default"}})
	}
	plan.Create("widgets", &corev1.ConfigMap{})
	errs := write(c, plan)
	for _, err := range errs[:3] {
		if !errors.Is(err, lost) {
			t.Errorf("error %v", err)
		}
	}
	if !errors.Is(errs[3], fsm.ErrUnknownResource) {
		t.Errorf("error %v", errs[3])
	}
}

// What control loops change of a user's object is theirs; their own objects' owners are not kept.
func TestChangesAreOwned(t *testing.T) {
	c := ct.New(t)
	p := ct.Pod("p", nil)
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes([]byte(`{"f:metadata":{"f:labels":{"f:a":{}}}}`))
	p.Labels = map[string]string{"a": "user"}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "user", Operation: metav1.ManagedFieldsOperationApply,
		APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: fields}}
	c.Create(p)
	c.Create(ct.Pod("own", nil))
	var plan controllers.Plan
	for _, name := range []string{"p", "own"} {
		changed := pod(c, name)
		changed.Labels = map[string]string{"a": "loop"}
		plan.Update("pods", changed)
	}
	if errs := errors.Join(write(c, plan)...); errs != nil {
		t.Fatal(errs)
	}
	changed := pod(c, "p")
	changed.Status.PodIP = "10.0.0.1"
	plan = controllers.Plan{}
	plan.UpdateStatus("pods", changed)
	if errs := errors.Join(write(c, plan)...); errs != nil {
		t.Fatal(errs)
	}
	var got []string
	for _, e := range pod(c, "p").ManagedFields {
		got = append(got, e.Manager+" "+e.Subresource+e.FieldsV1.GetRawString())
	}
	want := []string{`kube-controller-manager {"f:metadata":{"f:labels":{"f:a":{}}}}`, `kube-controller-manager status{"f:status":{"f:podIP":{}}}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m := pod(c, "own").ManagedFields; m != nil {
		t.Errorf("tracked: %v", m)
	}
}
