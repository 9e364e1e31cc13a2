package liveness

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

// joinGrace is how long a node may be missing from gossip after this server began to lead, or after the node was
// registered, before it counts as lost.
const joinGrace = 10 * time.Second

// leaseGrace is how long a Lease speaks for a node after it was renewed, as in Kubernetes.
const leaseGrace = 40 * time.Second

const leases = "leases.coordination.k8s.io"

// Members is the gossip pool, as far as liveness asks.
type Members interface {
	// Alive reports whether the node's agent lives.
	Alive(node string) bool
	// Seen reports whether it has lived at any time since this server started.
	Seen(node string) bool
	// LostAt is when gossip gave the agent up last; zero if it never did.
	LostAt(node string) time.Time
	// Changed is closed when an agent comes or goes.
	Changed() <-chan struct{}
}

// New returns the controller of a server that began to lead at since.
func New(members Members, since time.Time) controllers.Controller {
	return controllers.Controller{
		Name: "node-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{
			"nodes": controllers.Self,
			leases:  leaseHolder,
		},
		Wake: members.Changed,
		Plan: func(v fsm.View, key fsm.Key, now time.Time) controllers.Plan {
			return plan(v, key, now, since, members)
		},
	}
}

func plan(v fsm.View, key fsm.Key, now, since time.Time, members Members) controllers.Plan {
	var p controllers.Plan
	stored, ok := v.Get(key)
	if !ok {
		return p
	}
	node := stored.Value.(*corev1.Node)
	if members.Alive(node.Name) {
		keepTaints(&p, node, now)
		return p
	}
	graceEnds := graceOf(node, since, members)
	if !members.Seen(node.Name) {
		graceEnds = later(graceEnds, leaseEnds(v, node.Name))
	}
	if now.Before(graceEnds) {
		p.At(graceEnds)
		keepTaints(&p, node, now)
		return p
	}
	markLost(&p, node, now)
	return p
}

// leaseHolder makes the node of a node's Lease dirty.
func leaseHolder(_ fsm.View, o *fsm.Object) []fsm.Key {
	if o.Namespace != corev1.NamespaceNodeLease {
		return nil
	}
	return []fsm.Key{{Resource: "nodes", Name: o.Name}}
}

// leaseEnds returns until when the Lease speaks for a node that gossip does not know, such as a virtual one; zero
// without a Lease.
func leaseEnds(v fsm.View, node string) time.Time {
	o, ok := v.Get(fsm.Key{Resource: leases, Namespace: corev1.NamespaceNodeLease, Name: node})
	if !ok {
		return time.Time{}
	}
	renewed := o.Value.(*coordinationv1.Lease).Spec.RenewTime
	if renewed == nil {
		return time.Time{}
	}
	return renewed.Add(leaseGrace)
}

// graceOf returns until when a node that gossip misses is believed to live. A node that gossip has never seen may still
// be on its way. One that has said that it is ready after gossip had lost it has reached a server: without patience
// the two would contradict each other as fast as they can write.
func graceOf(node *corev1.Node, since time.Time, members Members) time.Time {
	c := readyCondition(node)
	ready := c != nil && c.Status == corev1.ConditionTrue
	switch {
	case !members.Seen(node.Name) && ready:
		return later(later(since, node.CreationTimestamp.Time), c.LastTransitionTime.Time).Add(joinGrace)
	case !members.Seen(node.Name):
		return later(since, node.CreationTimestamp.Time).Add(joinGrace)
	case ready && c.LastTransitionTime.After(members.LostAt(node.Name)):
		return c.LastTransitionTime.Add(joinGrace)
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// markLost says that nobody knows how the node is, then taints it: two changes of one object, so two plans.
func markLost(p *controllers.Plan, node *corev1.Node, now time.Time) {
	c := readyCondition(node)
	if c != nil && c.Status == corev1.ConditionUnknown {
		keepTaints(p, node, now)
		return
	}
	next := node.DeepCopy()
	at := metav1.NewTime(now.Truncate(time.Second))
	setUnknown(next, at)
	p.UpdateStatus("nodes", next)
	p.Report("nodes", node, corev1.EventTypeNormal, "NodeNotReady", "Node "+node.Name+" status is now: NodeNotReady")
}

func setUnknown(node *corev1.Node, at metav1.Time) {
	unknown := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown",
		Message: "The node's agent does not answer.", LastTransitionTime: at, LastHeartbeatTime: at,
	}
	if c := readyCondition(node); c != nil {
		unknown.LastHeartbeatTime = c.LastHeartbeatTime
		*c = unknown
		return
	}
	node.Status.Conditions = append(node.Status.Conditions, unknown)
}

func readyCondition(node *corev1.Node) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == corev1.NodeReady {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

// keepTaints gives the node the taints that its Ready condition stands for, as Kubernetes' node controller does.
func keepTaints(p *controllers.Plan, node *corev1.Node, now time.Time) {
	status := corev1.ConditionFalse // a node that has not reported is not ready
	if c := readyCondition(node); c != nil {
		status = c.Status
	}
	var taints []corev1.Taint
	have := map[corev1.Taint]bool{}
	want := wanted(node, status)
	at := metav1.NewTime(now.Truncate(time.Second))
	changed := false
	for _, t := range node.Spec.Taints {
		bare := corev1.Taint{Key: t.Key, Effect: t.Effect}
		if ours(t.Key) && !want[bare] {
			changed = true
			continue
		}
		if t.Effect == corev1.TaintEffectNoExecute && t.TimeAdded == nil {
			t.TimeAdded, changed = &at, true // a user's: tolerations count their seconds from here
		}
		taints, have[bare] = append(taints, t), true
	}
	for _, t := range order {
		if want[t] && !have[t] {
			t.TimeAdded = &at
			taints, changed = append(taints, t), true
		}
	}
	if changed {
		next := node.DeepCopy()
		next.Spec.Taints = taints
		p.Update("nodes", next)
	}
}

// order holds all taints that are kept here.
var order = []corev1.Taint{
	{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule},
}

func ours(key string) bool {
	for _, t := range order {
		if t.Key == key {
			return true
		}
	}
	return false
}

func wanted(node *corev1.Node, ready corev1.ConditionStatus) map[corev1.Taint]bool {
	want := map[corev1.Taint]bool{}
	for _, t := range order {
		switch t.Key {
		case corev1.TaintNodeUnreachable:
			want[t] = ready == corev1.ConditionUnknown
		case corev1.TaintNodeNotReady:
			want[t] = ready == corev1.ConditionFalse
		case corev1.TaintNodeUnschedulable:
			want[t] = node.Spec.Unschedulable
		}
	}
	return want
}
