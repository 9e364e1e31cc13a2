package liveness_test

import (
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/liveness"
)

// pool is gossip as the test wants it.
type pool struct {
	alive, seen map[string]bool
	lost        time.Time
}

func (p *pool) Alive(n string) bool      { return p.alive[n] }
func (p *pool) Seen(n string) bool       { return p.seen[n] }
func (p *pool) LostAt(string) time.Time  { return p.lost }
func (p *pool) Changed() <-chan struct{} { return make(chan struct{}) }

type world struct {
	*ct.Cluster
	t    *testing.T
	pool *pool
	loop *ct.Loop
}

// newWorld has the node n1, ready for an hour, and a server that begins to lead now.
func newWorld(t *testing.T) *world {
	c := ct.New(t)
	c.Now = time.Now().Truncate(time.Second).Add(time.Hour)
	c.Create(ct.Node("n1", 10, c.Now.Add(-time.Hour)))
	p := &pool{alive: map[string]bool{"n1": true}, seen: map[string]bool{"n1": true}}
	return &world{c, t, p, c.Loop(liveness.New(p, c.Now))}
}

func (w *world) settle() {
	w.t.Helper()
	w.loop.MarkAll() // gossip says so
	w.Settle(nil, w.loop)
	w.Idle(w.loop)
}

func (w *world) node() *corev1.Node { return ct.Get[*corev1.Node](w.Cluster, "n1") }

func (w *world) ready() corev1.ConditionStatus { return w.node().Status.Conditions[0].Status }

// taints are "key:effect", sorted.
func (w *world) want(ready corev1.ConditionStatus, taints ...string) {
	w.t.Helper()
	w.settle()
	var have []string
	for _, t := range w.node().Spec.Taints {
		have = append(have, t.Key+":"+string(t.Effect))
	}
	slices.Sort(have)
	if w.ready() != ready || !slices.Equal(have, taints) {
		w.t.Fatalf("Ready=%s with taints %v, want %s with %v", w.ready(), have, ready, taints)
	}
}

func (w *world) report(ready corev1.ConditionStatus) {
	ct.EditStatus(w.Cluster, "n1", func(n *corev1.Node) {
		n.Status.Conditions[0].Status = ready
		n.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Now)
	})
}

var (
	unreachable = []string{"node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"}
	notReady    = []string{"node.kubernetes.io/not-ready:NoExecute", "node.kubernetes.io/not-ready:NoSchedule"}
)

func TestLostAndBack(t *testing.T) {
	w := newWorld(t)
	w.want(corev1.ConditionTrue)
	w.pool.alive["n1"] = false
	w.want(corev1.ConditionUnknown, unreachable...)
	for _, taint := range w.node().Spec.Taints {
		if taint.TimeAdded == nil || !taint.TimeAdded.Time.Equal(w.Now) {
			t.Errorf("taint %v was added at %v, now is %v", taint.Key, taint.TimeAdded, w.Now)
		}
	}
	added := w.node().Spec.Taints[0].TimeAdded
	w.Now = w.Now.Add(time.Minute)
	w.want(corev1.ConditionUnknown, unreachable...)
	if !w.node().Spec.Taints[0].TimeAdded.Equal(added) {
		t.Error("the taint's time moved")
	}
	w.pool.alive["n1"] = true
	w.want(corev1.ConditionUnknown, unreachable...) // until the agent says how it is
	w.report(corev1.ConditionTrue)
	w.want(corev1.ConditionTrue)
}

func TestNotReady(t *testing.T) {
	w := newWorld(t)
	w.report(corev1.ConditionFalse)
	w.want(corev1.ConditionFalse, notReady...)
	w.report(corev1.ConditionTrue)
	w.want(corev1.ConditionTrue)
}

func TestCordon(t *testing.T) {
	w := newWorld(t)
	ct.Edit(w.Cluster, "n1", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	w.want(corev1.ConditionTrue, "node.kubernetes.io/unschedulable:NoSchedule")
	ct.Edit(w.Cluster, "n1", func(n *corev1.Node) { n.Spec.Unschedulable = false })
	w.want(corev1.ConditionTrue)
}

// A new leader has not met everybody yet. Nobody is evicted because of that.
func TestGraceOfANewLeader(t *testing.T) {
	w := newWorld(t)
	w.pool.alive["n1"], w.pool.seen["n1"] = false, false
	w.want(corev1.ConditionTrue)
	at := w.loop.Next()
	if at.IsZero() {
		t.Fatal("it is not looked at again")
	}
	w.Now = at
	w.want(corev1.ConditionUnknown, unreachable...)
}

// A node that has just been registered and has not said anything takes no pods, but is not lost.
func TestNewNode(t *testing.T) {
	w := newWorld(t)
	fresh := ct.Node("n2", 10, w.Now)
	fresh.Status.Conditions = nil
	w.Create(fresh)
	w.settle()
	var keys []string
	for _, taint := range ct.Get[*corev1.Node](w.Cluster, "n2").Spec.Taints {
		keys = append(keys, taint.Key+":"+string(taint.Effect))
	}
	if slices.Sort(keys); !slices.Equal(keys, notReady) {
		t.Errorf("taints %v", keys)
	}
	w.Now = w.Now.Add(time.Hour)
	w.settle()
	if c := ct.Get[*corev1.Node](w.Cluster, "n2").Status.Conditions; len(c) != 1 || c[0].Status != corev1.ConditionUnknown {
		t.Errorf("conditions %v of a node that never came", c)
	}
}

// An agent that gossip misses but that reaches a server says that it is ready. The two do not contradict each other as
// fast as they can write.
func TestGossipAndAgentDisagree(t *testing.T) {
	w := newWorld(t)
	w.pool.alive["n1"] = false
	w.want(corev1.ConditionUnknown, unreachable...)
	w.report(corev1.ConditionTrue)
	w.want(corev1.ConditionTrue)
	if at := w.loop.Next(); at.Before(w.Now.Add(5 * time.Second)) {
		t.Fatalf("looked at again at %v, now is %v", at, w.Now)
	}
	w.Now = w.loop.Next()
	w.want(corev1.ConditionUnknown, unreachable...)
}

// A node that gossip does not know is judged by its Lease.
func TestLease(t *testing.T) {
	w := newWorld(t)
	w.pool.alive["n1"], w.pool.seen["n1"] = false, false
	w.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: corev1.NamespaceNodeLease}})
	w.Now = w.Now.Add(time.Minute)
	renewed := metav1.NewMicroTime(w.Now)
	w.Create(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1", Namespace: corev1.NamespaceNodeLease},
		Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}})
	w.want(corev1.ConditionTrue)
	if at := w.loop.Next(); !at.Equal(w.Now.Add(40 * time.Second)) {
		t.Fatalf("looked at again at %v, now is %v", at, w.Now)
	}
	w.Now = w.loop.Next()
	w.want(corev1.ConditionUnknown, unreachable...)
}

func TestUsersTaints(t *testing.T) {
	w := newWorld(t)
	ct.Edit(w.Cluster, "n1", func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoExecute}}
	})
	w.want(corev1.ConditionTrue, "gpu:NoExecute")
	if at := w.node().Spec.Taints[0].TimeAdded; at == nil || !at.Time.Equal(w.Now) {
		t.Errorf("since %v: tolerations count their seconds from there", at)
	}
}
