package scheduler

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/controllers/podutil"
)

// unbound is the value under which the index of pods by node finds those that have none.
const unbound = ""

// queue is the scheduler's only key: all pending pods are placed by one plan.
var queue = []fsm.Key{{Resource: "scheduler", Name: "queue"}}

// New returns the scheduler.
func New() controllers.Controller {
	return controllers.Controller{
		Name: corev1.DefaultSchedulerName,
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{
			"pods":  concerns,
			"nodes": func(fsm.View, *fsm.Object) []fsm.Key { return queue },
		},
		Plan: plan,
	}
}

// concerns is true of pods that wait for a node, and of those that give back what they hold.
func concerns(v fsm.View, o *fsm.Object) []fsm.Key {
	pod := o.Value.(*corev1.Pod)
	_, exists := v.Get(o.Key)
	if pending(pod) || podutil.Ended(pod) || !exists {
		return queue
	}
	return nil
}

func pending(p *corev1.Pod) bool {
	return p.Spec.NodeName == "" && p.DeletionTimestamp == nil && len(p.Spec.SchedulingGates) == 0 &&
		p.Spec.SchedulerName == corev1.DefaultSchedulerName && !podutil.Ended(p)
}

func plan(v fsm.View, _ fsm.Key, now time.Time) controllers.Plan {
	var p controllers.Plan
	waiting := queued(v)
	if len(waiting) == 0 {
		return p
	}
	s := newSnapshot(v)
	for _, pod := range waiting {
		best, why := s.place(pod)
		if best == nil {
			explain(&p, pod, why.message(len(s.nodes)), now)
			continue
		}
		s.assume(best, pod)
		bound := pod.DeepCopy()
		bound.Spec.NodeName = best.node.Name
		p.Bind(bound)
		p.Report("pods", pod, corev1.EventTypeNormal, "Scheduled",
			"Successfully assigned "+pod.Namespace+"/"+pod.Name+" to "+best.node.Name)
	}
	return p
}

// queued returns the pods to place: by priority, then age, then name.
func queued(v fsm.View) []*corev1.Pod {
	var pods []*corev1.Pod
	for o := range v.ByIndex("pods", "node", unbound) {
		if pod := o.Value.(*corev1.Pod); pending(pod) {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(priority(b), priority(a)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return pods
}

func priority(p *corev1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

// explain tells the user why the pod waits; it writes only when the reason changes.
func explain(p *controllers.Plan, pod *corev1.Pod, message string, now time.Time) {
	c := podutil.Condition(pod, corev1.PodScheduled)
	if c != nil && c.Status == corev1.ConditionFalse && c.Message == message {
		return
	}
	next := pod.DeepCopy()
	at := metav1.NewTime(now.Truncate(time.Second))
	if c = podutil.Condition(next, corev1.PodScheduled); c == nil {
		next.Status.Conditions = append(next.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled})
		c = &next.Status.Conditions[len(next.Status.Conditions)-1]
	}
	if c.Status != corev1.ConditionFalse {
		c.LastTransitionTime = at
	}
	c.Status, c.Reason, c.Message = corev1.ConditionFalse, corev1.PodReasonUnschedulable, message
	p.UpdateStatus("pods", next)
	p.Report("pods", pod, corev1.EventTypeWarning, "FailedScheduling", message)
}
