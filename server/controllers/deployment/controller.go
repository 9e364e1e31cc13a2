package deployment

import (
	"cmp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/controllers/podutil"
	"github.com/holt-project/holt/server/kinds"
)

const (
	resource    = "deployments.apps"
	replicaSets = "replicasets.apps"
)

// New returns the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "deployment-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{
			resource: controllers.Self,
			replicaSets: controllers.Either(
				controllers.ControllerOf("Deployment", resource),
				controllers.Selecting(resource, func(owner fsm.Value, set labels.Set) bool {
					return controllers.SelectorMatches(owner.(*appsv1.Deployment).Spec.Selector, set)
				})),
			"pods": deploymentOf,
		},
		Plan: plan,
	}
}

// deploymentOf makes the Deployment of a pod dirty: how far a rollout may go depends on which pods there are and which
// of them are available.
func deploymentOf(v fsm.View, o *fsm.Object) []fsm.Key {
	var keys []fsm.Key
	for _, rs := range controllers.ControllerOf("ReplicaSet", replicaSets)(v, o) {
		if owner, ok := v.Get(rs); ok {
			keys = append(keys, controllers.ControllerOf("Deployment", resource)(v, owner)...)
		}
	}
	return keys
}

// rollout is what one plan works on.
type rollout struct {
	*controllers.Plan
	view fsm.View
	now  time.Time
	d    *appsv1.Deployment
	all  []*appsv1.ReplicaSet // claimed, oldest first
	new  *appsv1.ReplicaSet   // of the present template; nil if it is not there yet
	old  []*appsv1.ReplicaSet // all but new, oldest first
}

func plan(v fsm.View, key fsm.Key, now time.Time) controllers.Plan {
	var p controllers.Plan
	stored, ok := v.Get(key)
	if !ok {
		return p
	}
	d := stored.Value.(*appsv1.Deployment)
	sel, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return p // refused by validation; nothing can be selected
	}
	ref := *metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))
	r := &rollout{Plan: &p, view: v, now: now, d: d}
	claimed := controllers.Claim(v, &p, replicaSets, d, ref, sel)
	if len(p.Changes) > 0 {
		return p // the next plan counts on what was adopted and released
	}
	for _, o := range claimed {
		r.all = append(r.all, o.Value.(*appsv1.ReplicaSet))
	}
	r.split()
	if d.DeletionTimestamp == nil {
		r.step(ref)
	}
	r.writeStatus()
	return p
}

// split finds the ReplicaSet of the present template among all.
func (r *rollout) split() {
	slices.SortFunc(r.all, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, rs := range r.all {
		if r.new == nil && sameTemplate(&rs.Spec.Template, &r.d.Spec.Template) {
			r.new = rs
		} else {
			r.old = append(r.old, rs)
		}
	}
}

// step plans the next step towards the specification.
func (r *rollout) step(ref metav1.OwnerReference) {
	switch {
	case r.d.Spec.Paused:
		r.scaleProportionally()
	case r.new == nil:
		if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType && !r.oldIsGone() {
			r.scaleDownAll()
			return
		}
		r.createNew(ref)
	case r.keepRevision():
		// The annotations come first; the next plan goes on from there.
	case r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		r.recreate()
		r.cleanUp()
	case r.wasScaled():
		r.scaleProportionally()
	default:
		r.roll()
		r.cleanUp()
	}
}

// available counts the pods of a ReplicaSet that are available and stay so when it has come to its present size: those
// that are not go first. It looks at the pods, because the ReplicaSet's status may be older than they.
func (r *rollout) available(rs *appsv1.ReplicaSet) int32 {
	var n int32
	for _, pod := range r.pods(rs) {
		if podutil.Active(pod) && podutil.Available(pod, r.d.Spec.MinReadySeconds, r.now) {
			n++
		}
	}
	return min(n, *rs.Spec.Replicas)
}

// held counts the pods that a ReplicaSet has or is about to have, whichever is more.
func (r *rollout) held(rs *appsv1.ReplicaSet) int32 {
	var n int32
	for _, pod := range r.pods(rs) {
		if podutil.Active(pod) {
			n++
		}
	}
	return max(n, *rs.Spec.Replicas)
}

// pods returns the pods that a ReplicaSet controls, also those that terminate.
func (r *rollout) pods(rs *appsv1.ReplicaSet) []*corev1.Pod {
	var pods []*corev1.Pod
	for o := range r.view.ByIndex("", kinds.ByOwner, string(rs.UID)) {
		if pod, ok := o.Value.(*corev1.Pod); ok {
			pods = append(pods, pod)
		}
	}
	return pods
}
