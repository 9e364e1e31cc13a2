package nodelifecycle_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/nodelifecycle"
	"github.com/holt-project/holt/server/controllers/podutil"
)

// world has the nodes n1 and n2, and a running pod on n1.
type world struct {
	*ct.Cluster
	t    *testing.T
	loop *ct.Loop
	k    *ct.Kubelet
}

func newWorld(t *testing.T, tolerations ...corev1.Toleration) *world {
	c := ct.New(t)
	c.Now = time.Now().Truncate(time.Second)
	c.Create(ct.Node("n1", 10, c.Now), ct.Node("n2", 10, c.Now))
	p := ct.Pod("p", nil)
	p.Spec.NodeName, p.Spec.Tolerations = "n1", tolerations
	c.Create(p)
	w := &world{c, t, c.Loop(nodelifecycle.New()), c.Kubelet("")}
	w.k.Work()
	w.k.Slow = true
	w.settle()
	return w
}

func (w *world) settle() {
	w.t.Helper()
	w.Settle(w.k, w.loop)
	w.Idle(w.loop)
}

func (w *world) condition(node string, status corev1.ConditionStatus) {
	ct.EditStatus(w.Cluster, node, func(n *corev1.Node) { n.Status.Conditions[0].Status = status })
}

func (w *world) taint(added *metav1.Time) {
	ct.Edit(w.Cluster, "n1", func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "lost", Effect: corev1.TaintEffectNoExecute, TimeAdded: added}}
	})
}

func (w *world) evicted() bool {
	return ct.Get[*corev1.Pod](w.Cluster, "p").DeletionTimestamp != nil
}

func tolerates(seconds *int64) corev1.Toleration {
	return corev1.Toleration{Key: "lost", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: seconds}
}

func TestEvictsWhatDoesNotTolerate(t *testing.T) {
	w := newWorld(t)
	w.taint(ptr.To(metav1.NewTime(w.Now)))
	w.settle()
	if !w.evicted() {
		t.Fatal("the pod stays on a node that it does not tolerate")
	}
	events := ct.List[*corev1.Event](w.Cluster)
	if len(events) != 1 || events[0].Reason != "TaintManagerEviction" || events[0].Count != 1 {
		t.Errorf("events %v", events)
	}
}

func TestTolerationSeconds(t *testing.T) {
	w := newWorld(t, tolerates(ptr.To[int64](60)), tolerates(ptr.To[int64](300)))
	w.taint(ptr.To(metav1.NewTime(w.Now)))
	w.settle()
	if at := w.loop.Next(); w.evicted() || !at.Equal(w.Now.Add(time.Minute)) {
		t.Fatalf("evicted: %t, looked at again at %v", w.evicted(), at)
	}
	w.Now = w.Now.Add(59 * time.Second)
	w.settle()
	if w.evicted() {
		t.Fatal("evicted a second too early")
	}
	w.Now = w.Now.Add(time.Second)
	w.settle()
	if !w.evicted() {
		t.Fatal("not evicted in time")
	}
}

func TestToleratesForEver(t *testing.T) {
	w := newWorld(t, tolerates(nil))
	w.taint(ptr.To(metav1.NewTime(w.Now)))
	w.Now = w.Now.Add(1000 * time.Hour)
	w.settle()
	if w.evicted() || !w.loop.Next().IsZero() {
		t.Error("evicted, or about to be")
	}
}

func TestTaintThatIsTakenBack(t *testing.T) {
	w := newWorld(t, tolerates(ptr.To[int64](60)))
	w.taint(ptr.To(metav1.NewTime(w.Now)))
	w.settle()
	ct.Edit(w.Cluster, "n1", func(n *corev1.Node) { n.Spec.Taints = nil })
	w.settle()
	w.Now = w.Now.Add(time.Hour)
	w.settle()
	if w.evicted() {
		t.Error("evicted for a taint that is gone")
	}
}

// A user's taint does not say since when it is there; the seconds must not have passed already.
func TestTaintWithoutATime(t *testing.T) {
	w := newWorld(t, tolerates(ptr.To[int64](60)))
	w.taint(nil)
	w.settle()
	if w.evicted() {
		t.Error("evicted at once in spite of 60 seconds")
	}
}

func TestNothingIsEvictedWhileNoNodeIsReady(t *testing.T) {
	w := newWorld(t)
	w.condition("n1", corev1.ConditionUnknown)
	w.condition("n2", corev1.ConditionUnknown)
	w.taint(ptr.To(metav1.NewTime(w.Now)))
	w.settle()
	if w.evicted() {
		t.Fatal("evicted although it is us who are cut off")
	}
	w.condition("n2", corev1.ConditionTrue) // says nothing of the pods on n1
	w.Now = w.loop.Next()
	w.settle()
	if !w.evicted() {
		t.Fatal("forgotten when a node came back")
	}
}

func TestLostNodeTakesItsPodsOutOfService(t *testing.T) {
	w := newWorld(t)
	w.condition("n1", corev1.ConditionFalse)
	w.settle()
	if !podutil.Ready(ct.Get[*corev1.Pod](w.Cluster, "p")) {
		t.Fatal("contradicts an agent that lives")
	}
	w.condition("n1", corev1.ConditionUnknown)
	w.taint(ptr.To(metav1.NewTime(w.Now)))
	w.loop.Step()
	if w.loop.Errs != nil {
		t.Errorf("errors %v: one object is changed once in a plan", w.loop.Errs)
	}
	w.settle()
	if p := ct.Get[*corev1.Pod](w.Cluster, "p"); podutil.Ready(p) || p.DeletionTimestamp == nil {
		t.Error("still ready, or not evicted")
	}
}

func TestPodOfANodeThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.Delete(ct.Get[*corev1.Node](w.Cluster, "n1"))
	w.settle()
	if _, there := ct.Find[*corev1.Pod](w.Cluster, "p"); there {
		t.Error("the pod of a node that is gone is still there")
	}
}

func TestFinalizersOutliveTheNode(t *testing.T) {
	w := newWorld(t)
	ct.Edit(w.Cluster, "p", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/hold"} })
	w.Delete(ct.Get[*corev1.Node](w.Cluster, "n1"))
	w.settle()
	if !w.evicted() {
		t.Fatal("the pod is not being deleted")
	}
	ct.Edit(w.Cluster, "p", func(p *corev1.Pod) { p.Finalizers = nil })
	if _, there := ct.Find[*corev1.Pod](w.Cluster, "p"); there {
		t.Error("the pod is still there")
	}
}

func TestPodThatNobodyRan(t *testing.T) {
	w := newWorld(t)
	p := ct.Pod("unbound", nil)
	p.Finalizers = []string{"example.com/hold"}
	w.Create(p)
	w.Delete(ct.Get[*corev1.Pod](w.Cluster, "unbound"))
	w.settle()
	ct.Edit(w.Cluster, "unbound", func(p *corev1.Pod) { p.Finalizers = nil })
	w.settle()
	if _, there := ct.Find[*corev1.Pod](w.Cluster, "unbound"); there {
		t.Error("the pod is still there")
	}
}
