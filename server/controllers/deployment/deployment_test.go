package deployment_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/deployment"
	"github.com/holt-project/holt/server/controllers/podutil"
	"github.com/holt-project/holt/server/controllers/replicaset"
)

var app = map[string]string{"app": "web"}

func web(replicas int32, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: app}, Template: ct.Template(app, "v1"),
	}}
	for _, f := range change {
		f(d)
	}
	return d
}

func surge(maxSurge, maxUnavailable intstr.IntOrString) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
			RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &maxSurge, MaxUnavailable: &maxUnavailable}}
	}
}

func recreate(d *appsv1.Deployment) {
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
}

// world is a cluster with a Deployment called web, its loops and a kubelet.
type world struct {
	*ct.Cluster
	t     testing.TB
	loops []*ct.Loop // deployment, replicaset
	k     *ct.Kubelet
}

func newWorld(t testing.TB, d *appsv1.Deployment) *world {
	c := ct.New(t)
	c.Now = time.Now().Truncate(time.Second)
	c.Create(d)
	return &world{c, t, c.Loops(deployment.New(), replicaset.New()), c.Kubelet("n1")}
}

func (w *world) settle() {
	w.t.Helper()
	w.Settle(w.k, w.loops...)
}

func (w *world) edit(change func(*appsv1.Deployment)) {
	w.t.Helper()
	ct.Edit(w.Cluster, "web", change)
}

func (w *world) image(image string) {
	w.t.Helper()
	w.edit(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image })
}

func (w *world) get() *appsv1.Deployment { return ct.Get[*appsv1.Deployment](w.Cluster, "web") }

// sizes are the ReplicaSets' sizes by image.
func (w *world) sizes() map[string]int32 {
	sizes := map[string]int32{}
	for _, rs := range ct.List[*appsv1.ReplicaSet](w.Cluster) {
		sizes[rs.Spec.Template.Spec.Containers[0].Image] += *rs.Spec.Replicas
	}
	return sizes
}

func (w *world) set(image string) *appsv1.ReplicaSet {
	w.t.Helper()
	for _, rs := range ct.List[*appsv1.ReplicaSet](w.Cluster) {
		if rs.Spec.Template.Spec.Containers[0].Image == image {
			return rs
		}
	}
	w.t.Fatalf("no ReplicaSet of %s", image)
	return nil
}

func (w *world) condition(kind appsv1.DeploymentConditionType) appsv1.DeploymentCondition {
	for _, c := range w.get().Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return appsv1.DeploymentCondition{}
}

// rolledOut is what kubectl rollout status waits for.
func (w *world) rolledOut() error {
	d := w.get()
	s := d.Status
	switch {
	case d.Generation > s.ObservedGeneration:
		return fmt.Errorf("generation %d is not observed", d.Generation)
	case w.condition(appsv1.DeploymentProgressing).Reason == "ProgressDeadlineExceeded":
		return fmt.Errorf("exceeded its progress deadline")
	case s.UpdatedReplicas < *d.Spec.Replicas:
		return fmt.Errorf("%d of %d updated", s.UpdatedReplicas, *d.Spec.Replicas)
	case s.Replicas > s.UpdatedReplicas:
		return fmt.Errorf("%d old replicas are pending termination", s.Replicas-s.UpdatedReplicas)
	case s.AvailableReplicas < s.UpdatedReplicas:
		return fmt.Errorf("%d of %d available", s.AvailableReplicas, s.UpdatedReplicas)
	}
	return nil
}

func (w *world) done(image string, replicas int32) {
	w.t.Helper()
	w.settle()
	if err := w.rolledOut(); err != nil {
		w.t.Fatalf("rollout: %v; status %+v", err, w.get().Status)
	}
	for have, n := range w.sizes() {
		if (have == image) != (n > 0) || (n > 0 && n != replicas) {
			w.t.Fatalf("sizes %v, want %d of %s", w.sizes(), replicas, image)
		}
	}
	if c := w.condition(appsv1.DeploymentAvailable); c.Status != corev1.ConditionTrue || c.Reason != "MinimumReplicasAvailable" {
		w.t.Fatalf("condition %+v", c)
	}
	w.Idle(w.loops...)
}

func TestCreate(t *testing.T) {
	w := newWorld(t, web(3))
	w.done("v1", 3)
	rs := w.set("v1")
	hash := rs.Labels["pod-template-hash"]
	if rs.Name != "web-"+hash || rs.Spec.Selector.MatchLabels["pod-template-hash"] != hash || rs.Annotations["deployment.kubernetes.io/revision"] != "1" {
		t.Errorf("ReplicaSet %s %v %v", rs.Name, rs.Labels, rs.Annotations)
	}
	if got := w.get().Annotations["deployment.kubernetes.io/revision"]; got != "1" {
		t.Errorf("revision %q", got)
	}
	if c := w.condition(appsv1.DeploymentProgressing); c.Reason != "NewReplicaSetAvailable" || c.Status != corev1.ConditionTrue {
		t.Errorf("condition %+v", c)
	}
}

func TestRollAndRollBack(t *testing.T) {
	w := newWorld(t, web(3))
	w.done("v1", 3)
	w.image("v2")
	w.done("v2", 3)
	w.image("v1") // as kubectl rollout undo patches it
	w.done("v1", 3)
	if n := len(ct.List[*appsv1.ReplicaSet](w.Cluster)); n != 2 {
		t.Fatalf("%d ReplicaSets, want the old one reused", n)
	}
	a := w.set("v1").Annotations
	if a["deployment.kubernetes.io/revision"] != "3" || a["deployment.kubernetes.io/revision-history"] != "1" {
		t.Errorf("annotations %v", a)
	}
	if got := w.get().Annotations["deployment.kubernetes.io/revision"]; got != "3" {
		t.Errorf("the Deployment's revision is %q", got)
	}
}

func TestHistoryLimit(t *testing.T) {
	w := newWorld(t, web(1, func(d *appsv1.Deployment) { d.Spec.RevisionHistoryLimit = ptr.To[int32](2) }))
	for i := 1; i <= 5; i++ {
		w.image(fmt.Sprintf("v%d", i))
		w.done(fmt.Sprintf("v%d", i), 1)
	}
	var kept []string
	for image := range w.sizes() {
		kept = append(kept, image)
	}
	if slices.Sort(kept); !slices.Equal(kept, []string{"v3", "v4", "v5"}) {
		t.Errorf("kept %v", kept)
	}
}

func TestRecreateNeverOverlaps(t *testing.T) {
	w := newWorld(t, web(3, recreate))
	w.done("v1", 3)
	w.image("v2")
	w.k.Slow = true
	w.settle()
	for _, p := range ct.List[*corev1.Pod](w.Cluster) {
		if p.Spec.Containers[0].Image == "v2" {
			t.Fatalf("%s runs beside the old pods", p.Name)
		}
	}
	w.k.Slow = false
	w.done("v2", 3)
	w.edit(func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "v1"
		d.Spec.Replicas = ptr.To[int32](5)
	})
	w.done("v1", 5)
}

func TestRecreateScalesAmidARollout(t *testing.T) {
	w := newWorld(t, web(4, surge(intstr.FromInt32(0), intstr.FromInt32(1))))
	w.done("v1", 4)
	w.k.Sick["v2"] = true
	w.image("v2")
	w.settle() // stuck with pods of both
	w.edit(func(d *appsv1.Deployment) { recreate(d); d.Spec.Replicas = ptr.To[int32](6) })
	w.k.Sick = map[string]bool{}
	w.image("v3")
	w.done("v3", 6)
}

func TestPauseAndResume(t *testing.T) {
	w := newWorld(t, web(3))
	w.done("v1", 3)
	w.edit(func(d *appsv1.Deployment) { d.Spec.Paused = true })
	w.image("v2")
	w.settle()
	w.Idle(w.loops...)
	if got := w.sizes(); len(got) != 1 {
		t.Fatalf("a paused rollout made %v", got)
	}
	if c := w.condition(appsv1.DeploymentProgressing); c.Reason != "DeploymentPaused" || c.Status != corev1.ConditionUnknown {
		t.Errorf("condition %+v", c)
	}
	for _, n := range []int32{5, 0, 2} { // a paused Deployment can be scaled, from nothing too
		w.edit(func(d *appsv1.Deployment) { d.Spec.Replicas = &n })
		w.settle()
		w.Idle(w.loops...)
		if got := w.sizes()["v1"]; got != n {
			t.Fatalf("scaled to %d while paused, want %d", got, n)
		}
	}
	w.edit(func(d *appsv1.Deployment) { d.Spec.Paused = false })
	w.done("v2", 2)
}

func TestScaleTouchesNothingElse(t *testing.T) {
	w := newWorld(t, web(3))
	w.done("v1", 3)
	w.edit(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](5) })
	w.loops[0].Step()
	if c := w.condition(appsv1.DeploymentProgressing); c.Reason != "NewReplicaSetAvailable" {
		t.Errorf("scaling is no rollout, but %+v", c)
	}
	w.done("v1", 5)
	w.edit(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](0) })
	w.settle()
	if err := w.rolledOut(); err != nil || len(ct.List[*corev1.Pod](w.Cluster)) != 0 {
		t.Errorf("scaled to nothing: %v", err)
	}
	w.Idle(w.loops...)
}

// Scaling amid a rollout is spread in proportion over old and new (the example of Kubernetes' documentation).
func TestScalesInProportion(t *testing.T) {
	w := newWorld(t, web(10, surge(intstr.FromInt32(3), intstr.FromInt32(2))))
	w.done("v1", 10)
	w.k.Sick["v2"] = true
	w.image("v2")
	w.settle()
	if got := w.sizes(); got["v1"] != 8 || got["v2"] != 5 {
		t.Fatalf("stuck rollout of sizes %v, want 8 and 5", got)
	}
	w.edit(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](15) })
	w.loops[0].Step()
	if got := w.sizes(); got["v1"] != 11 || got["v2"] != 7 {
		t.Errorf("scaled to %v, want 11 and 7", got)
	}
	w.settle()
	w.Idle(w.loops...)
}

func TestProgressDeadline(t *testing.T) {
	w := newWorld(t, web(2, func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = ptr.To[int32](60) }))
	w.done("v1", 2)
	w.k.Sick["v2"] = true
	w.image("v2")
	w.settle()
	at := w.loops[0].Next()
	if at.IsZero() || at.After(w.Now.Add(time.Minute)) {
		t.Fatalf("the deadline is looked at at %v, now is %v", at, w.Now)
	}
	w.Now = w.Now.Add(61 * time.Second)
	w.settle()
	c := w.condition(appsv1.DeploymentProgressing)
	if c.Status != corev1.ConditionFalse || c.Reason != "ProgressDeadlineExceeded" {
		t.Fatalf("condition %+v", c)
	}
	w.Idle(w.loops...)
	w.image("v3")
	w.done("v3", 2)
}

func TestLostPodHasNoDeadline(t *testing.T) {
	w := newWorld(t, web(2))
	w.done("v1", 2)
	name := ct.List[*corev1.Pod](w.Cluster)[0].Name
	ct.EditStatus(w.Cluster, name, func(p *corev1.Pod) { ct.SetReady(p, false, w.Now) })
	w.settle()
	w.Now = w.Now.Add(time.Hour)
	w.settle()
	if c := w.condition(appsv1.DeploymentProgressing); c.Reason != "NewReplicaSetAvailable" {
		t.Errorf("condition %+v", c)
	}
}

func TestHashCollision(t *testing.T) {
	w := newWorld(t, web(1))
	w.done("v1", 1)
	name := w.set("v1").Name
	w2 := newWorld(t, web(1, func(d *appsv1.Deployment) { d.Spec.Paused = true }))
	other := map[string]string{"app": "other"}
	w2.Create(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.ReplicaSetSpec{
		Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: other}, Template: ct.Template(other, "x")}})
	w2.edit(func(d *appsv1.Deployment) { d.Spec.Paused = false })
	w2.settle()
	if n := w2.get().Status.CollisionCount; n == nil || *n != 1 {
		t.Fatalf("collisions %v", n)
	}
	if err := w2.rolledOut(); err != nil || w2.set("v1").Name == name {
		t.Fatalf("rollout: %v", err)
	}
	w2.Idle(w2.loops...)
}

func TestAdoptsAReplicaSet(t *testing.T) {
	w := newWorld(t, web(2))
	w.done("v1", 2)
	pods := ct.List[*corev1.Pod](w.Cluster)
	rs := w.set("v1").Name
	ct.Edit(w.Cluster, rs, func(rs *appsv1.ReplicaSet) { rs.OwnerReferences = nil })
	w.done("v1", 2)
	if got := ct.List[*corev1.Pod](w.Cluster); got[0].Name != pods[0].Name || len(got) != len(pods) {
		t.Errorf("the pods were replaced")
	}
	if metav1.GetControllerOf(w.set("v1")) == nil {
		t.Error("the orphan was not adopted")
	}
}

func TestMinReadySecondsHoldsTheRolloutBack(t *testing.T) {
	w := newWorld(t, web(3, surge(intstr.FromInt32(1), intstr.FromInt32(0)), func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 10 }))
	w.settle()
	w.Now = w.Now.Add(10 * time.Second)
	w.done("v1", 3)
	w.image("v2")
	for i := range 3 {
		w.settle()
		if got := w.sizes()["v1"]; got != int32(3-i) {
			t.Fatalf("after %d0 s: %v", i, w.sizes())
		}
		w.Now = w.Now.Add(10 * time.Second)
	}
	w.done("v2", 3)
}

func TestUnavailable(t *testing.T) {
	w := newWorld(t, web(2))
	w.k.Sick["v1"] = true
	w.settle()
	if c := w.condition(appsv1.DeploymentAvailable); c.Status != corev1.ConditionFalse || c.Reason != "MinimumReplicasUnavailable" {
		t.Errorf("condition %+v", c)
	}
	if s := w.get().Status; s.UnavailableReplicas != 2 || s.Replicas != 2 || s.UpdatedReplicas != 2 {
		t.Errorf("status %+v", s)
	}
	if !podutil.Active(ct.List[*corev1.Pod](w.Cluster)[0]) {
		t.Error("the pods are gone")
	}
}
