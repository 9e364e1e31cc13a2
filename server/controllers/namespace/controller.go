package namespace

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

const (
	resource = "namespaces"
	// batch bounds how many objects one plan deletes.
	batch = 500
)

// New returns the controller. resources are the names of all namespaced resources in the store.
func New(resources []string) controllers.Controller {
	watches := map[string]func(fsm.View, *fsm.Object) []fsm.Key{resource: controllers.Self}
	for _, r := range resources {
		watches[r] = terminating
	}
	return controllers.Controller{
		Name:    "namespace-controller",
		Watches: watches,
		Plan: func(v fsm.View, key fsm.Key, now time.Time) controllers.Plan {
			return plan(v, key, now, resources)
		},
	}
}

// terminating makes the object's namespace dirty if it is being deleted.
func terminating(v fsm.View, o *fsm.Object) []fsm.Key {
	key := fsm.Key{Resource: resource, Name: o.Namespace}
	if ns, ok := v.Get(key); ok && ns.Value.GetDeletionTimestamp() != nil {
		return []fsm.Key{key}
	}
	return nil
}

func plan(v fsm.View, key fsm.Key, now time.Time, resources []string) controllers.Plan {
	var p controllers.Plan
	stored, ok := v.Get(key)
	if !ok || stored.Value.GetDeletionTimestamp() == nil {
		return p
	}
	ns := stored.Value.(*corev1.Namespace)
	left := deleteAll(v, &p, ns.Name, resources)
	switch {
	case left == 0:
		finalize(&p, ns)
	case len(p.Changes) == 0:
		explain(&p, ns, left, now)
	}
	return p
}

// deleteAll asks for the deletion of what is in the namespace and returns how many objects there still are.
func deleteAll(v fsm.View, p *controllers.Plan, namespace string, resources []string) int {
	left := 0
	for _, r := range resources {
		for o := range v.List(r, namespace) {
			left++
			if o.Value.GetDeletionTimestamp() == nil && len(p.Changes) < batch {
				p.Delete(r, o.Value)
			}
		}
	}
	return left
}

// finalize takes the namespace's own finalizer away; without any other it is gone with that.
func finalize(p *controllers.Plan, ns *corev1.Namespace) {
	if i := slices.Index(ns.Spec.Finalizers, corev1.FinalizerKubernetes); i >= 0 {
		next := ns.DeepCopy()
		next.Spec.Finalizers = slices.Delete(next.Spec.Finalizers, i, i+1)
		p.Finalize(next)
	}
}

// explain notes in the status what keeps the namespace.
func explain(p *controllers.Plan, ns *corev1.Namespace, left int, now time.Time) {
	message := fmt.Sprintf("Some resources are remaining: %d objects are held by finalizers or are shutting down", left)
	for _, c := range ns.Status.Conditions {
		if c.Type == corev1.NamespaceContentRemaining && c.Message == message {
			return
		}
	}
	next := ns.DeepCopy()
	next.Status.Conditions = slices.DeleteFunc(next.Status.Conditions, func(c corev1.NamespaceCondition) bool {
		return c.Type == corev1.NamespaceContentRemaining
	})
	next.Status.Conditions = append(next.Status.Conditions, corev1.NamespaceCondition{
		Type: corev1.NamespaceContentRemaining, Status: corev1.ConditionTrue, Reason: "SomeResourcesRemain",
		Message: message, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	})
	p.UpdateStatus(resource, next)
}
