package scheduler_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
)

// However pods and nodes come and go, no node holds more than it has, no required rule is broken by a placement, and no
// pod waits that has a node to go to.
func TestPlacementsAreFeasible(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		pods, nodes := 0, 0
		rt.Repeat(map[string]func(*rapid.T){
			"node": func(rt *rapid.T) {
				effect := rapid.SampledFrom([]corev1.TaintEffect{"", "", "", corev1.TaintEffectNoSchedule}).Draw(rt, "taint")
				z, room := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "zone"), rapid.Int64Range(1, 5).Draw(rt, "room")
				nodes++
				w.node(fmt.Sprint("n", nodes), in(z), func(n *corev1.Node) {
					if effect != "" {
						tainted(effect)(n)
					}
					n.Status.Capacity[corev1.ResourcePods] = *resource.NewQuantity(room, resource.DecimalSI)
				})
			},
			"pods": func(rt *rapid.T) {
				rule := rapid.SampledFrom([]func(*corev1.Pod){func(*corev1.Pod) {}, spread, away("web"), selects("a")}).Draw(rt, "rule")
				for range rapid.IntRange(1, 4).Draw(rt, "n") {
					pods++
					w.pod(fmt.Sprint("p", pods), asks(rapid.SampledFrom([]string{"0", "500m", "2", "5"}).Draw(rt, "cpu")), rule)
				}
			},
			"end": func(rt *rapid.T) {
				if pods == 0 {
					return
				}
				if p, there := ct.Find[*corev1.Pod](w.Cluster, fmt.Sprint("p", rapid.IntRange(1, pods).Draw(rt, "pod"))); there {
					w.Remove(p)
				}
			},
			"": func(rt *rapid.T) {
				w.settle()
				judge(rt, w)
			},
		})
	})
}

func spread(p *corev1.Pod) {
	p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: zone,
		WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
}

func selects(z string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{zone: z} }
}

// judge looks at the cluster with rules of its own.
func judge(rt *rapid.T, w *world) {
	zones, cpu, count := map[string]string{}, map[string]int64{}, map[string]int64{}
	room, taints := map[string]int64{}, map[string]bool{}
	for _, n := range ct.List[*corev1.Node](w.Cluster) {
		zones[n.Name], room[n.Name], taints[n.Name] = n.Labels[zone], n.Status.Allocatable.Pods().Value(), len(n.Spec.Taints) > 0
	}
	perZone := map[string][]*corev1.Pod{}
	var waiting []*corev1.Pod
	for _, p := range ct.List[*corev1.Pod](w.Cluster) {
		n := p.Spec.NodeName
		if n == "" {
			waiting = append(waiting, p)
			continue
		}
		cpu[n] += p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
		count[n]++
		perZone[zones[n]] = append(perZone[zones[n]], p)
		if taints[n] || (p.Spec.NodeSelector[zone] != "" && p.Spec.NodeSelector[zone] != zones[n]) {
			rt.Fatalf("%s is on %s, which it may not be", p.Name, n)
		}
	}
	for n := range count {
		if cpu[n] > 4000 || count[n] > room[n] {
			rt.Fatalf("%s holds %d m and %d pods of %d", n, cpu[n], count[n], room[n])
		}
	}
	for z, pods := range perZone {
		for _, p := range pods {
			if p.Spec.Affinity != nil && len(pods) > 1 {
				rt.Fatalf("%s is not alone in zone %s", p.Name, z)
			}
		}
	}
	for _, p := range waiting {
		if p.Spec.Affinity != nil || p.Spec.TopologySpreadConstraints != nil {
			continue
		}
		for n := range zones {
			free := cpu[n]+p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue() <= 4000 || p.Spec.Containers[0].Resources.Requests.Cpu().IsZero()
			alone := !slices.ContainsFunc(perZone[zones[n]], func(p *corev1.Pod) bool { return p.Spec.Affinity != nil })
			if z := p.Spec.NodeSelector[zone]; free && alone && count[n] < room[n] && !taints[n] && (z == "" || z == zones[n]) {
				rt.Fatalf("%s waits although %s has room", p.Name, n)
			}
		}
	}
}
