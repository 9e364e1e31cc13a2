package nodelifecycle

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/controllers/podutil"
)

// outageLook is how often a pod that must leave its node is looked at while no node is ready.
const outageLook = 10 * time.Second

// New returns the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "node-lifecycle-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{
			"pods":  controllers.Self,
			"nodes": podsOn,
		},
		Plan: plan,
	}
}

func podsOn(v fsm.View, node *fsm.Object) []fsm.Key {
	var keys []fsm.Key
	for o := range v.ByIndex("pods", "node", node.Name) {
		keys = append(keys, o.Key)
	}
	return keys
}

func plan(v fsm.View, key fsm.Key, now time.Time) controllers.Plan {
	var p controllers.Plan
	stored, ok := v.Get(key)
	if !ok {
		return p
	}
	pod := stored.Value.(*corev1.Pod)
	node, found := nodeOf(v, pod)
	switch {
	case pod.Spec.NodeName == "":
		if pod.DeletionTimestamp != nil && !forced(pod) {
			p.ForceDelete("pods", pod) // nobody ever ran it
		}
	case !found:
		if !forced(pod) {
			p.ForceDelete("pods", pod)
			p.Report("pods", pod, corev1.EventTypeNormal, "DeletingOrphanedPod",
				"The node "+pod.Spec.NodeName+" no longer exists")
		}
	case lost(node) && podutil.Ready(pod):
		markNotReady(&p, pod, now) // one object is changed once in a plan; the next one may evict it
	default:
		evict(v, &p, pod, node, now)
	}
	return p
}

func nodeOf(v fsm.View, pod *corev1.Pod) (*corev1.Node, bool) {
	o, ok := v.Get(fsm.Key{Resource: "nodes", Name: pod.Spec.NodeName})
	if !ok {
		return nil, false
	}
	return o.Value.(*corev1.Node), true
}

// forced reports whether the pod waits for nothing but its finalizers.
func forced(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && len(pod.Finalizers) > 0 &&
		(pod.DeletionGracePeriodSeconds == nil || *pod.DeletionGracePeriodSeconds == 0)
}

// lost reports whether nobody knows how the node is. The agent of one that is merely not ready goes on telling how its
// pods are, and would be contradicted.
func lost(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown
	})
}

func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return true // it has not reported yet: it is starting, not lost
}

// markNotReady takes the pod out of its Services.
func markNotReady(p *controllers.Plan, pod *corev1.Pod, now time.Time) {
	next := pod.DeepCopy()
	c := podutil.Condition(next, corev1.PodReady)
	c.Status, c.Reason, c.Message = corev1.ConditionFalse, "NodeNotReady", "The pod's node is not ready"
	c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	p.UpdateStatus("pods", next)
}

// evict deletes the pod once it no longer tolerates its node, and asks to be called again then.
func evict(v fsm.View, p *controllers.Plan, pod *corev1.Pod, node *corev1.Node, now time.Time) {
	if pod.DeletionTimestamp != nil || podutil.Ended(pod) {
		return
	}
	deadline, evicted := toleratedUntil(pod, node, now)
	switch {
	case !evicted:
	case now.Before(deadline):
		p.At(deadline)
	case !anyReady(v):
		p.At(now.Add(outageLook)) // no event of this pod or node will tell when another node is back
	default:
		p.Delete("pods", pod)
		p.Report("pods", pod, corev1.EventTypeNormal, "TaintManagerEviction", "Deleting pod from node "+node.Name)
	}
}

// toleratedUntil returns when the pod must leave its node. It reports false if it may stay for ever.
func toleratedUntil(pod *corev1.Pod, node *corev1.Node, now time.Time) (deadline time.Time, evicted bool) {
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		at, forever := tolerates(pod, taint, now)
		if !forever && (!evicted || at.Before(deadline)) {
			deadline, evicted = at, true
		}
	}
	return deadline, evicted
}

// tolerates returns until when the pod tolerates a NoExecute taint: the shortest of its matching tolerations' times,
// from when the taint was added. One that does not say when was added now; liveness notes the time.
func tolerates(pod *corev1.Pod, taint *corev1.Taint, now time.Time) (until time.Time, forever bool) {
	since := now
	if taint.TimeAdded != nil {
		since = taint.TimeAdded.Time
	}
	matched := false
	var shortest *int64
	for i := range pod.Spec.Tolerations {
		t := &pod.Spec.Tolerations[i]
		if !podutil.Tolerates(t, taint) {
			continue
		}
		matched = true
		if t.TolerationSeconds != nil && (shortest == nil || *t.TolerationSeconds < *shortest) {
			shortest = t.TolerationSeconds
		}
	}
	switch {
	case !matched:
		return since, false
	case shortest == nil:
		return time.Time{}, true
	}
	return since.Add(time.Duration(max(0, *shortest)) * time.Second), false
}

func anyReady(v fsm.View) bool {
	for o := range v.List("nodes", "") {
		if ready(o.Value.(*corev1.Node)) {
			return true
		}
	}
	return false
}
