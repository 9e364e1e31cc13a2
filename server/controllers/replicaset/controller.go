package replicaset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/controllers/podutil"
)

const (
	resource = "replicasets.apps"
	// burst bounds how many pods one plan creates, so that a mistake in a number does not flood the cluster at once.
	burst = 500
)

// New returns the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "replicaset-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{
			resource: controllers.Self,
			"pods": controllers.Either(
				controllers.ControllerOf("ReplicaSet", resource),
				controllers.Selecting(resource, func(owner fsm.Value, set labels.Set) bool {
					return controllers.SelectorMatches(owner.(*appsv1.ReplicaSet).Spec.Selector, set)
				})),
		},
		Plan: plan,
	}
}

func plan(v fsm.View, key fsm.Key, now time.Time) controllers.Plan {
	var p controllers.Plan
	stored, ok := v.Get(key)
	if !ok {
		return p
	}
	rs := stored.Value.(*appsv1.ReplicaSet)
	sel, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return p // refused by validation; nothing can be selected
	}
	ref := *metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))
	var active []*corev1.Pod
	claimed := controllers.Claim(v, &p, "pods", rs, ref, sel)
	if len(p.Changes) > 0 {
		return p // the next plan counts on what was adopted and released
	}
	for _, o := range claimed {
		if pod := o.Value.(*corev1.Pod); podutil.Active(pod) {
			active = append(active, pod)
		}
	}
	if rs.DeletionTimestamp == nil {
		scale(v, &p, rs, ref, active)
	}
	writeStatus(&p, rs, active, now)
	return p
}

func scale(v fsm.View, p *controllers.Plan, rs *appsv1.ReplicaSet, ref metav1.OwnerReference, active []*corev1.Pod) {
	diff := len(active) - int(*rs.Spec.Replicas)
	switch {
	case diff < 0:
		for _, name := range freeNames(v, rs.Namespace, ref, min(-diff, burst)) {
			p.Create("pods", podutil.FromTemplate(&rs.Spec.Template, ref, rs.Namespace, name))
			p.Report(resource, rs, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: "+name)
		}
	case diff > 0:
		for _, pod := range victims(v, rs, active)[:diff] {
			p.Delete("pods", pod)
			p.Report(resource, rs, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: "+pod.Name)
		}
	}
}

// freeNames returns n names that no pod has.
func freeNames(v fsm.View, namespace string, ref metav1.OwnerReference, n int) []string {
	names := make([]string, 0, n)
	taken := map[string]bool{}
	for i := 0; len(names) < n; i++ {
		name := podutil.GeneratedName(ref, v.Revision(), i)
		if _, exists := v.Get(fsm.Key{Resource: "pods", Namespace: namespace, Name: name}); !exists && !taken[name] {
			names, taken[name] = append(names, name), true
		}
	}
	return names
}

func writeStatus(p *controllers.Plan, rs *appsv1.ReplicaSet, active []*corev1.Pod, now time.Time) {
	next := rs.DeepCopy()
	s := &next.Status
	s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas = int32(len(active)), 0, 0, 0
	s.ObservedGeneration = rs.Generation
	template := labels.SelectorFromSet(rs.Spec.Template.Labels)
	for _, pod := range active {
		if template.Matches(labels.Set(pod.Labels)) {
			s.FullyLabeledReplicas++
		}
		if !podutil.Ready(pod) {
			continue
		}
		s.ReadyReplicas++
		if podutil.Available(pod, rs.Spec.MinReadySeconds, now) {
			s.AvailableReplicas++
		} else if at, ready := podutil.AvailableAt(pod, rs.Spec.MinReadySeconds); ready {
			p.At(at)
		}
	}
	if !equality.Semantic.DeepEqual(rs.Status, next.Status) {
		p.UpdateStatus(resource, next)
	}
}
