package scheduler_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/server/controllers"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/scheduler"
)

const zone = corev1.LabelTopologyZone

type world struct {
	*ct.Cluster
	t    ct.TB
	loop *ct.Loop
}

func newWorld(t ct.TB) *world {
	c := ct.New(t)
	c.Now = time.Now().Truncate(time.Second)
	return &world{c, t, c.Loop(scheduler.New())}
}

func (w *world) node(name string, change ...func(*corev1.Node)) {
	w.t.Helper()
	n := ct.Node(name, 10, w.Now)
	for _, f := range change {
		f(n)
	}
	w.Create(n)
}

func (w *world) pod(name string, change ...func(*corev1.Pod)) {
	w.t.Helper()
	p := ct.Pod(name, map[string]string{"app": "web"})
	for _, f := range change {
		f(p)
	}
	w.Create(p)
}

func (w *world) settle() {
	w.t.Helper()
	w.Settle(nil, w.loop)
	w.Idle(w.loop)
}

func (w *world) on(pod string) string {
	w.t.Helper()
	return ct.Get[*corev1.Pod](w.Cluster, pod).Spec.NodeName
}

// want checks where pods are: "" is nowhere.
func (w *world) want(where map[string]string) {
	w.t.Helper()
	w.settle()
	for pod, node := range where {
		if got := w.on(pod); got != node {
			w.t.Fatalf("%s is on %q, want %q", pod, got, node)
		}
	}
}

func (w *world) why(pod string) corev1.PodCondition {
	for _, c := range ct.Get[*corev1.Pod](w.Cluster, pod).Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return c
		}
	}
	return corev1.PodCondition{}
}

func (w *world) says(pod, message string) {
	w.t.Helper()
	w.settle()
	if c := w.why(pod); c.Status != corev1.ConditionFalse || c.Reason != "Unschedulable" || c.Message != message {
		w.t.Fatalf("%s: %s %s %q, want %q", pod, c.Status, c.Reason, c.Message, message)
	}
}

func asks(cpu string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
}

func tainted(effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "k", Value: "v", Effect: effect}} }
}

func in(z string) func(*corev1.Node) { return func(n *corev1.Node) { n.Labels[zone] = z } }

func TestBindsAndSaysSo(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.pod("p")
	w.want(map[string]string{"p": "n1"})
	if c := w.why("p"); c.Status != corev1.ConditionTrue {
		t.Errorf("condition %+v", c)
	}
	events := ct.List[*corev1.Event](w.Cluster)
	if len(events) != 1 || events[0].Reason != "Scheduled" || events[0].Message != "Successfully assigned default/p to n1" {
		t.Errorf("events %v", events)
	}
}

func TestUnschedulableIsSaidOnceAndTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.pod("p", asks("3"))
	w.says("p", "no nodes available to schedule pods")
	w.node("n1", tainted(corev1.TaintEffectNoSchedule))
	w.node("n2", func(n *corev1.Node) { n.Status.Capacity[corev1.ResourceCPU] = resource.MustParse("1") })
	w.node("n3", func(n *corev1.Node) { n.Status.Capacity[corev1.ResourceCPU] = resource.MustParse("2") })
	w.says("p", "0/3 nodes are available: 2 Insufficient cpu, 1 node(s) had untolerated taint {k: v}.")
	for i := range 5 { // what does not help is not written down
		ct.Edit(w.Cluster, "n1", func(n *corev1.Node) { n.Labels["i"] = fmt.Sprint(i) })
		w.settle()
	}
	for _, e := range ct.List[*corev1.Event](w.Cluster) {
		if e.Reason != "FailedScheduling" || e.Count != 1 || e.Type != corev1.EventTypeWarning {
			t.Errorf("event %s %q counts %d", e.Reason, e.Message, e.Count)
		}
	}
	w.node("n4")
	w.want(map[string]string{"p": "n4"})
}

func TestRoomThatIsGivenBack(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.pod("first", asks("3"))
	w.settle()
	w.pod("second", asks("3"))
	w.want(map[string]string{"second": ""})
	w.Delete(ct.Get[*corev1.Pod](w.Cluster, "first"))
	w.want(map[string]string{"second": ""}) // it runs until its end
	w.Remove(ct.Get[*corev1.Pod](w.Cluster, "first"))
	w.want(map[string]string{"second": "n1"})
	w.pod("third", asks("3"))
	w.settle()
	ct.EditStatus(w.Cluster, "second", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	w.want(map[string]string{"third": "n1"})
}

func TestPriorityAndAge(t *testing.T) {
	w := newWorld(t)
	w.pod("low", asks("3"))
	w.pod("high", asks("3"), func(p *corev1.Pod) { high := int32(10); p.Spec.Priority = &high })
	w.node("n1")
	w.want(map[string]string{"high": "n1", "low": ""})
}

func TestWhatIsNotOurs(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	w.pod("other", func(p *corev1.Pod) { p.Spec.SchedulerName = "other" })
	w.pod("gated", func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}} })
	w.want(map[string]string{"other": "", "gated": ""})
	ct.Edit(w.Cluster, "gated", func(p *corev1.Pod) { p.Spec.SchedulingGates = nil })
	w.want(map[string]string{"other": "", "gated": "n1"})
}

func TestTaints(t *testing.T) {
	w := newWorld(t)
	w.node("a", tainted(corev1.TaintEffectNoExecute))
	w.node("b", tainted(corev1.TaintEffectPreferNoSchedule))
	w.node("c", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	w.pod("plain")
	w.pod("tolerant", func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "k", Value: "v"}}
		p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "a"}
	})
	w.pod("cordoned", func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "node.kubernetes.io/unschedulable", Operator: corev1.TolerationOpExists}}
		p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "c"}
	})
	w.want(map[string]string{"plain": "b", "tolerant": "a", "cordoned": "c"})
}

func TestHostPorts(t *testing.T) {
	w := newWorld(t)
	w.node("n1")
	port := func(ip string, protocol corev1.Protocol) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80, HostIP: ip, Protocol: protocol}}
		}
	}
	w.pod("a", port("10.0.0.1", corev1.ProtocolTCP))
	w.settle()
	w.pod("other-ip", port("10.0.0.2", corev1.ProtocolTCP))
	w.pod("udp", port("", corev1.ProtocolUDP))
	w.pod("any-ip", port("", corev1.ProtocolTCP))
	w.want(map[string]string{"a": "n1", "other-ip": "n1", "udp": "n1", "any-ip": ""})
	w.says("any-ip", "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.")
}

func TestNodeAffinity(t *testing.T) {
	w := newWorld(t)
	w.node("a", in("x"))
	w.node("b", in("y"))
	affinity := func(required bool, op corev1.NodeSelectorOperator, values ...string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: zone, Operator: op, Values: values}}}
			a := &corev1.NodeAffinity{}
			if required {
				a.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term}}
			} else {
				a.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{{Weight: 10, Preference: term}}
			}
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: a}
		}
	}
	w.pod("in", affinity(true, corev1.NodeSelectorOpIn, "y"))
	w.pod("not-in", affinity(true, corev1.NodeSelectorOpNotIn, "x"))
	w.pod("absent", affinity(true, corev1.NodeSelectorOpDoesNotExist))
	w.pod("preferred", affinity(false, corev1.NodeSelectorOpIn, "y"))
	w.want(map[string]string{"in": "b", "not-in": "b", "absent": "", "preferred": "b"})
	w.says("absent", "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")
}

func term(app string) corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{TopologyKey: zone, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}
}

func near(app string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term(app)}}}
	}
}

func away(app string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term(app)}}}
	}
}

func TestPodAffinity(t *testing.T) {
	w := newWorld(t)
	w.node("a1", in("a"))
	w.node("a2", in("a"))
	w.node("b1", in("b"))
	w.node("nowhere")
	w.pod("lonely", near("db"))
	w.want(map[string]string{"lonely": ""})
	w.pod("db", func(p *corev1.Pod) { p.Labels["app"] = "db"; p.Spec.NodeSelector = map[string]string{zone: "b"} })
	w.want(map[string]string{"lonely": "b1"})
	w.pod("first-of-its-kind", near("web")) // "lonely" is web too
	w.want(map[string]string{"first-of-its-kind": "b1"})
	w.pod("apart", away("db"))
	w.settle()
	if z := w.on("apart"); z == "b1" || z == "" {
		t.Errorf("apart is on %q", z)
	}
	w.pod("late-db", func(p *corev1.Pod) { p.Labels["app"] = "db"; p.Spec.NodeSelector = map[string]string{zone: "a"} })
	w.node("a3", in("a"))
	w.settle()
	if w.on("apart")[0] == 'a' && w.on("late-db") != "" {
		t.Errorf("late-db is on %q beside a pod that refuses it", w.on("late-db"))
	}
}

func TestFirstOfAGroupThatWantsToBeTogether(t *testing.T) {
	w := newWorld(t)
	w.node("a1", in("a"))
	w.node("b1", in("b"))
	for i := range 4 {
		w.pod(fmt.Sprint("p", i), near("web"))
	}
	w.settle()
	for i := range 4 {
		if got := w.on(fmt.Sprint("p", i)); got == "" || got != w.on("p0") {
			t.Errorf("p%d is on %q and p0 on %q", i, got, w.on("p0"))
		}
	}
}

func TestReplicasSpread(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.node(fmt.Sprint("n", i))
	}
	owned := func(p *corev1.Pod) {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "x", UID: "x", Controller: &yes}}
	}
	for i := range 9 {
		w.pod(fmt.Sprint("p", i), owned)
	}
	w.settle()
	per := map[string]int{}
	for i := range 9 {
		per[w.on(fmt.Sprint("p", i))]++
	}
	for node, n := range per {
		if n != 3 {
			t.Errorf("%d replicas on %s: %v", n, node, per)
		}
	}
}

// Init containers run one after the other, beside the sidecars that were started before them.
func TestInitContainersAndSidecars(t *testing.T) {
	w := newWorld(t)
	w.node("n1") // 4 CPUs
	always := corev1.ContainerRestartPolicyAlways
	container := func(name, cpu string, policy *corev1.ContainerRestartPolicy) corev1.Container {
		return corev1.Container{Name: name, Image: "i", RestartPolicy: policy, Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}
	}
	w.pod("too-much", asks("1"), func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{container("side", "1", &always), container("init", "3500m", nil)}
	})
	w.says("too-much", "0/1 nodes are available: 1 Insufficient cpu.")
	w.pod("fits", asks("1"), func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{container("init", "3500m", nil), container("side", "3", &always)}
	})
	w.want(map[string]string{"fits": "n1"})
}

// The same view gives the same plan.
func TestPure(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.node(fmt.Sprint("n", i), in(fmt.Sprint(i%2)))
	}
	for i := range 20 {
		w.pod(fmt.Sprint("p", i), asks(fmt.Sprint(i%3+1)))
	}
	describe := func() (list []string) {
		for _, ch := range w.loop.Plan(w.Store.View(), w.loop.Watches["nodes"](w.Store.View(), nil)[0], w.Now).Changes {
			p, bound := ch.Object.(*corev1.Pod)
			if ch.Verb == controllers.Bind && bound {
				list = append(list, p.Name+"="+p.Spec.NodeName)
			} else {
				list = append(list, ch.Object.GetName()+": "+ch.Event.Message)
			}
		}
		return list
	}
	first := describe()
	for range 5 {
		if again := describe(); !slices.Equal(first, again) {
			t.Fatalf("plans differ:\n%v\n%v", first, again)
		}
	}
}

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
