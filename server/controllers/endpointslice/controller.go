package endpointslice

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

const (
	resource  = "endpointslices.discovery.k8s.io"
	managedBy = "endpointslice-controller.k8s.io"
)

// New returns the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "endpointslice-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{
			"services": controllers.Self,
			resource:   service,
			"pods":     selectingServices,
		},
		Plan: plan,
	}
}

// service makes the Service of a slice dirty.
func service(_ fsm.View, o *fsm.Object) []fsm.Key {
	l := o.Value.GetLabels()
	if l[discoveryv1.LabelManagedBy] != managedBy {
		return nil
	}
	return []fsm.Key{{Resource: "services", Namespace: o.Namespace, Name: l[discoveryv1.LabelServiceName]}}
}

func selectingServices(v fsm.View, o *fsm.Object) []fsm.Key {
	var keys []fsm.Key
	for s := range v.List("services", o.Namespace) {
		if selects(s.Value.(*corev1.Service), o.Value.GetLabels()) {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// selects reports whether the Service's pods are ours to find and this is one of them.
func selects(s *corev1.Service, set labels.Set) bool {
	return len(s.Spec.Selector) > 0 && s.Spec.Type != corev1.ServiceTypeExternalName &&
		labels.SelectorFromSet(s.Spec.Selector).Matches(set)
}

func plan(v fsm.View, key fsm.Key, _ time.Time) controllers.Plan {
	var p controllers.Plan
	present := map[string]*discoveryv1.EndpointSlice{}
	for o := range v.ByIndex(resource, "service", key.Namespace+"/"+key.Name) {
		if slice := o.Value.(*discoveryv1.EndpointSlice); slice.Labels[discoveryv1.LabelManagedBy] == managedBy {
			present[slice.Name] = slice
		}
	}
	if stored, ok := v.Get(key); ok && stored.Value.GetDeletionTimestamp() == nil {
		for _, want := range desired(v, stored.Value.(*corev1.Service), present) {
			apply(&p, present[want.Name], want)
			delete(present, want.Name)
		}
	}
	for _, slice := range present {
		if slice.DeletionTimestamp == nil {
			p.Delete(resource, slice)
		}
	}
	return p
}

// apply plans the way from a slice, nil if there is none, to the wanted one.
func apply(p *controllers.Plan, have, want *discoveryv1.EndpointSlice) {
	if have == nil {
		p.Create(resource, want)
		return
	}
	if equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(have.Ports, want.Ports) &&
		equality.Semantic.DeepEqual(have.Labels, want.Labels) {
		return
	}
	next := have.DeepCopy()
	next.Endpoints, next.Ports, next.Labels = want.Endpoints, want.Ports, want.Labels
	p.Update(resource, next)
}

func owner(s *corev1.Service) metav1.OwnerReference {
	return *metav1.NewControllerRef(s, corev1.SchemeGroupVersion.WithKind("Service"))
}
