package replicaset_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/server/controllers"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/podutil"
	"github.com/holt-project/holt/server/controllers/replicaset"
)

var app = map[string]string{"app": "web"}

func set(name string, replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.ReplicaSetSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: app}, Template: ct.Template(app, "app"),
	}}
}

func active(c *ct.Cluster) (names []string) {
	for _, p := range ct.List[*corev1.Pod](c) {
		if podutil.Active(p) {
			names = append(names, p.Name)
		}
	}
	return names
}

func TestConverges(t *testing.T) {
	c := ct.New(t)
	c.Create(set("web", 3))
	rs := c.Loop(replicaset.New())
	k := c.Kubelet("n1")
	c.Settle(k, rs)
	s := ct.Get[*appsv1.ReplicaSet](c, "web").Status
	if s.Replicas != 3 || s.ReadyReplicas != 3 || s.AvailableReplicas != 3 || s.FullyLabeledReplicas != 3 || s.ObservedGeneration != 1 {
		t.Fatalf("status %+v", s)
	}
	c.Idle(rs)
	ct.Edit(c, "web", func(rs *appsv1.ReplicaSet) { rs.Spec.Replicas = ptr.To[int32](1) })
	c.Settle(k, rs)
	if got := ct.List[*corev1.Pod](c); len(got) != 1 {
		t.Fatalf("%d pods after scaling to 1", len(got))
	}
	for _, e := range ct.List[*corev1.Event](c) {
		if e.Count != 1 {
			t.Errorf("event %s %q counts %d", e.Reason, e.Message, e.Count)
		}
	}
	c.Idle(rs)
}

// From any set of pods, whoever owns them and however they are, a ReplicaSet comes to its replicas, and is never taken
// below them by its own controller.
func TestConvergesFromAnyState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := ct.New(rt)
		want := rapid.Int32Range(0, 6).Draw(rt, "replicas")
		c.Create(set("web", want))
		owner := *metav1.NewControllerRef(ct.Get[*appsv1.ReplicaSet](c, "web"), appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))
		for i := range rapid.IntRange(0, 8).Draw(rt, "pods") {
			p := ct.Pod(fmt.Sprintf("p%d", i), map[string]string{"app": rapid.SampledFrom([]string{"web", "other"}).Draw(rt, "label")})
			if rapid.Bool().Draw(rt, "owned") {
				p.OwnerReferences = []metav1.OwnerReference{owner}
			}
			p.Spec.NodeName = rapid.SampledFrom([]string{"", "n1"}).Draw(rt, "node")
			c.Create(p)
			phase := rapid.SampledFrom([]corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodFailed}).Draw(rt, "phase")
			ct.EditStatus(c, p.Name, func(p *corev1.Pod) {
				p.Status.Phase = phase
				ct.SetReady(p, phase == corev1.PodRunning, c.Time())
			})
			if rapid.IntRange(0, 4).Draw(rt, "deleted") == 0 {
				c.Delete(ct.Get[*corev1.Pod](c, p.Name))
			}
		}
		k, rs := c.Kubelet("n1"), c.Loop(replicaset.New())
		for range 5 {
			before := len(mine(c))
			rs.Step()
			if after := len(mine(c)); after < before && after < int(want) {
				rt.Fatalf("%d pods of %d, and there were %d", after, want, before)
			}
		}
		c.Settle(k, rs)
		if got := len(mine(c)); got != int(want) {
			rt.Fatalf("%d active pods, want %d", got, want)
		}
		c.Idle(rs)
	})
}

// mine are the active pods that the ReplicaSet owns and selects.
func mine(c *ct.Cluster) (pods []*corev1.Pod) {
	for _, p := range ct.List[*corev1.Pod](c) {
		if podutil.Active(p) && metav1.GetControllerOf(p) != nil && p.Labels["app"] == "web" {
			pods = append(pods, p)
		}
	}
	return pods
}

func TestAdoptsInsteadOfCreating(t *testing.T) {
	c := ct.New(t)
	for i := range 3 {
		c.Create(ct.Pod(fmt.Sprintf("orphan%d", i), app))
	}
	c.Create(set("web", 3))
	rs := c.Loop(replicaset.New())
	c.Settle(c.Kubelet("n1"), rs)
	if got := active(c); !slices.Equal(got, []string{"orphan0", "orphan1", "orphan2"}) {
		t.Fatalf("pods %v: the orphans are enough", got)
	}
	for _, e := range ct.List[*corev1.Event](c) {
		t.Errorf("unexpected event %s: %s", e.Reason, e.Message)
	}
}

func TestReleasesWhatItNoLongerSelects(t *testing.T) {
	c := ct.New(t)
	c.Create(set("web", 2))
	rs, k := c.Loop(replicaset.New()), c.Kubelet("n1")
	c.Settle(k, rs)
	away := active(c)[0]
	ct.Edit(c, away, func(p *corev1.Pod) { p.Labels = map[string]string{"app": "debug"} })
	c.Settle(k, rs)
	if p := ct.Get[*corev1.Pod](c, away); len(p.OwnerReferences) != 0 {
		t.Errorf("%s still has owners %v", away, p.OwnerReferences)
	}
	if n := len(active(c)); n != 3 {
		t.Errorf("%d pods, want the released one and 2", n)
	}
}

func TestReplacesEndedAndDeletedPods(t *testing.T) {
	c := ct.New(t)
	c.Create(set("web", 2))
	rs, k := c.Loop(replicaset.New()), c.Kubelet("n1")
	c.Settle(k, rs)
	pods := active(c)
	ct.EditStatus(c, pods[0], func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
	c.Delete(ct.Get[*corev1.Pod](c, pods[1]))
	k.Slow = true
	c.Settle(k, rs)
	if n := len(active(c)); n != 2 {
		t.Errorf("%d active pods, want 2 beside the failed and the terminating one", n)
	}
}

func TestNameThatIsTaken(t *testing.T) {
	c := ct.New(t)
	c.Create(set("web", 1))
	rs := ct.Get[*appsv1.ReplicaSet](c, "web")
	ref := *metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))
	v := c.Store.View()
	c.Create(ct.Pod(podutil.GeneratedName(ref, v.Revision()+1, 0), nil)) // the first choice of the view after this
	loop := c.Loop(replicaset.New())
	loop.Step()
	if len(loop.Errs) > 0 || len(active(c)) != 2 {
		t.Fatalf("pods %v, errors %v", active(c), loop.Errs)
	}
}

func TestNothingIsSaidOfPodsThatWereNotMade(t *testing.T) {
	c := ct.New(t)
	c.Create(set("web", 2))
	c.Delete(ct.Get[*corev1.Namespace](c, "default"))
	rs := c.Loop(replicaset.New())
	rs.Step()
	if len(rs.Errs) != 2 || len(ct.List[*corev1.Event](c)) != 0 {
		t.Fatalf("errors %v, events %v", rs.Errs, ct.List[*corev1.Event](c))
	}
}

func TestMinReadySeconds(t *testing.T) {
	c := ct.New(t)
	c.Now = time.Now().Truncate(time.Second)
	web := set("web", 1)
	web.Spec.MinReadySeconds = 30
	c.Create(web)
	rs, k := c.Loop(replicaset.New()), c.Kubelet("n1")
	c.Settle(k, rs)
	if s := ct.Get[*appsv1.ReplicaSet](c, "web").Status; s.ReadyReplicas != 1 || s.AvailableReplicas != 0 {
		t.Fatalf("status %+v before the pod was ready long enough", s)
	}
	if at := rs.Next(); !at.Equal(c.Now.Add(30 * time.Second)) {
		t.Fatalf("planned again at %v, now is %v", at, c.Now)
	}
	c.Now = rs.Next()
	c.Settle(k, rs)
	if s := ct.Get[*appsv1.ReplicaSet](c, "web").Status; s.AvailableReplicas != 1 {
		t.Fatalf("status %+v after 30 seconds", s)
	}
	c.Idle(rs)
}

// The pods are listed in the order in which they are to go.
func TestVictimOrder(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	type pod struct {
		name, node string
		phase      corev1.PodPhase
		ready      bool
		since      time.Duration
		cost       string
		restarts   int32
	}
	cases := map[string][]pod{
		"unplaced, pending, unready, ready": {
			{name: "z"}, {name: "y", node: "a"}, {name: "x", node: "b", phase: corev1.PodRunning},
			{name: "w", node: "c", phase: corev1.PodRunning, ready: true}},
		"cost": {
			{name: "z", node: "a", phase: corev1.PodRunning, ready: true, cost: "-5"},
			{name: "y", node: "b", phase: corev1.PodRunning, ready: true},
			{name: "x", node: "c", phase: corev1.PodRunning, ready: true, cost: "10"}},
		"crowded node first": {
			{name: "y", node: "a", phase: corev1.PodRunning, ready: true},
			{name: "z", node: "a", phase: corev1.PodRunning, ready: true},
			{name: "zz", node: "b", phase: corev1.PodRunning, ready: true}},
		"ready for a shorter time": {
			{name: "z", node: "a", phase: corev1.PodRunning, ready: true, since: time.Minute},
			{name: "y", node: "b", phase: corev1.PodRunning, ready: true, since: time.Hour}},
		"more restarts": {
			{name: "z", node: "a", phase: corev1.PodRunning, ready: true, restarts: 3},
			{name: "y", node: "b", phase: corev1.PodRunning, ready: true}},
	}
	for name, order := range cases {
		t.Run(name, func(t *testing.T) {
			c := ct.New(t)
			c.Create(set("web", int32(len(order)-1)))
			for _, p := range order {
				obj := ct.Pod(p.name, app)
				obj.Spec.NodeName = p.node
				if p.cost != "" {
					obj.Annotations = map[string]string{"controller.kubernetes.io/pod-deletion-cost": p.cost}
				}
				c.Create(obj)
				ct.EditStatus(c, p.name, func(obj *corev1.Pod) {
					if p.phase != "" {
						obj.Status.Phase = p.phase
					}
					obj.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", RestartCount: p.restarts}}
					ct.SetReady(obj, p.ready, now.Add(-p.since))
				})
			}
			rs := c.Loop(replicaset.New())
			var gone []string
			for n := len(order) - 1; n >= 0; n-- {
				ct.Edit(c, "web", func(rs *appsv1.ReplicaSet) { rs.Spec.Replicas = ptr.To(int32(n)) })
				for range 3 {
					for _, ch := range rs.Step() {
						if ch.Verb == controllers.Delete {
							gone = append(gone, ch.Object.GetName())
						}
					}
				}
			}
			var want []string
			for _, p := range order {
				want = append(want, p.name)
			}
			if !slices.Equal(gone, want) {
				t.Errorf("went in the order %v, want %v", gone, want)
			}
		})
	}
}

func TestManyReplicasComeInBursts(t *testing.T) {
	c := ct.New(t)
	c.Create(set("web", 1100))
	rs := c.Loop(replicaset.New())
	creates := 0
	for _, ch := range rs.Step() {
		if ch.Verb == controllers.Create && strings.HasPrefix(ch.Object.GetName(), "web-") {
			creates++
		}
	}
	c.Settle(nil, rs)
	if creates != 500 || len(active(c)) != 1100 {
		t.Fatalf("%d in the first step, %d in the end", creates, len(active(c)))
	}
}
