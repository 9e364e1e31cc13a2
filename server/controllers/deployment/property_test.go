package deployment_test

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/server/controllers"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/deployment"
	"github.com/holt-project/holt/server/controllers/podutil"
	"github.com/holt-project/holt/server/controllers/replicaset"
)

// Whatever users, nodes and the order of steps do, the controllers never take a rollout above replicas+maxSurge pods
// nor below replicas-maxUnavailable available ones; and in the end there is what was asked for.
func TestRolloutStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		maxSurge := rapid.Int32Range(0, 3).Draw(rt, "surge")
		maxUnavailable := rapid.Int32Range(0, 3).Draw(rt, "unavailable")
		if maxSurge == 0 {
			maxUnavailable = max(1, maxUnavailable)
		}
		c := ct.New(rt)
		c.Now = time.Now().Truncate(time.Second)
		replicas := rapid.Int32Range(0, 6).Draw(rt, "replicas")
		c.Create(web(replicas, surge(intstr.FromInt32(maxSurge), intstr.FromInt32(maxUnavailable))))
		d, rs, k := c.Loop(deployment.New()), c.Loop(replicaset.New()), c.Kubelet("n1")
		m := &machine{rt, c, d, rs, k, maxSurge, maxUnavailable}
		m.settleSizes(m.bounded)
		rt.Repeat(map[string]func(*rapid.T){
			"deployment": func(*rapid.T) { m.bounded() },
			"replicaset": func(*rapid.T) { m.exact() },
			"kubelet":    m.kubelet,
			"flap":       m.flap,
			"template": func(rt *rapid.T) {
				image := rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(rt, "image")
				m.edit(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image })
			},
			"scale": func(rt *rapid.T) {
				n := rapid.Int32Range(0, 6).Draw(rt, "to")
				m.scale(n)
			},
			"pause": func(rt *rapid.T) {
				paused := rapid.Bool().Draw(rt, "paused")
				m.edit(func(d *appsv1.Deployment) { d.Spec.Paused = paused })
			},
		})
		m.edit(func(d *appsv1.Deployment) { d.Spec.Paused = false })
		for range 3 { // whoever flapped becomes ready again
			c.Settle(k, d, rs)
			for _, p := range m.pods() {
				ct.EditStatus(c, p.Name, func(p *corev1.Pod) { ct.SetReady(p, true, c.Now) })
			}
		}
		c.Settle(k, d, rs)
		m.complete()
		c.Idle(d, rs)
	})
}

type machine struct {
	rt                       *rapid.T
	c                        *ct.Cluster
	d, rs                    *ct.Loop
	k                        *ct.Kubelet
	maxSurge, maxUnavailable int32
}

func (m *machine) get() *appsv1.Deployment { return ct.Get[*appsv1.Deployment](m.c, "web") }

// edit changes the Deployment and lets its controller react.
func (m *machine) edit(change func(*appsv1.Deployment)) {
	ct.Edit(m.c, "web", change)
	m.settleSizes(m.bounded)
}

// scale is edit for the size: what was within the bounds of the old one may be beyond those of the new one.
func (m *machine) scale(n int32) {
	ct.Edit(m.c, "web", func(d *appsv1.Deployment) { d.Spec.Replicas = &n })
	m.settleSizes(m.d.Step)
}

func (m *machine) settleSizes(step func() []controllers.Change) {
	for range 50 {
		if len(step()) == 0 {
			return
		}
	}
	m.rt.Fatalf("the deployment controller does not come to rest")
}

func (m *machine) pods() (pods []*corev1.Pod) {
	for _, p := range ct.List[*corev1.Pod](m.c) {
		if podutil.Active(p) {
			pods = append(pods, p)
		}
	}
	return pods
}

// promised counts the pods that there may be, and those that will be available in any case, once all ReplicaSets have
// come to their sizes.
func (m *machine) promised() (most, available int32) {
	for _, rs := range ct.List[*appsv1.ReplicaSet](m.c) {
		var has, ready int32
		for _, p := range m.pods() {
			if metav1.IsControlledBy(p, rs) {
				has++
				if podutil.Ready(p) {
					ready++
				}
			}
		}
		most, available = most+max(has, *rs.Spec.Replicas), available+min(ready, *rs.Spec.Replicas)
	}
	return most, available
}

// bounded lets the deployment controller step and judges the sizes that it gave.
func (m *machine) bounded() []controllers.Change {
	mostBefore, availableBefore := m.promised()
	changes := m.d.Step()
	most, available := m.promised()
	want := *m.get().Spec.Replicas
	if most > mostBefore && most > want+m.maxSurge {
		m.rt.Fatalf("%d pods, and before %d, of %d with surge %d", most, mostBefore, want, m.maxSurge)
	}
	if available < availableBefore && available < want-m.maxUnavailable {
		m.rt.Fatalf("%d available pods, and before %d, of %d with %d unavailable", available, availableBefore, want, m.maxUnavailable)
	}
	return changes
}

// exact lets the ReplicaSets' controller step: it keeps what the sizes promise.
func (m *machine) exact() {
	mostBefore, availableBefore := m.promised()
	m.rs.Step()
	if most, available := m.promised(); most > mostBefore || available < availableBefore {
		m.rt.Fatalf("%d pods with %d available after a step, and %d with %d promised before", most, available, mostBefore, availableBefore)
	}
}

func (m *machine) kubelet(rt *rapid.T) {
	if all := ct.List[*corev1.Pod](m.c); len(all) > 0 {
		m.k.Turn(all[rapid.IntRange(0, len(all)-1).Draw(rt, "pod")])
	}
}

// flap makes a running pod ready or not.
func (m *machine) flap(rt *rapid.T) {
	var running []string
	for _, p := range m.pods() {
		if p.Status.PodIP != "" {
			running = append(running, p.Name)
		}
	}
	if len(running) == 0 {
		return
	}
	name := rapid.SampledFrom(running).Draw(rt, "pod")
	ct.EditStatus(m.c, name, func(p *corev1.Pod) { ct.SetReady(p, !podutil.Ready(p), m.c.Now) })
}

func (m *machine) complete() {
	d := m.get()
	image := d.Spec.Template.Spec.Containers[0].Image
	active := int32(len(m.pods()))
	if active != *d.Spec.Replicas {
		m.rt.Fatalf("%d pods in the end, want %d", active, *d.Spec.Replicas)
	}
	for _, p := range m.pods() {
		if p.Spec.Containers[0].Image != image {
			m.rt.Fatalf("%s still runs %s, want %s", p.Name, p.Spec.Containers[0].Image, image)
		}
	}
	if s := d.Status; s.ObservedGeneration != d.Generation || s.UpdatedReplicas != active || s.Replicas != active {
		m.rt.Fatalf("status %+v", s)
	}
}

// Recreate never lets pods of two templates run at the same time.
func TestRecreateProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := ct.New(rt)
		c.Now = time.Now().Truncate(time.Second)
		c.Create(web(rapid.Int32Range(1, 4).Draw(rt, "replicas"), recreate))
		d, rs, k := c.Loop(deployment.New()), c.Loop(replicaset.New()), c.Kubelet("n1")
		m := &machine{rt, c, d, rs, k, 0, 0}
		rt.Repeat(map[string]func(*rapid.T){
			"deployment": func(*rapid.T) { d.Step() },
			"replicaset": func(*rapid.T) { rs.Step() },
			"kubelet":    m.kubelet,
			"template": func(rt *rapid.T) {
				image := rapid.SampledFrom([]string{"v1", "v2"}).Draw(rt, "image")
				ct.Edit(c, "web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image })
			},
			"scale": func(rt *rapid.T) {
				n := rapid.Int32Range(0, 4).Draw(rt, "to")
				m.scale(n)
			},
			"": func(rt *rapid.T) {
				images := map[string]bool{}
				for _, p := range ct.List[*corev1.Pod](c) {
					images[p.Spec.Containers[0].Image] = true
				}
				if len(images) > 1 {
					rt.Fatalf("pods of %v at the same time", images)
				}
			},
		})
		c.Settle(k, d, rs)
		m.complete()
		c.Idle(d, rs)
	})
}
